"""A profile of the machine at hand, or of an attached phone, as the text of a TOML file.

Every number is measured there and says so. Budgets are not: they are inherited from the
family that fits, and the share of RAM follows the same rule as in the built-in profiles.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Protocol

from edgepack.errors import EnvironmentMissing, InputError
from edgepack.profiles import probe_parse
from edgepack.toml_file import TomlTable, document, one_line
from edgepack.units import exact_bytes

_MIB = 2**20

#: Up to this much RAM a phone counts as an Android (Go edition) device, whose budgets hold.
_GO_RAM_BYTES = 4 * 2**30
#: Installed packages that run a .tflite, and the name a profile gives their runtime.
_PACKAGES = {"tflite-runtime": "tflite", "ai-edge-litert": "litert"}


class Shell(Protocol):
    """A way to run one command on a phone, such as ``adb shell``."""

    def shell(self, command: str) -> str:
        """Return what ``command`` printed; empty where it printed nothing."""
        ...


def this_machine(
    today: str,
    *,
    name: str | None = None,
    root: Path = Path("/"),
    installed: Callable[[str], str] = metadata.version,
) -> str:
    """Return the TOML profile of the machine this runs on.

    Args:
        today: date of the measurement, for the sources.
        name: of the profile; by default made from the machine's title.
        root: where ``proc``, ``sys`` and ``etc`` are; another one only in tests.
        installed: version of an installed package, or PackageNotFoundError.

    Raises:
        EnvironmentMissing: no runtime is installed, so there is nothing to judge with.
        InputError: ``/proc`` does not say what the machine is.
    """
    cpuinfo = _text(root / "proc/cpuinfo")
    release = probe_parse.os_release(_text(root / "etc/os-release"))
    model = _text(root / "proc/device-tree/model").strip("\0\n ")
    clocks = "\n".join(
        f"{path.parent.parent.name.removeprefix('cpu')} {_text(path)}"
        for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/cpuinfo_max_freq")
    )
    clusters = probe_parse.clusters(cpuinfo, probe_parse.clocks_mhz(clocks))
    machine = platform.machine()
    if sys.maxsize < 2**32 and machine == "aarch64":
        machine = "armv8l"
    by = f"measured: {{}} on {today}"
    return as_profile(
        Measured(
            title=model or f"{clusters[0].name if clusters else machine} machine",
            kind="sbc" if model else "host",
            family="linux",
            isa=machine,
            clusters=clusters,
            features=probe_parse.features(cpuinfo),
            ram_bytes=probe_parse.memory_bytes(_text(root / "proc/meminfo")) or 0,
            ram_share=8,
            page_bytes=os.sysconf("SC_PAGE_SIZE"),
            storage_bytes=shutil.disk_usage(root).total,
            system=(release.get("ID", "linux"), release.get("VERSION_ID", ""), None),
            soc=None,
            runtimes=_installed(installed, today),
            sources={
                "cpu": by.format("/proc/cpuinfo"),
                "ram": by.format("MemTotal of /proc/meminfo"),
                "page": by.format("sysconf SC_PAGE_SIZE"),
                "storage": by.format("the file system of /"),
                "system": by.format("/etc/os-release"),
            },
        ),
        name,
    )


def attached_phone(phone: Shell, today: str, *, name: str | None = None) -> str:
    """Return the TOML profile of an Android phone or tablet that answers commands.

    The runtime is the family's: an app brings its own.

    Raises:
        InputError: the device does not say what it is.
    """
    known = probe_parse.properties(phone.shell("getprop"))
    cpuinfo = phone.shell("cat /proc/cpuinfo")
    clocks = phone.shell(
        "for c in /sys/devices/system/cpu/cpu[0-9]*; do "
        'echo "${c##*cpu} $(cat $c/cpufreq/cpuinfo_max_freq 2>/dev/null)"; done'
    )
    ram = probe_parse.memory_bytes(phone.shell("cat /proc/meminfo")) or 0
    abi = known.get("ro.product.cpu.abi", "")
    isa = probe_parse.instruction_set(abi) or abi
    page = probe_parse.number(phone.shell("getconf PAGE_SIZE 2>/dev/null"))
    maker = known.get("ro.product.manufacturer", "")
    soc = known.get("ro.soc.model") or known.get("ro.board.platform")
    by = f"measured: {{}} on {today}"
    small = ram <= _GO_RAM_BYTES
    return as_profile(
        Measured(
            title=f"{maker} {known.get('ro.product.model', '')}".strip() or "Android device",
            kind="tablet" if "tablet" in known.get("ro.build.characteristics", "") else "phone",
            family="android-go-armv7"
            if isa == "armv7"
            else ("android-go-arm64" if small else "android-arm64"),
            isa=isa,
            clusters=probe_parse.clusters(cpuinfo, probe_parse.clocks_mhz(clocks)),
            features=probe_parse.features(cpuinfo),
            ram_bytes=ram,
            ram_share=32,
            page_bytes=page,
            storage_bytes=probe_parse.disk_bytes(phone.shell("df -k /data")),
            system=(
                "android",
                known.get("ro.build.version.release", ""),
                probe_parse.number(known.get("ro.build.version.sdk", "")),
            ),
            soc=(known.get("ro.soc.manufacturer") or "not stated", soc) if soc else None,
            runtimes=(),
            sources={
                "cpu": by.format("/proc/cpuinfo and cpufreq"),
                "ram": by.format("MemTotal of /proc/meminfo"),
                "page": by.format("getconf PAGE_SIZE"),
                "storage": by.format("df -k /data"),
                "system": by.format("getprop"),
            },
        ),
        name,
    )


def _installed(version: Callable[[str], str], today: str) -> tuple[tuple[str, str, str], ...]:
    found = []
    for package, runtime in _PACKAGES.items():
        try:
            release = version(package)
        except metadata.PackageNotFoundError:
            continue
        found.append((runtime, release, f"measured: installed {package} {release} on {today}"))
    if not found:
        raise EnvironmentMissing(
            f"no runtime for .tflite models is installed ({' or '.join(_PACKAGES)}); "
            "pip install ai-edge-litert"
        )
    return tuple(found)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # what a machine does not say is absent; as_profile asks for what it needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a machine is, before it is written down.

    Attributes:
        ram_share: one model may take 1/ram_share of RAM.
        sources: where ``cpu``, ``ram``, ``page``, ``storage`` and ``system`` were read.
    """

    title: str
    kind: str
    family: str
    isa: str
    clusters: tuple[probe_parse.CpuCluster, ...]
    features: tuple[str, ...]
    ram_bytes: int
    ram_share: int
    page_bytes: int | None
    storage_bytes: int | None
    system: tuple[str, str, int | None]
    soc: tuple[str, str] | None
    runtimes: tuple[tuple[str, str, str], ...]
    sources: dict[str, str]


