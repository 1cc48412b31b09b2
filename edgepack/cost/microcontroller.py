"""Milliseconds from counted instructions, as a range, where the core's cycles are published.

A count is not a time: loads, branches and flash wait states cost more than one cycle. The
bands are published cycles (MLPerf Tiny, closed division, code in on-chip flash) over counts
of TFLM with CMSIS-NN, whose kernels are built of the same DSP instructions as ours. For
Helium code no band of ours exists, and code that is fetched from external flash (RP2040,
RP2350, ESP32) depends on its cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgepack.profiles.profile import Profile

# Cycles for each counted instruction, lowest and highest of the published models.
BANDS: Mapping[str, tuple[float, float]] = {
    "cortex-m4": (1.50, 1.73),
    "cortex-m33": (1.23, 1.36),
}
_EXTERNAL_FLASH = ("RP2040", "RP2350", "ESP32")


@dataclass(frozen=True, slots=True)
class Range:
    """An estimated time of one inference, in milliseconds."""

    low_ms: float
    high_ms: float


def milliseconds(instructions: int, profile: Profile) -> Range | str:
    """Return the estimated range on a device, or why there is none."""
    core = profile.cpu.qemu_cpu or profile.cpu.isa
    chip = profile.soc.name if profile.soc else ""
    if chip.upper().startswith(_EXTERNAL_FLASH):
        return f"{chip} runs code from external flash: no cycles are published for that"
    if core not in BANDS:
        return f"no cycles per instruction are published for {core}"
    clock_mhz = profile.cpu.cores[0].clock_mhz
    if clock_mhz is None:
        return f"the profile names no clock for {profile.cpu.cores[0].name}"
    low, high = BANDS[core]
    return Range(instructions * low / clock_mhz / 1e3, instructions * high / clock_mhz / 1e3)


def grounds(profile: Profile, counted_on: str) -> str:
    """Return what ``milliseconds`` rests on, for a profile it answers with a range."""
    core = profile.cpu.qemu_cpu or profile.cpu.isa
    low, high = BANDS[core]
    return (
        f"counted on an emulated {counted_on}; {low:.2f} to {high:.2f} cycles each, from the"
        f" MLPerf Tiny results published for {core}, at {profile.cpu.cores[0].clock_mhz:g} MHz"
    )
