"""What one inference costs before any clock: instructions by class, operators, weights; pure.

A count belongs to the code that ran: its instruction set, its precision, and whether XNNPACK
or the runtime's own kernels computed. Emulated Cortex-A53, A57 and A72 run the same code (the
counts of MobileNet V1 0.25 agree to 0.002 %); cores with the dot product instructions of
Armv8.2 run other int8 kernels with as little as 55 % of the instructions. ``counted`` never
hands out the count of one for another.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from edgepack.profiles.hardware import Cpu
from edgepack.tflite.facts import Facts

#: Classes of the counting plugin; ``other`` is what its disassembler does not know, which on
#: these cores are the dot products.
CLASSES = ("int", "muldiv", "load", "store", "simd", "branch", "other")

#: Emulated cores by the instruction set whose kernels they choose.
INSTRUCTION_SETS: Mapping[str, str] = {
    "cortex-a7": "armv7-a",
    "cortex-a9": "armv7-a",
    "cortex-a15": "armv7-a",
    "cortex-a53": "armv8.0-a",
    "cortex-a57": "armv8.0-a",
    "cortex-a72": "armv8.0-a",
    "cortex-a76": "armv8.2-a+dotprod",
    "neoverse-n1": "armv8.2-a+dotprod",
}
_DEFAULT_SET = {"arm64": "armv8.0-a", "armv7": "armv7-a"}
_WHOLE = {"int8": "int8", "uint8": "int8", "float32": "float32"}


def instruction_set(cpu: Cpu) -> str:
    """Return the instruction set a profile's code is counted on, "" where none is emulated."""
    emulated = INSTRUCTION_SETS.get(cpu.qemu_cpu or "")
    return emulated or ("" if cpu.qemu_cpu else _DEFAULT_SET.get(cpu.isa, ""))


def arithmetic(precision: str) -> str | None:
    """Return ``int8`` or ``float32``, whose kernels compute; None for float16 arithmetic.

    A published float16 figure is not known to have been computed in either.
    """
    return _WHOLE.get(precision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One inference, counted.

    Attributes:
        by_class: instructions of each of ``CLASSES``.
        operators: operators that an inference runs.
        weight_bytes: constants that an inference reads.
        kinds: names of these operators.
        assumed: "" or what was not counted but taken from models like it.
    """

    by_class: Mapping[str, int]
    operators: int
    weight_bytes: int
    kinds: frozenset[str]
    assumed: str = ""

    @property
    def instructions(self) -> int:
        """All instructions of an inference."""
        return sum(self.by_class[name] for name in CLASSES)

    def units(self) -> dict[str, float]:
        """Return the units of work by feature of the rate model."""
        count = self.by_class
        return {
            "simd": float(count["simd"] + count["other"]),
            "memory": float(count["load"] + count["store"]),
            "scalar": float(count["int"] + count["muldiv"] + count["branch"]),
            "operator": float(self.operators),
            "weight_byte": float(self.weight_bytes),
        }


def work_of(facts: Facts, by_class: Mapping[str, int]) -> Work:
    """Return the work of a model that was counted."""
    graph = facts.main
    return Work(
        by_class={name: int(by_class.get(name, 0)) for name in CLASSES},
        operators=len(graph.ops),
        weight_bytes=constant_bytes(facts),
        kinds=frozenset(op.name for op in graph.ops),
    )


def constant_bytes(facts: Facts) -> int:
    """Return the bytes of all constants, which one inference reads at least once."""
    return sum(max(end - start, 0) for start, end in set(facts.spans))


@cache
def _counts() -> tuple[Mapping[str, Any], ...]:
    text = resources.files("edgepack.cost").joinpath("counts.toml").read_text()
    return tuple(tomllib.loads(text)["count"])


def plain_name(model: str) -> str:
    """Return a published model's name without what says its precision."""
    return re.sub(r"_quant$", "", model.strip().lower())


def counted(model: str, precision: str, instructions: str, kernels: str) -> Work | None:
    """Return the work of a published model, None where exactly that was never counted here.

    Args:
        instructions: the instruction set, see ``instruction_set``.
    """
    wanted = (plain_name(model), arithmetic(precision), instructions, kernels)
    for row in _counts():
        if (row["model"], row["precision"], row["instruction_set"], row["kernels"]) == wanted:
            return Work(
                by_class=row["by_class"],
                operators=row["operators"],
                weight_bytes=row["weight_bytes"],
                kinds=frozenset(row["kinds"]),
            )
    return None


def typical(total: int, precision: str, instructions: str, kernels: str) -> Work | None:
    """Return the work of which only the total is known, as models that were counted split it.

    None where no model of that precision, instruction set and kernels was counted.
    """
    code = (arithmetic(precision), instructions, kernels)
    like = [
        row
        for row in _counts()
        if (row["precision"], row["instruction_set"], row["kernels"]) == code
    ]
    if not like:
        return None
    totals = [sum(row["by_class"].values()) for row in like]

    def share(units: Sequence[float]) -> float:
        return float(np.mean(np.asarray(units) / totals))

    return Work(
        by_class={
            name: round(total * share([row["by_class"][name] for row in like]))
            for name in CLASSES
        },
        operators=round(sum(row["operators"] for row in like) / len(like)),
        weight_bytes=round(total * share([row["weight_bytes"] for row in like])),
        kinds=frozenset().union(*(row["kinds"] for row in like)),
        assumed="classes of instructions and operators like those of the models counted here",
    )


@cache
def counted_kinds() -> frozenset[str]:
    """Return the operators that any model counted here has."""
    return frozenset().union(*(row["kinds"] for row in _counts()))