def as_profile(found: Measured, name: str | None) -> str:
    """Return the TOML text of what was measured, under ``name`` or one made of the title.

    Raises:
        InputError: what no profile can do without is missing.
    """
    isa = probe_parse.instruction_set(found.isa) or found.isa
    if isa not in {"amd64", "arm64", "armv7", "riscv64"} or not found.clusters:
        raise InputError(
            f"{found.title}: wanted a processor of amd64, arm64, armv7 or riscv64 with its "
            f"cores. Received: {found.isa!r} with {len(found.clusters)} kinds of core"
        )
    if found.ram_bytes < found.ram_share * _MIB:
        raise InputError(
            f"{found.title}: wanted MemTotal in /proc/meminfo. Received: {found.ram_bytes} B"
        )
    by = found.sources
    cores: list[TomlTable] = [
        {"name": c.name, "count": c.count, "clock_mhz": c.clock_mhz, "source": by["cpu"]}
        for c in found.clusters
    ]
    budget = found.ram_bytes // found.ram_share // _MIB * _MIB
    cpu: TomlTable = {"isa": isa, "qemu_cpu": probe_parse.qemu_cpu(found.clusters)}
    top: TomlTable = {
        "schema": 1,
        "name": name or slug(found.title),
        "extends": found.family,
        "title": found.title,
        "kind": found.kind,
    }
    soc = found.soc
    system, version, api_level = found.system
    return document(
        top,
        {
            "soc": {"vendor": soc[0], "name": soc[1], "source": by["system"]} if soc else None,
            "cpu": {**cpu, "features": list(found.features)},
            "cpu.cores": cores,
            "ram.total": {"value": exact_bytes(found.ram_bytes), "source": by["ram"]},
            "ram.budget": {
                "value": exact_bytes(budget),
                "source": f"policy: 1/{found.ram_share} of RAM, in whole MiB",
            },
            "ram.page": _quantity(found.page_bytes, by["page"]),
            "storage.total": _quantity(found.storage_bytes, by["storage"]),
            "system": {
                "name": slug(system),
                "version": version or None,
                "api_level": api_level,
                "source": by["system"],
            },
            "runtimes": [
                {"name": kind, "version": release, "source": source}
                for kind, release, source in found.runtimes
            ],
        },
    )


def _quantity(size: int | None, source: str) -> TomlTable | None:
    return {"value": exact_bytes(size), "source": source} if size else None


def slug(title: str) -> str:
    """Return ``title`` as a profile's name may be written."""
    return re.sub(r"[^a-z0-9.]+", "-", one_line(title).lower()).strip("-.")[:64] or "machine"
