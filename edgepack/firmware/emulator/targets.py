"""Cores that compiled models are run on, as the compiler and the emulator name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgepack.profiles.hardware import Cpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A piece of the emulated board's memory."""

    origin: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What an emulated board has; memory as QEMU 7.2 maps it (``info mtree``).

    An instruction takes ``2**icount_shift`` ns of virtual time, and the timer ticks
    ``timer_mhz`` times a microsecond of it: CMSDK's, 32 bits wide, or SysTick with 24.

    Attributes:
        vectors: where the emulator puts the inputs, outside of what the program uses.
    """

    machine: str
    code: Region
    data: Region
    vectors: int
    icount_shift: int = 6
    timer_mhz: int = 25
    systick: bool = False

    def instructions(self, ticks: int) -> int:
        """Return how many instructions run in so many timer ticks, to about one tick."""
        return round(ticks * 1000 / self.timer_mhz / (1 << self.icount_shift))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedTarget:
    """One core under QEMU.

    Attributes:
        flags: of the compiler.
        stands_for: cores that run the same instructions, counted on this one.
    """

    name: str
    flags: tuple[str, ...]
    board: Board
    stands_for: tuple[str, ...] = ()


def _mps2(machine: str, vectors: int) -> Board:
    memory = 4 << 20
    return Board(
        machine=machine,
        code=Region(origin=0, bytes=memory),
        data=Region(origin=0x20000000, bytes=memory),
        vectors=vectors,
    )


TARGETS: Mapping[str, EmulatedTarget] = {
    target.name: target
    for target in (
        EmulatedTarget(
            name="cortex-m0plus",  # an M3 runs its instructions; QEMU's M0 board has 16 KiB
            flags=("-mcpu=cortex-m0plus", "-mthumb"),
            board=_mps2("mps2-an385", 0x21000000),
            stands_for=("cortex-m0",),
        ),
        EmulatedTarget(
            name="cortex-m3",
            flags=("-mcpu=cortex-m3", "-mthumb"),
            board=_mps2("mps2-an385", 0x21000000),
        ),
        EmulatedTarget(
            name="cortex-m4",
            flags=("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=softfp", "-mfpu=fpv4-sp-d16"),
            board=_mps2("mps2-an386", 0x21000000),
            stands_for=("cortex-m33",),
        ),
        EmulatedTarget(
            name="cortex-m7",
            flags=("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=softfp", "-mfpu=fpv5-sp-d16"),
            board=_mps2("mps2-an500", 0x60000000),
        ),
        EmulatedTarget(
            name="cortex-m55",
            flags=("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"),
            board=Board(
                machine="mps3-an547",
                code=Region(origin=0, bytes=512 << 10),
                data=Region(origin=0x20000000, bytes=512 << 10),
                vectors=0x60000000,
                icount_shift=2,
                timer_mhz=32,
                systick=True,
            ),
            stands_for=("cortex-m85",),
        ),
    )
}


def target_for(cpu: Cpu) -> EmulatedTarget | None:
    """Return the emulated core whose instructions a device runs, None where there is none.

    A Cortex-M33 runs the M4's instructions, an M85 the M55's. Xtensa and RISC-V have none.
    """
    wanted = cpu.qemu_cpu or ""
    for target in TARGETS.values():
        if wanted == target.name or wanted in target.stands_for:
            return target
    return None
