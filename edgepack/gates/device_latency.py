"""The latency finding of a run, also where a tool tells only bounds of the percentile; pure."""

from __future__ import annotations

from edgepack.gates.finding import Finding, How, Outcome
from edgepack.measurements.latency_samples import percentile
from edgepack.measurements.report_model import Run
from edgepack.profiles.profile import Profile


def p90_between(run: Run) -> tuple[float, float]:
    """Return (lowest, highest) value that the run's p90 can have, in ms.

    Equal where the raw times or the p90 itself were told. Otherwise it lies between the
    median (or the minimum) and p95 (or the maximum), and nothing narrower is claimed.
    """
    told = run.summary
    if run.samples_ms:
        exact = percentile(run.samples_ms, 0.9)
        return exact, exact
    if told.p90_ms is not None:
        return told.p90_ms, told.p90_ms
    lowest = told.p50_ms if told.p50_ms is not None else told.min_ms
    highest = told.p95_ms if told.p95_ms is not None else told.max_ms
    return lowest, highest


def latency(run: Run, profile: Profile, how: How, *, where: str) -> Finding:
    """Return the ``latency`` finding; wall time under an emulator is no device latency."""
    gate = "latency"
    limit = profile.latency.p90_ms.value if profile.latency.p90_ms else None
    lowest, highest = p90_between(run)
    path = f"{run.delegate}, {run.threads} thread{'s' if run.threads > 1 else ''}"
    exact = lowest == highest
    number = f"p90 {highest:.3f} ms" if exact else f"p90 in {lowest:.3f} to {highest:.3f} ms"
    says = f"{number} on {where} ({path}, {run.queries:,} queries)"
    if how is not How.MEASURED:
        return Finding(
            gate=gate,
            verdict=Outcome.INCONCLUSIVE,
            says=f"{says}: an emulator's wall time, which is not the device's",
        )
    if limit is None:
        verdict, says = Outcome.INCONCLUSIVE, f"{says}; the profile names no limit"
    elif highest <= limit:
        verdict, says = Outcome.PASS, f"{says} of {limit:g} ms"
    elif lowest > limit:
        verdict = Outcome.FAIL
        says = f"{says}: over {limit:g} ms; prune channels, take a smaller input or model"
    else:
        verdict = Outcome.INCONCLUSIVE
        says = f"{says}, limit {limit:g} ms: only raw times decide; run the app"
    return Finding(
        gate=gate, verdict=verdict, how=how, value=highest, limit=limit, unit="ms", says=says
    )
