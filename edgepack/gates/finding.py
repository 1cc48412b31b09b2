"""What a gate found and what all gates together say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from edgepack.errors import EdgepackError, EnvironmentMissing, TimedOut


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

    The one class for it: a bundle's manifest and ``--json`` hold these very fields.

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

    #: How pydantic reads one from a manifest, which may be hostile; a plain dictionary, so
    #: that quick commands need not import pydantic.
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "allow_inf_nan": False,
        "revalidate_instances": "always",
    }

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
        """FAIL if any gate failed, else INCONCLUSIVE if any is so or none was asked."""
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


def inconclusive(gate: str, says: str) -> Finding:
    """Return the finding of a gate that could not be answered, and why."""
    return Finding(gate=gate, verdict=Outcome.INCONCLUSIVE, says=says)


def passed(gate: str, says: str) -> Finding:
    """Return the finding of a gate that holds and compares no number."""
    return Finding(gate=gate, verdict=Outcome.PASS, says=says)


def failed(gate: str, says: str) -> Finding:
    """Return the finding of a gate that is broken and compares no number."""
    return Finding(gate=gate, verdict=Outcome.FAIL, says=says)


def unanswered(gate: str, error: Exception) -> Finding:
    """Return the finding of a gate whose question ended in ``error``.

    What is not on this machine, did not end in time or could not be started leaves the gate
    inconclusive; whoever refused the model, or crashed on it, fails it.
    """
    if isinstance(error, EnvironmentMissing | TimedOut):
        return inconclusive(gate, str(error))
    if isinstance(error, EdgepackError):
        return failed(gate, str(error))
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return inconclusive(gate, f"could not be run on this machine: {what}")
