"""What a gate found and what all gates together say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """The answer of one gate; INCONCLUSIVE is never a pass."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class How(StrEnum):
    """How a number was obtained.

    MEASURED on the device itself; EMULATED by running or counting in the sandbox;
    PLANNED by computing it from the file; ESTIMATED from a model that has an error.
    """

    MEASURED = "measured"
    EMULATED = "emulated"
    PLANNED = "planned"
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer of one gate, with the number behind it.

    Attributes:
        gate: short stable name, such as ``storage`` or ``accuracy_drop``.
        verdict: pass, fail or inconclusive.
        says: one line for a person; a failure names the culprit and the remedy.
        how: how ``value`` was obtained; None where no number exists.
        value: what was found, in ``unit``.
        limit: what the profile allows, in ``unit``; inclusive.
        unit: ``B``, ``ms``, ``share``, ``instructions`` … or empty.
    """

    gate: str
    verdict: Outcome
    says: str
    how: How | None = None
    value: float | str | None = None
    limit: float | str | None = None
    unit: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the keys that every ``--json`` output promises, in their fixed order."""
        return {
            "gate": self.gate,
            "verdict": self.verdict.value,
            "value": self.value,
            "limit": self.limit,
            "unit": self.unit,
            "how": self.how.value if self.how else None,
            "says": self.says,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings about one model on one device, in gate order."""

    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """FAIL if any gate failed, else INCONCLUSIVE if any is open or none was asked."""
        found = {finding.verdict for finding in self.findings}
        if Outcome.FAIL in found:
            return Outcome.FAIL
        if Outcome.INCONCLUSIVE in found or not found:
            return Outcome.INCONCLUSIVE
        return Outcome.PASS

    def named(self, outcome: Outcome) -> tuple[Finding, ...]:
        """Return the findings with that outcome."""
        return tuple(f for f in self.findings if f.verdict is outcome)

    def plus(self, *findings: Finding) -> Verdict:
        """Return a verdict in which a finding replaces an earlier one of the same gate."""
        fresh = {f.gate: f for f in findings}
        kept = tuple(fresh.pop(f.gate, f) for f in self.findings)
        return Verdict(kept + tuple(fresh.values()))


def at_most(
    gate: str,
    value: float,
    limit: float | None,
    unit: str,
    *,
    how: How,
    what: str,
    remedy: str = "",
    key: str = "",
) -> Finding:
    """Return the finding of an inclusive upper limit; INCONCLUSIVE where no limit is known.

    Args:
        what: what the value is of; leads the sentence.
        remedy: how to get below the limit.
        key: where a profile says the limit, for who judges with one that does not.
    """
    if limit is None:
        return Finding(
            gate=gate,
            verdict=Outcome.INCONCLUSIVE,
            how=how,
            value=value,
            unit=unit,
            says=f"{what} {value:,} {unit}; the profile names no limit"
            + (f": set {key} in one of your own" if key else ""),
        )
    fits = value <= limit
    says = f"{what} {value:,} {unit} of {limit:,} {unit}"
    if not fits:
        says += f": over by {value - limit:,} {unit}" + (f"; {remedy}" if remedy else "")
    return Finding(
        gate=gate,
        verdict=Outcome.PASS if fits else Outcome.FAIL,
        how=how,
        value=value,
        limit=limit,
        unit=unit,
        says=says,
    )
