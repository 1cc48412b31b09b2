"""What was measured of a machine, as a profile that inherits the budgets of its family."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgepack.errors import InputError
from edgepack.profiles import probe_parse as parse
from edgepack.profiles.probe_text import Table, document, one_line
from edgepack.units import exact_bytes

_MIB = 2**20


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
    clusters: tuple[parse.Cluster, ...]
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
    isa = parse.instruction_set(found.isa) or found.isa
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
    cores: list[Table] = [
        {"name": c.name, "count": c.count, "clock_mhz": c.clock_mhz, "source": by["cpu"]}
        for c in found.clusters
    ]
    budget = found.ram_bytes // found.ram_share // _MIB * _MIB
    cpu: Table = {"isa": isa, "qemu_cpu": parse.qemu_cpu(found.clusters)}
    top: Table = {
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


def _quantity(size: int | None, source: str) -> Table | None:
    return {"value": exact_bytes(size), "source": source} if size else None


def slug(title: str) -> str:
    """Return ``title`` as a profile's name may be written."""
    return re.sub(r"[^a-z0-9.]+", "-", one_line(title).lower()).strip("-.")[:64] or "machine"
