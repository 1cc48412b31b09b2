"""Which devices can take a model, and which of their gates is nearest to its limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from edgepack.gates.finding import Finding, Outcome, Verdict
from edgepack.profiles.profile import Profile

F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A device that no gate refuses.

    Attributes:
        verdict: PASS, or INCONCLUSIVE where a gate lacks a figure; never FAIL.
        tightness: each gate that compares a number with an upper limit, as
            ``(share of the limit used, finding)``, the tightest first.
    """

    profile: Profile
    verdict: Verdict
    tightness: tuple[tuple[float, Finding], ...]

    @property
    def tightest(self) -> Finding | None:
        """The gate with the least room; None where no gate compares numbers."""
        return self.tightness[0][1] if self.tightness else None

    @property
    def share(self) -> float:
        """The share of its limit that the tightest gate uses; 0 where there is none."""
        return self.tightness[0][0] if self.tightness else 0.0

    @property
    def open_gates(self) -> tuple[str, ...]:
        """The gates that could not be answered, because the profile lacks their figure."""
        return tuple(one.gate for one in self.verdict.named(Outcome.INCONCLUSIVE))

    @property
    def says(self) -> str:
        """Return the suggestion as one line."""
        tightest = self.tightest
        room = (
            f"{tightest.gate} at {self.share:.0%}: {tightest.says}"
            if tightest
            else "no gate compares a number"
        )
        open_ = f"; inconclusive: {', '.join(self.open_gates)}" if self.open_gates else ""
        return f"{self.profile.name}: {room}{open_}"

    def as_json(self) -> dict[str, Any]:
        """Return the suggestion for ``--json``."""
        return {
            "profile": self.profile.name,
            "title": self.profile.title,
            "verdict": self.verdict.outcome.value,
            "tightest": self.tightest.as_json() if self.tightest else None,
            "share": round(self.share, 6),
            "gates": [
                {"gate": finding.gate, "share": round(share, 6)}
                for share, finding in self.tightness
            ],
            "open": list(self.open_gates),
        }


def suggest(
    facts: F, profiles: Iterable[Profile], judge: Callable[[F, Profile], Verdict]
) -> tuple[Suggestion, ...]:
    """Return every device that ``judge`` does not refuse, the tightest fit first.

    The first is the smallest device that still takes the model. A device whose gates are
    partly open is among them and says which; devices of equal tightness are in name order.
    """
    fitting = []
    for profile in profiles:
        verdict = judge(facts, profile)
        if verdict.outcome is not Outcome.FAIL:
            fitting.append(Suggestion(profile, verdict, _tightness(verdict)))
    return tuple(sorted(fitting, key=lambda one: (-one.share, one.profile.name)))


def _tightness(verdict: Verdict) -> tuple[tuple[float, Finding], ...]:
    shares = [
        (finding.value / finding.limit, finding)
        for finding in verdict.findings
        if isinstance(finding.value, int | float)
        and isinstance(finding.limit, int | float)
        and finding.limit > 0
    ]
    return tuple(sorted(shares, key=lambda pair: -pair[0]))
