"""Milliseconds of firmware on a Cortex-M from what it executed, as a range; pure.

The cycles of each kind of instruction are those of the core's technical reference manual,
from its least to its most: loads that may pipeline, branches that may refill the pipeline,
divisions that may end early. The instructions are those of this very code, with every branch
that was taken. Flash adds to the most: each taken branch may wait for a line again, as many
cycles as the profile says. Constants that are read from flash as data may wait too; that is
not in the range, and neither are other masters of the bus.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from edgepack.profiles.profile import Profile


class Block(NamedTuple):
    """A run of instructions with one entry: how often it ran, and left by its last branch."""

    instructions: tuple[str, ...]
    runs: int
    taken: int


@dataclass(frozen=True, slots=True)
class Range:
    """An estimated time of one inference, in milliseconds."""

    low_ms: float
    high_ms: float


@dataclass(frozen=True, slots=True)
class CoreCycles:
    """Least and most cycles of each kind of instruction.

    Attributes:
        source: where they are published, or what stands for a manual that publishes none.
        dual_issue: pairs may go in one cycle: the least is half.
    """

    source: str
    cycles: Mapping[str, tuple[float, float]]
    dual_issue: bool = False


# Cortex-M4 TRM (Arm DDI 0439), table 3-1 and 3.3.1: P, the refill, is 1 to 3 cycles; IT may
# fold; neighbouring loads and stores pipeline; the FPU's table is 7-1.
_M4 = {
    "alu": (1, 1), "mul": (1, 1), "long_mul": (1, 1), "div": (2, 12),
    "load": (1, 2), "store": (1, 2), "many": (1, 1), "many_word": (1, 1),
    "branch": (1, 1), "taken": (1, 3), "it": (0, 1), "barrier": (1, 4),
    "float": (1, 1), "float_mac": (3, 3), "float_div": (14, 14), "vector": (1, 2),
}  # fmt: skip
# Cortex-M0+ TRM (Arm DDI 0484), table 3-1, with the single-cycle multiplier: two-stage
# pipeline, loads and stores 2, a taken branch 2 and BL 3.
_M0PLUS = {
    **_M4, "div": (1, 1), "load": (2, 2), "store": (2, 2), "taken": (1, 2), "it": (1, 1),
    "barrier": (3, 3),
}  # fmt: skip
# Cortex-M3 TRM (Arm DDI 0337), table 18-1: MLA 2, UMULL and SMULL 3 to 5, UMLAL 4 to 7.
_M3 = {**_M4, "mul": (1, 2), "long_mul": (3, 7)}
# Cortex-M7 TRM (Arm DDI 0489) 1.2: a six-stage superscalar pipeline; no table of cycles.
_M7 = {**_M4, "taken": (0, 6), "load": (1, 2), "float_mac": (1, 3)}

CORES: Mapping[str, CoreCycles] = {
    "cortex-m0": CoreCycles("DDI 0484, table 3-1", _M0PLUS),
    "cortex-m3": CoreCycles("DDI 0337, table 18-1", _M3),
    "cortex-m4": CoreCycles("DDI 0439, table 3-1", _M4),
    "cortex-m33": CoreCycles(
        "the M4's table, of whose pairs an M33 issues some at once", _M4, True
    ),
    "cortex-m7": CoreCycles("the M4's table and DDI 0489, 1.2", _M7, True),
    "cortex-m55": CoreCycles("the M4's table; two instructions a cycle at best", _M7, True),
}

_LOADS = re.compile(r"^(ldr|vldr)")
_STORES = re.compile(r"^(str|vstr)")
_MANY = re.compile(r"^(ldm|stm|push|pop|vpush|vpop|vldm|vstm|ldrd|strd)")
_LONG = re.compile(r"^(umull|smull|umlal|smlal(?!d)|umaal)")
_MULTIPLY = re.compile(r"^(mul|mla|mls|smul|smla|smls|smml|smmu|smua|smus)")
_BRANCH = re.compile(
    r"^(b|bl|bx|blx|cbz|cbnz|tbb|tbh)"
    r"(eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al)?$"
)
_BARRIER = re.compile(r"^(dsb|dmb|isb)$")
_MAC = re.compile(r"^v(n?ml[as]|fn?m[as])")
_DIVIDE = re.compile(r"^v(div|sqrt)")


def kind(text: str) -> str:
    """Return the kind of a disassembled instruction: ``add.w r0, r1, r2`` is ``alu``."""
    word = re.sub(r"\.[wn]$", "", text.split(None, 1)[0].lower()) if text.strip() else ""
    plain = word.partition(".")[0]
    if _MANY.match(plain):
        return "many"
    for name, pattern in (
        ("load", _LOADS), ("store", _STORES), ("branch", _BRANCH), ("barrier", _BARRIER),
        ("long_mul", _LONG), ("mul", _MULTIPLY), ("float_mac", _MAC), ("float_div", _DIVIDE),
    ):  # fmt: skip
        if pattern.match(plain):
            return name
    if re.match(r"^(sdiv|udiv)", plain):
        return "div"
    if re.match(r"^it[te]{0,3}$", plain):
        return "it"
    if plain.startswith("v"):
        return "float" if re.search(r"\b[sd]\d+\b", text) else "vector"
    return "alu"


def _words(text: str) -> int:
    """Return the registers a multiple load or store moves."""
    if re.match(r"^\s*(ldrd|strd)", text):
        return 2
    listed = text.partition("{")[2].partition("}")[0]
    total = 0
    for part in filter(None, (each.strip() for each in listed.split(","))):
        first, _, final = part.partition("-")
        numbers = [re.sub(r"\D", "", each) for each in (first, final.strip() or first)]
        total += int(numbers[1]) - int(numbers[0]) + 1 if all(numbers) else 1
    return max(total, 1)


def kinds(blocks: Iterable[Block]) -> Mapping[str, int]:
    """Return how often each kind of instruction ran; ``taken`` counts branches besides."""
    found: Counter[str] = Counter()
    for block in blocks:
        for text in block.instructions:
            each = kind(text)
            found[each] += block.runs
            if each == "many":
                found["many_word"] += _words(text) * block.runs
        found["taken"] += block.taken
    return dict(found)


def instructions(found: Mapping[str, int]) -> int:
    """Return all instructions of counted kinds."""
    return sum(n for name, n in found.items() if name not in ("taken", "many_word"))


def cycles_each(
    found: Mapping[str, int], core: CoreCycles, wait_states: int
) -> tuple[float, float]:
    """Return the least and most cycles of an instruction, on average over what ran."""
    total = instructions(found)
    low = sum(core.cycles[name][0] * n for name, n in found.items())
    high = sum(core.cycles[name][1] * n for name, n in found.items())
    high += wait_states * found.get("taken", 0)
    return low / total / (2 if core.dual_issue else 1), high / total


_EXTERNAL_FLASH = ("RP2040", "RP2350", "ESP32")


def milliseconds(count: int, found: Mapping[str, int], profile: Profile) -> Range | str:
    """Return the range of an inference of ``count`` instructions, or why there is none.

    Args:
        found: kinds of instructions, of as many inferences as were run.
    """
    name = profile.cpu.qemu_cpu or profile.cpu.isa
    chip = profile.soc.name if profile.soc else ""
    clock_mhz = profile.cpu.cores[0].clock_mhz
    if chip.upper().startswith(_EXTERNAL_FLASH):
        return f"{chip} runs code from external flash: what its cache misses cost is not known"
    if name not in CORES:
        return f"no cycles are known for {name}"
    if clock_mhz is None:
        return f"the profile names no clock for {profile.cpu.cores[0].name}"
    if not found:
        return "no C compiler for this machine, which builds what watches the instructions"
    waits = profile.cpu.flash_wait_states
    low, high = cycles_each(found, CORES[name], waits.value if waits is not None else 0)
    return Range(count * low / clock_mhz / 1e3, count * high / clock_mhz / 1e3)


def grounds(found: Mapping[str, int], profile: Profile, counted_on: str) -> str:
    """Return what ``milliseconds`` rests on, for a profile it answers with a range."""
    core = CORES[profile.cpu.qemu_cpu or profile.cpu.isa]
    waits = profile.cpu.flash_wait_states
    low, high = cycles_each(found, core, waits.value if waits is not None else 0)
    flash = "flash wait states not known"
    if waits is not None:
        flash = f"at most {waits.value} flash wait states after each taken branch"
    return (
        f"counted on an emulated {counted_on}; {low:.2f} to {high:.2f} cycles each by kind"
        f" ({core.source}; {flash}), at {profile.cpu.cores[0].clock_mhz:g} MHz"
    )
