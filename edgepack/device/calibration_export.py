"""A measured report as a calibration point of a profile, and its TOML text; pure."""

from __future__ import annotations

from edgepack.errors import InputError
from edgepack.gates.device import p90_between
from edgepack.gates.finding import Outcome, Verdict
from edgepack.measurements.device_report import Report
from edgepack.profiles.profile import CalibrationPoint
from edgepack.toml_file import document, one_line

#: The gates that must have passed before a number enters a profile.
REQUIRED = ("device_hashes", "device_run", "device_profile", "device_goldens", "device_thermal")


def calibration_point(
    report: Report,
    verdict: Verdict,
    *,
    precision: str = "int8",
    instructions: int | None = None,
) -> CalibrationPoint:
    """Return the run's median latency as a point, its source the report itself.

    Args:
        verdict: of ``judge`` about this very report.
        precision: of the model: ``int8``, ``uint8``, ``float32`` or ``float16``.
        instructions: of one inference as the sandbox counted them; without them the point
            is kept but no estimate can be made from it.

    Raises:
        InputError: the report was refused, or is no measurement of a device's CPU.
    """
    found = {each.gate: each for each in verdict.findings}
    unproven = [g for g in REQUIRED if g not in found or found[g].verdict is not Outcome.PASS]
    queries = found.get("device_queries")
    if queries is None or queries.verdict is Outcome.FAIL:
        unproven.append("device_queries")
    if report.run is None or report.device.emulated or unproven:
        why = ", ".join(unproven) or "it was made under an emulator, or did not run"
        raise InputError(f"no calibration point from {report.device.model}: {why}")
    if report.run.delegate not in {"cpu", "xnnpack"}:
        raise InputError(
            f"no calibration point from {report.device.model}: {report.run.delegate} does not"
            " run the instructions that are counted; take a run on the CPU"
        )
    run, times, ran = report.run, report.run.summary, report.runtime
    model = f"{one_line(report.bundle.name)} ({report.bundle.model_sha256[:12]})"
    middle = times.p50_ms if times.p50_ms is not None else times.mean_ms
    day = report.started_at[:10]
    source = (
        f"measured: {'median' if times.p50_ms is not None else 'mean'} of {run.queries} queries"
        f" by {report.backend.name} on {report.device.fingerprint} on {day}, p90"
        f" {p90_between(run)[1]:.3f} ms, {run.delegate}, bundle {report.bundle.sha256[:12]}"
    )
    return CalibrationPoint.model_validate(
        {
            "model": model,
            "runtime": f"{ran.name} {ran.version}",
            "kernels": "xnnpack" if run.delegate == "xnnpack" else "builtin",
            "precision": precision,
            "threads": run.threads,
            "ms": round(middle, 6),
            "instructions": instructions,
            "source": source,
        }
    )


def as_toml(point: CalibrationPoint) -> str:
    """Return the point as a ``[[calibration]]`` table, to append to a profile's file."""
    return document({}, {"calibration": [point.model_dump(mode="json", exclude_none=True)]})


def proven_instructions(verdict: Verdict) -> int | None:
    """Return the instructions of one inference that the bundle was proven with, or None."""
    for each in verdict.findings:
        if each.gate == "instructions" and each.verdict is Outcome.PASS:
            return None if isinstance(each.value, str | None) else int(each.value)
    return None
