"""What a machine says about itself in ``/proc``, ``getprop`` and ``os-release``, as values.

Pure: text in, values out. The text may come from any device, so nothing in it is trusted
to be there, to be short or to be printable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: CPU implementer and part, as Linux prints them, to the core's name.
#: Source: Linux arch/arm64/include/asm/cputype.h, util-linux sys-utils/lscpu-arm.c.
_PARTS = {
    (0x41, 0xC07): "Cortex-A7",
    (0x41, 0xC09): "Cortex-A9",
    (0x41, 0xC0F): "Cortex-A15",
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4E): "Cortex-X3",
    (0x51, 0x800): "Kryo 2xx Gold",
    (0x51, 0x801): "Kryo 2xx Silver",
    (0x51, 0x802): "Kryo 3xx Gold",
    (0x51, 0x803): "Kryo 3xx Silver",
    (0x51, 0x804): "Kryo 4xx Gold",
    (0x51, 0x805): "Kryo 4xx Silver",
    (0x53, 0x001): "Exynos M1",
    (0x53, 0x002): "Exynos M3",
}
#: QEMU 7.2's name of a core that has no more features than the core has.
_QEMU = {
    "Cortex-A7": "cortex-a7",
    "Cortex-A9": "cortex-a9",
    "Cortex-A15": "cortex-a15",
    "Cortex-A53": "cortex-a53",
    "Cortex-A55": "cortex-a53",
    "Cortex-A57": "cortex-a57",
    "Cortex-A72": "cortex-a72",
    "Cortex-A73": "cortex-a72",
    "Cortex-A75": "cortex-a72",
    "Cortex-A76": "cortex-a76",
    "Neoverse-N1": "neoverse-n1",
}
#: What Linux lists under Features or flags, to the words of a profile.
_FEATURES = {
    "neon": "neon",
    "asimd": "neon",
    "asimddp": "dotprod",
    "asimdhp": "fp16",
    "i8mm": "i8mm",
    "sve": "sve",
    "sse4_1": "sse4.1",
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx512_vnni": "vnni",
    "avx_vnni": "vnni",
    "v": "rvv",
}
_ABI = {
    "arm64-v8a": "arm64",
    "armeabi-v7a": "armv7",
    "x86_64": "amd64",
    "riscv64": "riscv64",
    "aarch64": "arm64",
    "armv7l": "armv7",
    "armv8l": "armv7",
    "amd64": "amd64",
}
_PROPERTY = re.compile(r"^\[([^\]]+)\]: \[([^\]]*)\]\s*$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)
_NUMBER = re.compile(r"[0-9]{1,18}")
_MEMORY = re.compile(r"^MemTotal:\s+([0-9]{1,18}) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CpuCluster:
    """Cores that are equal in name and highest clock."""

    name: str
    count: int
    clock_mhz: float | None


def instruction_set(name: str) -> str | None:
    """Return the profile's name of an Android ABI or of ``uname -m``; None if unknown."""
    return _ABI.get(name.strip().lower())


def number(text: str) -> int | None:
    """Return the positive whole number that ``text`` is; None if it is none or is absurd."""
    match = _NUMBER.fullmatch(text.strip())
    return (int(match[0]) or None) if match else None


def properties(text: str) -> dict[str, str]:
    """Return what Android's ``getprop`` printed."""
    return dict(_PROPERTY.findall(text.replace("\r", "")))


def os_release(text: str) -> dict[str, str]:
    """Return the assignments of ``/etc/os-release`` without their quotes."""
    return {key: value.strip().strip("\"'") for key, value in _ASSIGNMENT.findall(text)}


def memory_bytes(meminfo: str) -> int | None:
    """Return MemTotal of ``/proc/meminfo``, whose kB are 1024 bytes; None if absent."""
    match = _MEMORY.search(meminfo)
    return int(match[1]) * 1024 if match else None


def disk_bytes(df: str) -> int | None:
    """Return the size that ``df -k`` printed for its one file system; None if none."""
    for line in reversed(df.replace("\r", "").strip().splitlines()):
        words = line.split()
        size = number(words[1]) if len(words) > 1 else None
        if size:
            return size * 1024
    return None


def clocks_mhz(text: str) -> dict[int, float]:
    """Return the highest clock of each processor from lines of ``<n> <kHz>``."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        khz = number(words[1]) if len(words) == 2 else None
        if khz and _NUMBER.fullmatch(words[0]):
            found[int(words[0])] = khz / 1000
    return found


def clusters(cpuinfo: str, clocks: Mapping[int, float]) -> tuple[CpuCluster, ...]:
    """Return the cores of ``/proc/cpuinfo``, equal ones together, the fastest first."""
    counted: dict[tuple[str, float | None], int] = {}
    for block in _processors(cpuinfo):
        key = (_core_name(block), clocks.get(int(block["processor"])))
        counted[key] = counted.get(key, 0) + 1
    found = [CpuCluster(name, count, clock) for (name, clock), count in counted.items()]
    return tuple(sorted(found, key=lambda one: (-(one.clock_mhz or 0), one.name)))


def features(cpuinfo: str) -> tuple[str, ...]:
    """Return the vector features that every listed processor has, in the profile's words."""
    each = [
        {
            _FEATURES[word]
            for word in f"{block.get('features', '')} {block.get('flags', '')}".split()
            if word in _FEATURES
        }
        for block in _processors(cpuinfo)
    ]
    return tuple(sorted(set.intersection(*each))) if each else ()


def qemu_cpu(found: tuple[CpuCluster, ...]) -> str | None:
    """Return the emulator's core for the weakest cluster; None where it has none."""
    return _QEMU.get(found[-1].name) if found else None


def _processors(cpuinfo: str) -> list[dict[str, str]]:
    blocks: list[dict[str, str]] = []
    common: dict[str, str] = {}
    for paragraph in re.split(r"\n\s*\n", cpuinfo.replace("\r", "")):
        pairs = [line.split(":", 1) for line in paragraph.splitlines() if ":" in line]
        block = {key.strip().lower(): value.strip() for key, value in reversed(pairs)}
        numbers = [value.strip() for key, value in pairs if key.strip() == "processor"]
        numbers = [one for one in numbers if _NUMBER.fullmatch(one)]
        if numbers:  # older 32-bit kernels list several in one paragraph
            blocks += [{**block, "processor": one} for one in numbers]
        else:
            common.update(block)
    return [{**common, **block} for block in blocks]


def _core_name(block: Mapping[str, str]) -> str:
    implementer, part = block.get("cpu implementer", ""), block.get("cpu part", "")
    try:
        known = _PARTS.get((int(implementer, 16), int(part, 16)))
    except ValueError:
        return block.get("model name") or block.get("uarch") or "unnamed core"
    return known or f"implementer {implementer} part {part}"
