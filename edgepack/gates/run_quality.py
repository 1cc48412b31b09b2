"""Whether a run was steady and long enough: heat, drift, minima, numbers that agree; pure."""

from __future__ import annotations

from itertools import pairwise

from edgepack.gates.finding import Finding, Outcome
from edgepack.measurements.device_report import Report
from edgepack.measurements.latency_samples import KEPT, MINIMA, drift, percentile
from edgepack.measurements.report_model import Conditions

#: Policy: a run whose last quarter is this much slower than its first was throttled.
MAX_DRIFT = 0.10
#: Android's THERMAL_STATUS_MODERATE: "user experience impacted"; light (1) is let pass.
MODERATE = 2
#: Policy: warmer by this much, where the device tells no thermal status.
MAX_WARMING_C = 8.0


def finding(gate: str, wrong: list[str], well: str, *, remedy: str = "") -> Finding:
    """Return FAIL with all that is wrong, or PASS with what is well."""
    says = "; ".join(wrong) + (f": {remedy}" if wrong and remedy else "") if wrong else well
    return Finding(gate=gate, verdict=Outcome.FAIL if wrong else Outcome.PASS, says=says)


def thermal(report: Report) -> Finding:
    """Return whether the device stayed as cool and as fast as it began."""
    gate, before, after = "device_thermal", report.before, report.after
    wrong, told = _heat(before, after), []
    if before.power_save or after.power_save:
        wrong.append("the power saver was on")
    status = [
        each for each in (before.thermal_status, after.thermal_status) if each is not None
    ]
    if status:
        told.append(f"thermal status {' -> '.join(map(str, status))}")
    if report.run is not None and report.run.samples_ms:
        slower = drift(report.run.samples_ms)
        told.append(f"{slower:+.1%} from first to last quarter")
        if slower > MAX_DRIFT:
            wrong.append(f"slowed by {slower:.0%} while it ran, {MAX_DRIFT:.0%} allowed")
    warming = _warming(before, after)
    if warming is not None:
        told.append(f"{warming:+.1f} degrees C")
    if wrong or told:
        return finding(
            gate, wrong, ", ".join(told), remedy="let it cool down, off the charger, run again"
        )
    return Finding(
        gate=gate,
        verdict=Outcome.INCONCLUSIVE,
        says="neither a thermal state nor a temperature nor raw times: throttling unknown",
    )


def _heat(before: Conditions, after: Conditions) -> list[str]:
    was, became = before.thermal_status, after.thermal_status
    wrong = [
        f"thermal status {each} {when}, {MODERATE} is throttling"
        for when, each in (("before", was), ("after", became))
        if each is not None and each >= MODERATE
    ]
    warming = _warming(before, after)
    if was is None and became is None and warming is not None and warming > MAX_WARMING_C:
        wrong.append(f"{warming:.1f} degrees C warmer, {MAX_WARMING_C:.0f} allowed")
    return wrong


def _warming(before: Conditions, after: Conditions) -> float | None:
    for was, became in (
        (before.temperature_c, after.temperature_c),
        (before.battery_c, after.battery_c),
    ):
        if was is not None and became is not None:
            return became - was
    return None


def enough(report: Report) -> Finding:
    """Return whether enough was timed, and whether the numbers follow from each other."""
    gate, run = "device_queries", report.run
    if run is None:
        return Finding(gate=gate, verdict=Outcome.FAIL, says="nothing was timed")
    least, wrong = MINIMA[run.mode], []
    if run.queries < least.queries or run.seconds < least.seconds:
        wrong.append(
            f"{run.queries:,} queries in {run.seconds:.1f} s; a {run.mode} run is at least"
            f" {least.queries:,} and {least.seconds:.0f} s"
        )
    wrong += _untrue(report)
    if wrong:
        return finding(gate, wrong, "", remedy="run again")
    if run.mode == "quick":
        full = MINIMA["full"]
        says = (
            f"a quick look of {run.queries:,} queries in {run.seconds:.1f} s; the verdict needs"
            f" {full.queries:,} and {full.seconds:.0f} s (--full)"
        )
        return Finding(gate=gate, verdict=Outcome.INCONCLUSIVE, says=says)
    return finding(gate, [], f"{run.queries:,} queries in {run.seconds:.1f} s")


def _untrue(report: Report) -> list[str]:
    """Return what in the run contradicts itself: a summary must follow from the times."""
    run, held = report.run, report.memory
    if run is None:
        return []
    wrong, times, told = [], run.samples_ms, run.summary
    rising = [told.min_ms, told.p50_ms, told.p90_ms, told.p95_ms, told.max_ms]
    ladder = [step for step in rising if step is not None]
    if any(_above(low, high) for low, high in pairwise(ladder)):
        wrong.append("its percentiles do not rise from the least to the greatest time")
    if _above(told.min_ms, told.mean_ms) or _above(told.mean_ms, told.max_ms):
        wrong.append("its mean is not between its least and its greatest time")
    if held is not None and held.peak_bytes < held.baseline_bytes:
        wrong.append("its peak of memory is below what it began with")
    if not times:
        if report.backend.name != "benchmark_model":  # which has none to tell
            wrong.append(f"{report.backend.name} tells raw times, here are none")
        return wrong
    kept = -(-run.queries // run.stride)
    if len(times) != kept:
        wrong.append(f"{len(times):,} raw times, {kept:,} follow from its queries and stride")
    if run.stride > 1 and len(times) < KEPT // 2:
        wrong.append(f"it kept {len(times):,} raw times where {KEPT // 2:,} had room")
    if _above(told.min_ms, min(times)) or _above(max(times), told.max_ms):
        wrong.append("raw times beyond its least or greatest one")
    for name, share, value in (("p50", 0.5, told.p50_ms), ("p90", 0.9, told.p90_ms)):
        if value is None or _apart(value, percentile(times, share)):
            wrong.append(f"{name} does not follow from its raw times")
    if sum(times) * run.stride > run.seconds * 1e3 * 1.01 + run.stride * max(times):
        wrong.append("its raw times add up to more than the time it took")
    return wrong


def _apart(one: float, other: float) -> bool:
    """Return whether two times differ by more than their writing may round them."""
    return abs(one - other) > 1e-3 + 1e-6 * other


def _above(one: float, other: float) -> bool:
    return one > other and _apart(one, other)
