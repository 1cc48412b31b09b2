"""Whether a device's report proves anything about this bundle on this profile; pure.

First the refusals: hashes, what ran, where it ran, golden answers, heat, enough queries.
Only a report that none of them refuses gives ``latency`` and ``peak_ram``, which then
replace the emulated or estimated findings of the same name (``Verdict.plus``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgepack.bundle.archive import Bundle
from edgepack.device.backends.backend import identity_of
from edgepack.files import sha256
from edgepack.gates import device_latency as bounds
from edgepack.gates import run_quality as steadiness
from edgepack.gates.finding import Finding, How, Outcome, Verdict
from edgepack.gates.limits import at_most
from edgepack.gates.run_quality import finding as _finding
from edgepack.measurements.device_report import Report
from edgepack.profiles.probe_parse import instruction_set
from edgepack.profiles.profile import Profile

#: XNNPACK and builtin kernels were seen up to 4 codes apart on int8 models (docs/android.md).
GOLDEN_LSB = 4
#: Float answers of a delegate that computes in fp16: a policy, as a share of the range.
GOLDEN_FLOAT_SHARE = 0.01
#: The kernel keeps part of RAM for itself, so MemTotal is below what is sold.
_MEMTOTAL_SHARE = (0.60, 1.02)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the caller knows of its own, beside the bundle and the profile.

    Attributes:
        bundle_sha256: of the whole .edgepack file here.
        identity: of the run that was ordered; None takes any run of this bundle.
        backend_sha256: of the APK, binary or folder that was installed; None where unknown.
        golden_lsb: codes that a quantized answer may be off.
    """

    bundle_sha256: str
    identity: str | None = None
    backend_sha256: str | None = None
    golden_lsb: int = GOLDEN_LSB


def judge(report: Report, bundle: Bundle, profile: Profile, expected: Expected) -> Verdict:
    """Return all findings about the report; the measured ones only where nothing refuses it."""
    found = [
        _hashes(report, bundle, expected),
        _ending(report),
        _identity(report, bundle, profile),
        _runtime(report, profile),
        _goldens(report, bundle, expected.golden_lsb),
        steadiness.thermal(report),
        steadiness.enough(report),
    ]
    if not refuses(Verdict(tuple(found))) and report.run is not None:
        found += [
            bounds.latency(report.run, profile, _how(report), where=report.device.model),
            *_memory(report, profile),
        ]
    return Verdict(tuple(found))


def refuses(verdict: Verdict) -> bool:
    """Return whether a gate about the report itself failed, not one about the model."""
    failed = verdict.named(Outcome.FAIL)
    return any(each.gate.startswith("device_") for each in failed)


def _how(report: Report) -> How:
    return How.EMULATED if report.device.emulated else How.MEASURED


def _hashes(report: Report, bundle: Bundle, expected: Expected) -> Finding:
    pairs = (
        ("bundle", report.bundle.sha256, expected.bundle_sha256),
        ("model", report.bundle.model_sha256, sha256(bundle.model)),
        ("run", report.identity, expected.identity),
        ("run than it tells of", report.identity, identity_of(report)),
        (report.backend.name, report.backend.sha256, expected.backend_sha256),
    )
    wrong = [
        f"another {what}: {(got or 'no digest')[:12]} instead of {wanted[:12]}"
        for what, got, wanted in pairs
        if wanted is not None and got != wanted
    ]
    return _finding(
        "device_hashes",
        wrong,
        "bundle, model and back end are the ones that were sent",
        remedy="push the bundle and run again",
    )


def _ending(report: Report) -> Finding:
    if report.ending == "ok":
        return _finding("device_run", [], "ran to its end")
    return _finding("device_run", [f"{report.ending}: {report.says}"], "")


def _identity(report: Report, bundle: Bundle, profile: Profile) -> Finding:
    device, wrong = report.device, []
    isa = instruction_set(device.abi)
    if isa != profile.cpu.isa:
        wrong.append(
            f"ran as {device.abi} ({isa or 'unknown'}), the profile is {profile.cpu.isa}"
        )
    if report.bundle.profile != bundle.manifest.profile:
        wrong.append(f"made for {report.bundle.profile}, not {bundle.manifest.profile}")
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
    return _finding(
        "device_profile",
        wrong,
        f"{device.manufacturer} {device.model}, {device.abi}: matches {profile.name}",
        remedy="choose its profile, or make one with 'edgepack profiles probe --adb'",
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
        told = ", ".join(f"{name} {version}" for name, version in sorted(carried))
        wrong.append(f"ran {ran.name} {ran.version}, the profile carries {told}")
    if run is not None:
        named = {each.name for each in profile.delegates}
        if run.delegate != "cpu" and run.delegate not in named:
            wrong.append(f"{run.delegate} is recorded only: the profile names no such delegate")
        if run.kernels != "default":
            wrong.append(f"{run.kernels} kernels, not what the runtime does on its own")
    if not wrong:
        return _finding("device_runtime", [], f"{ran.name} {ran.version}, as the profile says")
    return Finding(gate="device_runtime", verdict=Outcome.INCONCLUSIVE, says="; ".join(wrong))


def _goldens(report: Report, bundle: Bundle, tolerance: int) -> Finding:
    gate = "device_goldens"
    if report.goldens is None:
        return Finding(
            gate=gate,
            verdict=Outcome.INCONCLUSIVE,
            says=f"{report.backend.name} gave no golden answers; its times are of an unproven"
            " model: run the app or the portable folder too",
        )
    wanted, got = bundle.array("golden/outputs.npy"), report.goldens.array()
    if got.dtype != wanted.dtype or got.shape != wanted.shape:
        says = f"answers of {got.dtype} {got.shape}, wanted {wanted.dtype} {wanted.shape}"
        return Finding(gate=gate, verdict=Outcome.FAIL, says=says)
    if not np.isfinite(got.astype(np.float64)).all():
        return Finding(gate=gate, verdict=Outcome.FAIL, says="answers that are no numbers")
    apart = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
    exact = np.issubdtype(wanted.dtype, np.integer)
    spread = float(np.ptp(wanted)) if wanted.size else 0.0
    limit = float(tolerance) if exact else GOLDEN_FLOAT_SHARE * spread
    worst = float(apart.max()) if apart.size else 0.0
    unit = "codes" if exact else "units"
    return Finding(
        gate=gate,
        verdict=Outcome.PASS if worst <= limit else Outcome.FAIL,
        how=_how(report),
        value=worst,
        limit=limit,
        unit=unit,
        says=f"{len(got)} golden rows: {int((apart > 0).sum())} of {apart.size} values differ"
        f" from the reference kernels, by {worst:g} {unit} at most, {limit:g} allowed",
    )


def _memory(report: Report, profile: Profile) -> tuple[Finding, ...]:
    if report.memory is None or report.device.emulated:  # the emulator's own memory is in it
        return ()
    held = report.memory
    grown = max(held.peak_bytes - held.baseline_bytes, 0)
    budget = profile.ram.budget.value if profile.ram.budget else None
    return (
        at_most(
            "peak_ram",
            grown,
            budget,
            "B",
            how=_how(report),
            what=f"{held.kind.upper()} grew from {held.baseline_bytes:,} B to"
            f" {held.peak_bytes:,} B, by",
            remedy="prune channels or choose a smaller input",
        ),
    )


def merged(bundle: Bundle, report: Verdict) -> Verdict:
    """Return the bundle's verdict with the measured findings in place of older ones."""
    kept = Verdict(bundle.manifest.findings)
    return kept.plus(*report.findings)
