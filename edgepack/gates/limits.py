"""A number or a range against a limit, the same way in every gate; and which limit that is.

A profile says what one model may take (``ram.budget``, ``storage.budget``, ``latency.p90_ms``)
and what there is at all (``ram.contiguous``, ``ram.total``, ``storage.total``). A model within
what one model may take passes. Where the profile says only what there is at all, more than
that fails, and less decides nothing: how much of it the application needs, nobody said.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgepack.gates.finding import Finding, How, Outcome
from edgepack.profiles.profile import Profile, SourcedBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a profile allows one model, and under which keys it says so.

    Attributes:
        value: inclusive; None where the profile names none.
        key: the table of a profile that says it, or would: ``ram.budget``.
        ceiling: what the device has at all; more fails even where ``value`` is None.
        ceiling_key: the table that says that.
    """

    value: float | None
    key: str
    ceiling: float | None = None
    ceiling_key: str = ""


def ram_limit(profile: Profile) -> Limit:
    """Return the RAM that one model may take at its peak, on this device.

    TFLM plans into one block, so there the ceiling is the largest block there is.
    """
    ram = profile.ram
    ceiling, key = ram.total, "ram.total"
    if profile.runtime.name == "tflm" and ram.contiguous is not None:
        ceiling, key = ram.contiguous, "ram.contiguous"
    return _bytes_limit(ram.budget, "ram.budget", ceiling, key)


def storage_limit(profile: Profile) -> Limit:
    """Return the flash or storage that one model may take, on this device."""
    storage = profile.storage
    return _bytes_limit(storage.budget, "storage.budget", storage.total, "storage.total")


def download_limit(profile: Profile) -> Limit:
    """Return how many bytes one download of the model may have, compressed."""
    return _bytes_limit(profile.storage.download_budget, "storage.download_budget", None, "")


def latency_limit(profile: Profile) -> Limit:
    """Return the milliseconds that nine of ten inferences may take."""
    asked = profile.latency.p90_ms
    return Limit(value=None if asked is None else asked.value, key="latency.p90_ms")


def _bytes_limit(
    budget: SourcedBytes | None, key: str, ceiling: SourcedBytes | None, ceiling_key: str
) -> Limit:
    return Limit(
        value=None if budget is None else budget.value,
        key=key,
        ceiling=None if ceiling is None else ceiling.value,
        ceiling_key=ceiling_key if ceiling is not None else "",
    )


def outcome_at_most(low: float, high: float, limit: float) -> Outcome:
    """PASS if all of ``low`` to ``high`` is at most ``limit``, FAIL if none of it is.

    Between the two, and for a number that is none, INCONCLUSIVE.
    """
    if high <= limit:
        return Outcome.PASS
    return Outcome.FAIL if low > limit else Outcome.INCONCLUSIVE


def outcome_at_least(low: float, high: float, floor: float) -> Outcome:
    """PASS if all of ``low`` to ``high`` is at least ``floor``, FAIL if none of it is."""
    return outcome_at_most(-high, -low, -floor)


def range_at_most(
    gate: str,
    low: float,
    high: float,
    limit: float | Limit | None,
    unit: str,
    *,
    how: How,
    says: str,
    key: str = "",
    remedy: str = "",
    decide: str = "",
    value: float | None = None,
) -> Finding:
    """Return the finding of an inclusive upper limit on what lies from ``low`` to ``high``.

    PASS where all of it is within the limit, FAIL where none is, INCONCLUSIVE where the limit
    lies between or is not known; then the profile's key that would set it is named.

    Args:
        limit: a number, or one of this file's limits with its keys.
        unit: ``B``, ``ms``, ``share`` …; a share is shown without a unit.
        says: what was found, with its number and unit; begins the sentence.
        key: of the profile, where ``limit`` is a plain number.
        remedy: how to get below the limit; ends a failure.
        decide: what would decide; ends what is inconclusive because of its range.
        value: what the finding keeps as its number, where that is not ``high``.
    """
    of = limit if isinstance(limit, Limit) else Limit(value=limit, key=key)
    kept = high if value is None else value

    def found(verdict: Outcome, text: str, bound: float | None) -> Finding:
        return Finding(
            gate=gate, verdict=verdict, how=how, value=kept, limit=bound, unit=unit, says=text
        )

    def over(bound: float, whose: str) -> Finding:
        text = f"{says} of {_number(bound, unit)}{whose}: over by {_number(low - bound, unit)}"
        return found(Outcome.FAIL, text + (f"; {remedy}" if remedy else ""), bound)

    if of.value is None:
        if of.ceiling is not None and low > of.ceiling:
            return over(of.ceiling, f" there is ({of.ceiling_key})")
        text = f"{says}; the profile names no limit"
        text += f": set [{of.key}] in a profile of your own" if of.key else ""
        return found(Outcome.INCONCLUSIVE, text, None)
    verdict = outcome_at_most(low, high, of.value)
    if verdict is Outcome.FAIL:
        return over(of.value, "")
    text = f"{says} of {_number(of.value, unit)}"
    if verdict is Outcome.INCONCLUSIVE:
        text += ", which lies within" + (f": {decide}" if decide else "")
    return found(verdict, text, of.value)


def at_most(
    gate: str,
    value: float,
    limit: float | Limit | None,
    unit: str,
    *,
    how: How,
    what: str,
    remedy: str = "",
    key: str = "",
) -> Finding:
    """Return the finding of an inclusive upper limit on one number: a range of no width.

    Args:
        what: what the value is of; leads the sentence, before the number.
        limit, unit, remedy, key: as of ``range_at_most``.
    """
    says = f"{what} {_number(value, unit)}"
    return range_at_most(
        gate, value, value, limit, unit, how=how, says=says, key=key, remedy=remedy
    )


def _number(value: float, unit: str) -> str:
    """Return a number with its unit: whole ones in groups of three, times to six digits."""
    if unit == "share":
        return f"{value:.4f}"
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
    return f"{text} {unit}".rstrip()
