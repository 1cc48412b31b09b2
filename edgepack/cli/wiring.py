"""Which doors a command works with: the runtime that answers, the trial that proves.

Chosen per device: application cores run in the container, microcontrollers in theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from edgepack.bundle.archive import Bundle
from edgepack.gates.expected import MICRO_KINDS, dynamic_gates, route_of
from edgepack.gates.finding import Finding, inconclusive
from edgepack.inference.host import HostRuntime
from edgepack.inference.protocol import Runtime
from edgepack.pipeline.build import Means
from edgepack.profiles.profile import Profile

if TYPE_CHECKING:
    from edgepack.emulation.bench import Ask

Say = Callable[[str], None]


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
            says = "left out by --no-sandbox; run it again without that"
            gates = dynamic_gates(profile, route_of(bundle.files))
            return tuple(inconclusive(gate, says) for gate in gates)
        if profile.kind in MICRO_KINDS:
            from edgepack.firmware import trial as firmware

            self.say(f"running the firmware of {profile.name}")
            return firmware.trial(bundle.model, bundle.files, profile)
        from edgepack.bundle.validation import goldens_of
        from edgepack.emulation.bench import bench
        from edgepack.tflite.flatbuffer import read

        inputs, outputs = goldens_of(bundle, read(bundle.model))
        findings, self.figures[profile.name] = bench(
            bundle.model,
            profile,
            inputs,
            outputs,
            ask=self.ask,
            say=self.say,
        )
        return findings


def means_of(*, micro: Literal["c", "tflm"], sandbox: bool, say: Say) -> Means:
    """Return the doors of one build."""

    def extras(
        model: bytes, profile: Profile, name: str, files: Mapping[str, bytes]
    ) -> dict[str, bytes]:
        if profile.kind not in MICRO_KINDS:
            return {}
        from edgepack.firmware import trial as firmware

        say(f"{profile.name}: writing firmware sources ({micro})")
        return firmware.extras(model, profile, name, files, route=micro)

    return Means(
        runtime=HostRuntime(),
        oracle=oracle_of,
        trial=Trial(sandbox=sandbox, say=say),
        extras=extras,
        route=micro,
        say=say,
    )


def oracle_of(profile: Profile) -> Runtime:
    """Return the runtime whose reference answers are a device's goldens.

    TFLM for what runs TFLM or its C twin, as LiteRT's fully-connected kernel rounds once
    where TFLM's rounds twice; LiteRT elsewhere, and where tflite-micro is not installed.
    """
    if profile.kind in MICRO_KINDS and find_spec("tflite_micro") is not None:
        from edgepack.inference.tflm import TflmRuntime

        return TflmRuntime()
    return HostRuntime()
