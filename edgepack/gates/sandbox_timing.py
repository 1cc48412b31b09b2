"""What times and counts say: percentiles, the latency budget, instructions, a soak; pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgepack.cost.latency import Estimate
from edgepack.gates.finding import Finding, How, Outcome
from edgepack.gates.limits import latency_limit, range_at_most
from edgepack.inference.protocol import InstructionCounts
from edgepack.measurements.bench_figures import (
    InstructionFigures,
    LatencyFigures,
    Percentiles,
    SoakFigures,
)
from edgepack.profiles.profile import Profile
from edgepack.units import format_bytes

#: MLPerf Inference's single-stream minima (github.com/mlcommons/inference_policies).
FULL_QUERIES, FULL_SECONDS = 1024, 60.0
#: A count may move by this share between builds of the same model.
COUNT_TOLERANCE = 0.001
#: Instructions of Python around a call: between builds, and between two inferences of a run.
_NOISE_BUILDS, _NOISE_RUN = 500, 2000
_GROWTH_BYTES, _GROWTH_SHARE = 256 * 1024, 0.02
_SOAK_SAMPLES = 16


def percentiles(times_ms: Sequence[float]) -> Percentiles | None:
    """Return p50, p90 and p99 in milliseconds; None for no times."""
    if not times_ms:
        return None
    found = np.percentile(np.asarray(times_ms), [50, 90, 99], method="higher")
    p50, p90, p99 = (round(float(ms), 4) for ms in found)
    return Percentiles(p50=p50, p90=p90, p99=p99)


def latency(
    profile: Profile, found: Estimate | None, why_not: str = ""
) -> tuple[Finding, LatencyFigures | None]:
    """Return the finding of the latency budget and its figures.

    The whole range decides: below the budget it passes, above it fails, across it is open.
    """
    limit = latency_limit(profile)
    if found is None:
        says = why_not or "no published point and no clock of this core; measure on the device"
        finding = Finding(
            gate="latency",
            verdict=Outcome.INCONCLUSIVE,
            limit=limit.value,
            unit="ms",
            says=says,
        )
        return finding, None
    figures = LatencyFigures(
        low_ms=round(found.low_ms, 3),
        high_ms=round(found.high_ms, 3),
        how=How.ESTIMATED.value,
        level=found.level,
        grounds=found.grounds,
    )
    finding = range_at_most(
        "latency",
        found.low_ms,
        found.high_ms,
        limit,
        "ms",
        how=How.ESTIMATED,
        says=f"estimated {found.low_ms:.3g} to {found.high_ms:.3g} ms ({found.grounds})",
        decide="measure on the device",
        value=figures.high_ms,
    )
    return finding, figures


def instructions(
    counts: InstructionCounts, expected: int | None, where: str
) -> tuple[Finding, InstructionFigures]:
    """Return the finding of the instruction count and its figures.

    Without an expected count the gate asks that the count is steady: the last two
    inferences agree to COUNT_TOLERANCE.
    """
    total, each = counts.total, counts.each
    told = f"{total:,} instructions an inference on {where}"
    limit: float | None = None
    if expected is not None:
        apart = abs(total - expected) / max(expected, 1)
        limit = expected
        good = apart <= COUNT_TOLERANCE or abs(total - expected) <= _NOISE_BUILDS
        says = f"{told}, {apart:.3%} from the {expected:,} it was built with"
        verdict = Outcome.PASS if good else Outcome.FAIL
    else:
        apart = abs(each[-1] - each[-2]) / max(total, 1) if len(each) > 1 else 1.0
        good = apart <= COUNT_TOLERANCE or apart * total <= _NOISE_RUN
        says = told if good else f"{told}, but the one before took {each[-2:][0]:,}"
        verdict = Outcome.PASS if good else Outcome.INCONCLUSIVE
    finding = Finding(
        gate="instructions",
        verdict=verdict,
        how=How.EMULATED,
        value=total,
        limit=limit,
        unit="instructions",
        says=says,
    )
    return finding, InstructionFigures.of(counts)


def soak(
    samples: Sequence[tuple[float, float]], minutes: float
) -> tuple[Finding, SoakFigures | None]:
    """Return the finding of a long run: memory at its end is what it was after settling.

    Args:
        samples: (seconds, RssAnon bytes) over the run, in order.

    The median of the last quarter is compared with that of the second: the first quarter
    may still be settling. Growth beyond 256 KiB and 2 % fails.
    """
    if len(samples) < _SOAK_SAMPLES:
        says = f"{len(samples)} samples of memory are too few for a soak"
        return Finding(gate="soak", verdict=Outcome.INCONCLUSIVE, says=says), None
    rss = np.asarray(samples, np.float64)[:, 1]
    quarter = len(rss) // 4
    settled = float(np.median(rss[quarter : 2 * quarter]))
    final = float(np.median(rss[-quarter:]))
    grown = final - settled
    allowed = max(_GROWTH_BYTES, _GROWTH_SHARE * settled)
    good = grown <= allowed
    says = f"memory {'grew by ' + format_bytes(grown) if grown > 0 else 'did not grow'} in "
    says += f"{minutes:g} minutes" + ("" if good else ": a leak, or a cache without an end")
    finding = Finding(
        gate="soak",
        verdict=Outcome.PASS if good else Outcome.FAIL,
        how=How.EMULATED,
        value=round(grown),
        limit=round(allowed),
        unit="B",
        says=says,
    )
    return finding, SoakFigures(settled_bytes=round(settled), final_bytes=round(final))
