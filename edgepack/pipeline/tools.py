"""What a command works with: the runtime that answers, the gates that run a bundle.

Chosen per device: application cores run in the container, microcontrollers in theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from edgepack.bundle.archive import Bundle
from edgepack.gates.expected import MICRO_KINDS, Route, dynamic_gates, route_of
from edgepack.gates.finding import Finding, inconclusive
from edgepack.inference.host import HostRuntime
from edgepack.inference.protocol import Runtime
from edgepack.pipeline.pack import BuildTools
from edgepack.profiles.profile import Profile

if TYPE_CHECKING:
    from edgepack.emulation.bench import BenchOptions, BenchResult

Say = Callable[[str], None]


def _silent(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicGates:
    """The gates that run a bundle where its device's stand-in is.

    Attributes:
        sandbox: False leaves every one inconclusive.
        options: how long and how often; None is the quick run.
    """

    sandbox: bool = True
    options: BenchOptions | None = None
    say: Say = _silent

    def __call__(self, bundle: Bundle, profile: Profile) -> tuple[Finding, ...]:
        """Return the findings; inconclusive with the remedy where a tool is missing."""
        if not self.sandbox:
            says = "left out by --no-sandbox; run it again without that"
            gates = dynamic_gates(profile, route_of(bundle.files))
            return tuple(inconclusive(gate, says) for gate in gates)
        self.say(f"{profile.name}: running it as the device would")
        return self.bench(bundle, profile).findings

    def bench(self, bundle: Bundle, profile: Profile) -> BenchResult:
        """Return the findings, and the figures behind them where there are any."""
        from edgepack.bundle.validation import goldens_of
        from edgepack.emulation.bench import BenchResult, bench
        from edgepack.tflite.flatbuffer import read

        if profile.kind in MICRO_KINDS:
            from edgepack.firmware import bench as firmware

            self.say(f"running the firmware of {profile.name}")
            return BenchResult(
                findings=firmware.bench_firmware(bundle.model, bundle.files, profile)
            )
        inputs, outputs = goldens_of(bundle, read(bundle.model))
        return bench(bundle.model, profile, inputs, outputs, options=self.options, say=self.say)


def build_tools(*, route: Route, sandbox: bool, say: Say) -> BuildTools:
    """Return what one build works with."""

    def firmware_files(
        model: bytes, profile: Profile, name: str, files: Mapping[str, bytes]
    ) -> dict[str, bytes]:
        if profile.kind not in MICRO_KINDS:
            return {}
        from edgepack.firmware import bench as firmware

        say(f"{profile.name}: writing firmware sources ({route})")
        return firmware.firmware_files(model, profile, name, files, route=route)

    return BuildTools(
        runtime=HostRuntime(),
        oracle=oracle_of,
        run_gates=DynamicGates(sandbox=sandbox, say=say),
        firmware=firmware_files,
        route=route,
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
