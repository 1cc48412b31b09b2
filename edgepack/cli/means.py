"""Which doors a command works with: the runtime that answers, the trial that proves.

Chosen per device: application cores run in the container, microcontrollers in theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgepack.bundle import Bundle
from edgepack.pipeline import Means, Trial
from edgepack.profile import Profile
from edgepack.runtimes.host import HostRuntime
from edgepack.verdict import Finding, Outcome

MICRO_KINDS = {"mcu", "npu"}


def means_of(*, micro: str, sandbox: bool, say: Callable[[str], None]) -> Means:
    """Return the doors of one build."""
    return Means(
        runtime=HostRuntime(), trial=trial_of(sandbox=sandbox), extras=_no_extras, say=say
    )


def trial_of(*, sandbox: bool) -> Trial:
    """Return the dynamic gates; without ``sandbox`` they are open, which is no pass."""

    def trial(bundle: Bundle, profile: Profile) -> tuple[Finding, ...]:
        return (
            Finding(
                gate="sandbox",
                verdict=Outcome.INCONCLUSIVE,
                says="the dynamic gates were not run",
            ),
        )

    return trial


def _no_extras(
    model: bytes, profile: Profile, name: str, files: Mapping[str, bytes]
) -> dict[str, bytes]:
    return {}
