"""The figures of a bench in a few lines; all of them are in ``--json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgepack.units import format_bytes


def summary(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures behind the gates, a line a subject; none for what was not run."""
    told = {
        "ran in": _place(figures),
        "instructions": _counts(figures.get("instructions") or {}),
        "memory": _memory(figures.get("memory") or {}),
        "device time": _latency(figures.get("latency") or {}),
        "this machine": _times(figures.get("sandbox_times") or {}),
        "whole bench": f"{figures['seconds']:.1f} s" if "seconds" in figures else "",
    }
    width = max(len(name) for name in told)
    return [f"{name:<{width}}  {says}" for name, says in told.items() if says]


def _place(figures: Mapping[str, Any]) -> str:
    if not {"image", "kernels", "engine"} <= figures.keys():
        return ""
    return f"{figures['image']}, {figures['kernels']} kernels (engine {figures['engine']})"


def _counts(found: Mapping[str, Any]) -> str:
    counts = dict(found.get("by_class") or {})
    total = counts.pop("total", None)
    if not total:
        return ""
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    shares = ", ".join(f"{name} {count / total:.1%}" for name, count in ranked if count)
    return f"{total:,} an inference, counted: {shares}"


def _memory(found: Mapping[str, Any]) -> str:
    if "need_bytes" not in found or "budget_bytes" not in found:
        return ""
    need, budget = found["need_bytes"], found["budget_bytes"]
    return f"{format_bytes(need)} needed of {format_bytes(budget)} ({need / budget:.1%})"


def _latency(found: Mapping[str, Any]) -> str:
    if "low_ms" not in found:
        return ""
    return f"{found['low_ms']:g} to {found['high_ms']:g} ms, {found['how']}"


def _times(found: Mapping[str, Any]) -> str:
    wall = found.get("wall_ms") or {}
    if not wall:
        return ""
    times = ", ".join(f"{name} {value:g} ms" for name, value in wall.items())
    return f"{times} of {found['inferences']:,} inferences; no latency of the device"
