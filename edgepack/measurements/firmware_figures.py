"""What running, compiling or trying a microcontroller's model gave: figures without a verdict.

``firmware/`` makes them; the gates in ``gates/firmware.py`` say what they mean on a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SectionSizes:
    """What a firmware part takes: ``code`` and ``constants`` in flash, ``data`` in both."""

    code_bytes: int
    constant_bytes: int
    data_bytes: int
    zeroed_bytes: int

    @property
    def flash_bytes(self) -> int:
        """Code, constants and the initial values of variables."""
        return self.code_bytes + self.constant_bytes + self.data_bytes

    @property
    def ram_bytes(self) -> int:
        """Variables, with a value at the start or zeroed; no stack."""
        return self.data_bytes + self.zeroed_bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EmulatedRun:
    """What an emulated core did with some inputs.

    Attributes:
        outputs: ``(N, *shape)`` for each output of the model.
        instructions: of each inference; not cycles.
        kinds: how often each kind of instruction ran, over all inferences; empty where no
            compiler for this machine could build what watches them.
        stack_bytes: the most that one inference took.
        sizes: of the model's own object file.
        library_bytes: of the C library's functions it calls.
    """

    target: str
    compiler: str
    outputs: tuple[NDArray[Any], ...]
    instructions: tuple[int, ...]
    stack_bytes: int
    sizes: SectionSizes
    library_bytes: int
    kinds: Mapping[str, int]

    @property
    def flash_bytes(self) -> int:
        """Code and constants of the model with the library functions it calls."""
        return self.sizes.flash_bytes + self.library_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TflmArena:
    """The arena that a model needs under TFLM with a device's kernels.

    Attributes:
        needed_bytes: to reserve.
        estimated: vendor kernels' scratch was added by a rule; else it was tried out.
        basis: what was tried, and what was added to it.
        busiest: the operator that needs most memory, in words; may be empty.
    """

    needed_bytes: int
    estimated: bool
    basis: str
    busiest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VelaResult:
    """What Vela made of a model for an Ethos-U.

    Attributes:
        model: the .tflite to ship, with one custom operator for what the NPU runs.
        sram_bytes: peak of feature maps and staged weights.
        weight_bytes: encoded weights and constants, in flash or DRAM.
        cycles: of one inference on the NPU, Vela's estimate.
        milliseconds: the same at ``core_clock_mhz``, Vela's estimate.
        cpu_operators: what it could not place on the NPU, as "operator at tensor".
    """

    model: bytes
    accelerator: str
    system_config: str
    memory_mode: str
    version: str
    sram_bytes: int
    weight_bytes: int
    cycles: int
    milliseconds: float
    core_clock_mhz: float
    npu_operators: int
    cpu_operators: tuple[str, ...]
