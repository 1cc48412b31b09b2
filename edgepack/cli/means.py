"""Which doors a command works with: the runtime that answers, the trial that proves.

Chosen per device: application cores run in the container, microcontrollers in theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgepack.bundle import Bundle
from edgepack.pipeline import Means
from edgepack.profile import Profile
from edgepack.runtimes.host import HostRuntime
from edgepack.verdict import Finding, Outcome

if TYPE_CHECKING:
    from edgepack.runtimes.bench import Ask

Say = Callable[[str], None]
MICRO_KINDS = {"mcu", "npu"}


def _silent(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The dynamic gates of a bundle, run where its device's stand-in is.

    Attributes:
        sandbox: False leaves them open, which is no pass.
        ask: how long and how often; None is the quick trial.
        figures: of each profile that was tried, by name; filled as trials run.
    """

    sandbox: bool = True
    ask: Ask | None = None
    say: Say = _silent
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __call__(self, bundle: Bundle, profile: Profile) -> tuple[Finding, ...]:
        """Return the findings; INCONCLUSIVE with the remedy where a tool is missing."""
        if not self.sandbox:
            return (_open("sandbox", "the dynamic gates were left out (--no-sandbox)"),)
        if profile.kind in MICRO_KINDS:
            return (_open("sandbox", "no emulator for this core yet"),)
        from edgepack.runtimes.bench import bench

        findings, self.figures[profile.name] = bench(
            bundle.model,
            profile,
            bundle.array("golden/inputs.npy"),
            bundle.array("golden/outputs.npy"),
            ask=self.ask,
            say=self.say,
        )
        return findings


def means_of(*, micro: str, sandbox: bool, say: Say) -> Means:
    """Return the doors of one build."""
    return Means(
        runtime=HostRuntime(),
        trial=Trial(sandbox=sandbox, say=say),
        extras=_no_extras,
        say=say,
    )


def _open(gate: str, says: str) -> Finding:
    return Finding(gate=gate, verdict=Outcome.INCONCLUSIVE, says=says)


def _no_extras(
    model: bytes, profile: Profile, name: str, files: Mapping[str, bytes]
) -> dict[str, bytes]:
    return {}
