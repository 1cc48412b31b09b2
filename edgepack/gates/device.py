"""The device gates: whether a device's report proves anything about a bundle; pure.

First the refusals: hashes, what ran, where it ran, golden answers, heat, enough queries.
Only a report that none of them refuses gives ``latency`` and ``peak_ram``, which then
replace the emulated or estimated findings of the same name (``Verdict.plus``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.gates.expected import REPORT, complete
from edgepack.gates.finding import Finding, How, Outcome, Verdict, failed, inconclusive, passed
from edgepack.gates.limits import (
    at_most,
    latency_limit,
    outcome_at_most,
    ram_limit,
    range_at_most,
)
from edgepack.measurements.device_report import Report
from edgepack.measurements.latency_samples import KEPT, MINIMA, drift, percentile
from edgepack.measurements.report_model import BundleRef, Conditions, Run
from edgepack.profiles.probe_parse import instruction_set
from edgepack.profiles.profile import Profile

#: XNNPACK and builtin kernels were seen up to 4 codes apart on int8 models (docs/android.md).
GOLDEN_LSB = 4
#: Float answers of a delegate that computes in fp16: a policy, as a share of the range.
GOLDEN_FLOAT_SHARE = 0.01
#: The kernel keeps part of RAM for itself, so MemTotal is below what is sold.
_MEMTOTAL_SHARE = (0.60, 1.02)
#: Policy: a run whose last quarter is this much slower than its first was throttled.
MAX_DRIFT = 0.10
#: Android's THERMAL_STATUS_MODERATE: "user experience impacted"; light (1) is let pass.
MODERATE = 2
#: Policy: warmer by this much, where the device tells no thermal status.
MAX_WARMING_C = 8.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expected:
    """What the caller knows of its own, beside the profile.

    Attributes:
        bundle: the bundle here, as a true report names it.
        golden_outputs: ``(N, *output_shape)``, the bundle's own.
        identity: of the run that was ordered; None takes any run of this bundle.
        backend_sha256: of the APK, binary or folder that was installed; None where unknown.
        golden_lsb: codes that a quantized answer may be off.
    """

    bundle: BundleRef
    golden_outputs: NDArray[Any]
    identity: str | None = None
    backend_sha256: str | None = None
    golden_lsb: int = GOLDEN_LSB


def judge(report: Report, profile: Profile, expected: Expected) -> Verdict:
    """Return all findings about the report; the measured ones only where nothing refuses it."""
    found = [
        _hashes(report, expected),
        _ending(report),
        _identity(report, profile, expected),
        _runtime(report, profile),
        _goldens(report, expected),
        _thermal(report),
        _enough(report),
    ]
    if not report_refused(Verdict(tuple(found))) and report.run is not None:
        found += [
            _latency(report.run, profile, _how(report), where=report.device.model),
            *_memory(report, profile),
        ]
    return Verdict(tuple(found))


def report_refused(verdict: Verdict) -> bool:
    """Return whether a gate about the report itself failed, not one about the model."""
    broken = verdict.named(Outcome.FAIL)
    return any(each.gate.startswith("device_") for each in broken)


def _how(report: Report) -> How:
    return How.EMULATED if report.device.emulated else How.MEASURED


def _refusal(gate: str, wrong: list[str], well: str, *, remedy: str = "") -> Finding:
    """Return FAIL with all that is wrong, or PASS with what is well."""
    if not wrong:
        return passed(gate, well)
    return failed(gate, "; ".join(wrong) + (f": {remedy}" if remedy else ""))


def _hashes(report: Report, expected: Expected) -> Finding:
    pairs = (
        ("bundle", report.bundle.sha256, expected.bundle.sha256),
        ("model", report.bundle.model_sha256, expected.bundle.model_sha256),
        ("run", report.identity, expected.identity),
        ("run than it tells of", report.identity, report.answered_identity),
        (report.backend.name, report.backend.sha256, expected.backend_sha256),
    )
    wrong = [
        f"another {what}: {(got or 'no digest')[:12]} instead of {wanted[:12]}"
        for what, got, wanted in pairs
        if wanted is not None and got != wanted
    ]
    return _refusal(
        "device_hashes",
        wrong,
        "bundle, model and back end are the ones that were sent",
        remedy="push the bundle and run again",
    )


def _ending(report: Report) -> Finding:
    if report.ending == "ok":
        return _refusal("device_run", [], "ran to its end")
    return _refusal("device_run", [f"{report.ending}: {report.says}"], "")


def _identity(report: Report, profile: Profile, expected: Expected) -> Finding:
    device, wrong = report.device, []
    isa = instruction_set(device.abi)
    if isa != profile.cpu.isa:
        wrong.append(
            f"ran as {device.abi} ({isa or 'unknown'}), the profile is {profile.cpu.isa}"
        )
    if report.bundle.profile != expected.bundle.profile:
        wrong.append(f"made for {report.bundle.profile}, not {expected.bundle.profile}")
    wrong += _system(report, profile)
    total = profile.ram.total.value if profile.ram.total else None
    if total is not None and device.ram_bytes is None:
        wrong.append("it does not tell its RAM")
    elif total is not None and device.ram_bytes is not None:
        share = device.ram_bytes / total
        if not _MEMTOTAL_SHARE[0] <= share <= _MEMTOTAL_SHARE[1]:
            wrong.append(f"MemTotal is {share:.0%} of the profile's RAM")
    cores = sum(core.count for core in profile.cpu.cores)
    if device.cpus > cores:
        wrong.append(f"{device.cpus} processors, the profile has {cores}")
    return _refusal(
        "device_profile",
        wrong,
        f"{device.manufacturer} {device.model}, {device.abi}: matches {profile.name}",
        remedy="choose its profile, or make one with edgepack profiles probe --adb",
    )


def _system(report: Report, profile: Profile) -> list[str]:
    """Return what of the system is another: a board is no tablet with the same cores."""
    sdk, level = report.device.sdk, profile.system.api_level if profile.system else None
    if level is not None and sdk is None:
        return [f"it runs no Android, the profile is of API level {level}"]
    if level is not None and sdk != level:
        return [f"API level {sdk}, the profile's is {level}"]
    if profile.kind == "sbc" and sdk is not None:
        return [f"it runs Android (API level {sdk}), the profile is a board"]
    return []


def _runtime(report: Report, profile: Profile) -> Finding:
    ran, run = report.runtime, report.run
    carried = {(each.name, each.version) for each in profile.runtimes}
    wrong = []
    if (ran.name, ran.version) not in carried:
        versions = ", ".join(f"{name} {version}" for name, version in sorted(carried))
        wrong.append(f"ran {ran.name} {ran.version}, the profile carries {versions}")
    if run is not None:
        named = {each.name for each in profile.delegates}
        if run.delegate != "cpu" and run.delegate not in named:
            wrong.append(f"{run.delegate} is recorded only: the profile names no such delegate")
        if run.kernels != "default":
            wrong.append(f"{run.kernels} kernels, not what the runtime does on its own")
    if not wrong:
        return _refusal("device_runtime", [], f"{ran.name} {ran.version}, as the profile says")
    says = "; ".join(wrong) + ": ship that runtime, or judge it by a profile that carries it"
    return inconclusive("device_runtime", says)


def _goldens(report: Report, expected: Expected) -> Finding:
    gate = "device_goldens"
    if report.goldens is None:
        return inconclusive(
            gate,
            f"{report.backend.name} gave no golden answers; its times are of an unproven"
            " model: run it with --backend app or --backend portable too",
        )
    wanted, got = expected.golden_outputs, report.goldens.array()
    if got.dtype != wanted.dtype or got.shape != wanted.shape:
        says = f"answers of {got.dtype} {got.shape}, wanted {wanted.dtype} {wanted.shape}"
        return failed(gate, says)
    if not np.isfinite(got.astype(np.float64)).all():
        return failed(gate, "answers that are no numbers")
    apart = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
    exact = np.issubdtype(wanted.dtype, np.integer)
    spread = float(np.ptp(wanted)) if wanted.size else 0.0
    limit = float(expected.golden_lsb) if exact else GOLDEN_FLOAT_SHARE * spread
    worst = float(apart.max()) if apart.size else 0.0
    unit = "codes" if exact else "units"
    return Finding(
        gate=gate,
        verdict=outcome_at_most(worst, worst, limit),
        how=_how(report),
        value=worst,
        limit=limit,
        unit=unit,
        says=f"{len(got)} golden rows: {int((apart > 0).sum())} of {apart.size} values differ"
        f" from the reference kernels, by {worst:g} {unit} at most, {limit:g} allowed",
    )


def _thermal(report: Report) -> Finding:
    """Return whether the device stayed as cool and as fast as it began."""
    gate, before, after = "device_thermal", report.before, report.after
    wrong, reasons = _heat(before, after), []
    if before.power_save or after.power_save:
        wrong.append("the power saver was on")
    status = [
        each for each in (before.thermal_status, after.thermal_status) if each is not None
    ]
    if status:
        reasons.append(f"thermal status {' -> '.join(map(str, status))}")
    if report.run is not None and report.run.samples_ms:
        slower = drift(report.run.samples_ms)
        reasons.append(f"{slower:+.1%} from first to last quarter")
        if slower > MAX_DRIFT:
            wrong.append(f"slowed by {slower:.0%} while it ran, {MAX_DRIFT:.0%} allowed")
    warming = _warming(before, after)
    if warming is not None:
        reasons.append(f"{warming:+.1f} degrees C")
    if wrong or reasons:
        return _refusal(
            gate,
            wrong,
            ", ".join(reasons),
            remedy="let it cool down, off the charger, run again",
        )
    return inconclusive(
        gate,
        "neither a thermal state nor a temperature nor raw times: throttling unknown;"
        " run it with --backend app or --backend portable, which tell raw times",
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


def _enough(report: Report) -> Finding:
    """Return whether enough was timed, and whether the numbers follow from each other."""
    gate, run = "device_queries", report.run
    if run is None:
        return failed(gate, "nothing was timed")
    least, wrong = MINIMA[run.mode], []
    if run.queries < least.queries or run.seconds < least.seconds:
        wrong.append(
            f"{run.queries:,} queries in {run.seconds:.1f} s; a {run.mode} run is at least"
            f" {least.queries:,} and {least.seconds:.0f} s"
        )
    wrong += _untrue(report)
    if wrong:
        return _refusal(gate, wrong, "", remedy="run again")
    if run.mode == "quick":
        full = MINIMA["full"]
        says = (
            f"a quick look of {run.queries:,} queries in {run.seconds:.1f} s; the verdict needs"
            f" {full.queries:,} and {full.seconds:.0f} s (--full)"
        )
        return inconclusive(gate, says)
    return _refusal(gate, [], f"{run.queries:,} queries in {run.seconds:.1f} s")


def _untrue(report: Report) -> list[str]:
    """Return what in the run contradicts itself: a summary must follow from the times."""
    run, held = report.run, report.memory
    if run is None:
        return []
    wrong, times, summary = [], run.samples_ms, run.summary
    rising = [
        summary.min_ms,
        summary.p50_ms,
        summary.p90_ms,
        summary.p95_ms,
        summary.max_ms,
    ]
    ladder = [step for step in rising if step is not None]
    if any(_above(low, high) for low, high in pairwise(ladder)):
        wrong.append("its percentiles do not rise from the least to the greatest time")
    if _above(summary.min_ms, summary.mean_ms) or _above(summary.mean_ms, summary.max_ms):
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
    if _above(summary.min_ms, min(times)) or _above(max(times), summary.max_ms):
        wrong.append("raw times beyond its least or greatest one")
    for name, share, value in (("p50", 0.5, summary.p50_ms), ("p90", 0.9, summary.p90_ms)):
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


def p90_between(run: Run) -> tuple[float, float]:
    """Return (lowest, highest) value that the run's p90 can have, in ms.

    Equal where the raw times or the p90 itself were told. Otherwise it lies between the
    median (or the minimum) and p95 (or the maximum), and nothing narrower is claimed.
    """
    summary = run.summary
    if run.samples_ms:
        exact = percentile(run.samples_ms, 0.9)
        return exact, exact
    if summary.p90_ms is not None:
        return summary.p90_ms, summary.p90_ms
    lowest = summary.p50_ms if summary.p50_ms is not None else summary.min_ms
    highest = summary.p95_ms if summary.p95_ms is not None else summary.max_ms
    return lowest, highest


def _latency(run: Run, profile: Profile, how: How, *, where: str) -> Finding:
    """Return the ``latency`` finding; wall time under an emulator is no device latency."""
    lowest, highest = p90_between(run)
    path = f"{run.delegate}, {run.threads} thread{'s' if run.threads > 1 else ''}"
    exact = lowest == highest
    number = f"p90 {highest:.3f} ms" if exact else f"p90 in {lowest:.3f} to {highest:.3f} ms"
    says = f"{number} on {where} ({path}, {run.queries:,} queries)"
    if how is not How.MEASURED:
        return inconclusive(
            "latency", f"{says}: an emulator's wall time, which is not the device's"
        )
    return range_at_most(
        "latency",
        lowest,
        highest,
        latency_limit(profile),
        "ms",
        how=how,
        says=says,
        decide="only raw times decide; run it with --backend app or --backend portable",
        remedy="prune channels, take a smaller input or model",
    )


def _memory(report: Report, profile: Profile) -> tuple[Finding, ...]:
    if report.memory is None or report.device.emulated:  # the emulator's own memory is in it
        return ()
    held = report.memory
    grown = max(held.peak_bytes - held.baseline_bytes, 0)
    return (
        at_most(
            "peak_ram",
            grown,
            ram_limit(profile),
            "B",
            how=_how(report),
            what=f"{held.kind.upper()} grew from {held.baseline_bytes:,} B to"
            f" {held.peak_bytes:,} B, by",
            remedy="prune channels or choose a smaller input",
        ),
    )


def merge_findings(
    kept: Iterable[Finding], report: Verdict, expected: Iterable[str]
) -> Verdict:
    """Return a bundle's own findings with the measured ones in place of older ones.

    Args:
        kept: what the bundle's manifest says.
        expected: every gate its device must be asked; a missing one is inconclusive.
    """
    return complete(Verdict(tuple(kept)).plus(*report.findings), (*expected, *REPORT))
