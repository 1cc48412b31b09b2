"""Milliseconds estimated from an instruction count, always as a range with its grounds; pure.

An instruction count is exact and no time. What a core needs for one instruction of model
code is taken from published latencies: their time over the count of the same model, counted
here. Points of the device itself come first, then points of the same core, then all cores
there are. The range spans the points, widened by what a model unlike them may cost.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from edgepack.profiles.profile import CalibrationPoint, Profile

#: A model unlike the MobileNets that all points are of; see docs/adr/0009.
MARGIN = 0.35
#: n threads do the work of at least this share of n (0.80 to 0.96 on Pixel 1 to 3a in the
#: tables of the XNNPACK README).
THREADS_WORTH = 0.75
_WHOLE = {"int8": "int8", "uint8": "int8", "float32": "float32", "float16": "float32"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A range of milliseconds for one inference on one thread of the device's first core.

    Attributes:
        grounds: what the range was made from, for a person: points, core, margin.
        level: ``device``, ``core`` or ``all cores``, from best to worst.
    """

    low_ms: float
    high_ms: float
    level: str
    grounds: str


@dataclass(frozen=True, slots=True)
class _Rate:
    """Nanoseconds (or cycles) an instruction, from one point."""

    low: float
    high: float
    says: str


@cache
def _table() -> Mapping[str, Any]:
    text = resources.files("edgepack.cost").joinpath("calibration.toml").read_text()
    return tomllib.loads(text)


def counted(model: str, precision: str, arch: str, runtime: str) -> int | None:
    """Return the instructions of a published model, None where it was never counted here.

    Where the runtime's own kernels were not counted the other kernels' count stands in.
    """
    name = re.sub(r"_quant$", "", model.strip().lower())
    path = "xnnpack" if "xnnpack" in runtime.lower() else "builtin"
    found = {
        row["kernels"]: int(row["instructions"])
        for row in _table()["count"]
        if (row["model"], row["precision"], row["arch"]) == (name, _WHOLE[precision], arch)
    }
    return found.get(path, next(iter(found.values()), None))


def _rate(point: CalibrationPoint, arch: str) -> _Rate | None:
    count = point.instructions or counted(point.model, point.precision, arch, point.runtime)
    if count is None:
        return None
    one_thread_ns = point.ms * 1e6 * point.threads
    worth = 1.0 if point.threads == 1 else THREADS_WORTH
    says = f"{point.model} {point.precision} {point.ms:g} ms on {point.threads} threads"
    return _Rate(one_thread_ns * worth / count, one_thread_ns / count, says)


def _core_rates(precision: str, core: str | None) -> list[_Rate]:
    """Return cycles an instruction, from the points of one core, or of all for None."""
    rates = []
    for row in _table()["point"]:
        if core is not None and row["core"].lower() != core.lower():
            continue
        if _WHOLE[row["precision"]] != precision:
            continue
        point = CalibrationPoint(
            **{name: row[name] for name in ("model", "runtime", "precision", "source")},
            threads=row["threads"],
            ms=float(row["ms"]),
        )
        rate = _rate(point, row["arch"])
        if rate is not None:
            clock_ghz = row["clock_mhz"] / 1000
            rates.append(_Rate(rate.low * clock_ghz, rate.high * clock_ghz, rate.says))
    return rates


def estimate(profile: Profile, instructions: int, precision: str) -> Estimate | None:
    """Return the range for ``instructions``, None where neither points nor a clock are known.

    Args:
        precision: of the model: ``int8`` or ``float32``; points of the other are not used,
            because the two differ by 2.5x an instruction on a Cortex-A72.
    """
    whole = _WHOLE.get(precision, "float32")
    own = [
        rate
        for point in profile.calibration
        if _WHOLE[point.precision] == whole
        and (rate := _rate(point, profile.cpu.isa)) is not None
    ]
    core = profile.cpu.cores[0]
    level, rates, period_ns = "device", own, 1.0
    if not rates and core.clock_mhz:
        period_ns = 1000 / core.clock_mhz
        level, rates = "core", _core_rates(whole, core.name)
        if not rates:
            level, rates = "all cores", _core_rates(whole, None)
    if not rates:
        return None
    low = min(rate.low for rate in rates) * period_ns
    high = max(rate.high for rate in rates) * period_ns
    kind = "" if level == "device" else "published "  # the device's own may be measured
    of = {"device": profile.name, "core": core.name, "all cores": "every core known"}[level]
    return Estimate(
        low_ms=instructions * low * 1e-6 * (1 - MARGIN),
        high_ms=instructions * high * 1e-6 * (1 + MARGIN),
        level=level,
        grounds=f"{len(rates)} {kind}point{'s' if len(rates) > 1 else ''} of {of}, {low:.2f} "
        f"to {high:.2f} ns an instruction, and {MARGIN:.0%} either way for models unlike them",
    )
