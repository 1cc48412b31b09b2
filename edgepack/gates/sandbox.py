"""The sandbox gates: what runs in the stand-in of an application processor mean; pure.

Goldens: whether a device computes what the model was proven with, by three comparisons.

1. Reference kernels of one release are bit-identical on every instruction set: any
   difference is a processor or an emulator that computes something else.
2. Reference kernels of two releases round alike to a few steps (TFLite to 2.14 and LiteRT
   differ in fully-connected layers): more is a runtime that misreads the model.
3. Optimised kernels round elsewhere, and a softmax makes one step of a logit many of a
   probability: they may be off by a stated number of steps and must give the same answers.

Memory: the budget is the model's own: what it adds to an interpreter that is running already,
with all of the runtime's code resident. So that baseline is subtracted from the peak. The
container's hard limit is the budget on top of what Python and the runtime took on their own;
it bites some MiB late, by as much of that as is code the kernel can drop. See docs/adr/0009.

Time: counted instructions, the latency estimated from them, and whether memory grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.cost.latency import Estimate
from edgepack.gates.finding import Finding, How, Outcome, inconclusive
from edgepack.gates.limits import latency_limit, outcome_at_most, range_at_most
from edgepack.inference.protocol import ExitStatus, InstructionCounts, ProcessMemory, Trace
from edgepack.measurements.bench_figures import (
    GoldenFigures,
    InstructionFigures,
    LatencyFigures,
    MemoryFigures,
    Percentiles,
    SoakFigures,
)
from edgepack.profiles.profile import Profile
from edgepack.units import format_bytes

PEAK_RAM = "peak_ram_sandbox"
_MEASURE = "measure on the device (edgepack android run BUNDLE)"
#: MLPerf Inference's single-stream minima (github.com/mlcommons/inference_policies).
FULL_QUERIES, FULL_SECONDS = 1024, 60.0
#: A count may move by this share between builds of the same model.
COUNT_TOLERANCE = 0.001
#: Instructions of Python around a call: between builds, and between two inferences of a run.
_NOISE_BUILDS, _NOISE_RUN = 500, 2000
_GROWTH_BYTES, _GROWTH_SHARE = 256 * 1024, 0.02
_SOAK_SAMPLES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenLimits:
    """How far outputs may be from the goldens, in the output's unit.

    The unit is one step (LSB) for integer outputs, and 1/256 of the largest golden output
    for float ones, so that a float output of an int8 model is judged alike.

    Attributes:
        worst: of any value.
        mean: of all values.
        top1_share: rows that give the golden answer, or where the golden one was in doubt
            (its lead was at most twice ``mean``).
    """

    worst: float
    mean: float
    top1_share: float


#: The same release on another instruction set.
EXACT = GoldenLimits(worst=0.0, mean=0.0, top1_share=1.0)
#: … of a float output: fused multiply-add and exp round otherwise. Seen at most: worst
#: 0.0002, mean 0.00003 (eight models).
EXACT_FLOAT = GoldenLimits(worst=0.01, mean=0.001, top1_share=1.0)
#: Another release. Seen at most: worst 7, mean 0.3 (seven models, 2.9.1 to 2.3.0).
RELEASE = GoldenLimits(worst=16.0, mean=1.0, top1_share=0.9)
#: Optimised kernels or XNNPACK. Seen at most: worst 50, mean 1.3, top-1 98 %; a runtime that
#: computes garbage: mean 38 to 111, top-1 8 to 19 % (docs/emulation.md).
OPTIMISED = GoldenLimits(worst=96.0, mean=8.0, top1_share=0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenDifference:
    """How far outputs are from goldens; see GoldenLimits for the unit."""

    rows: int
    values: int
    differing: int
    worst: float
    mean: float
    top1_share: float | None
    agreeing_share: float

    def within(self, limits: GoldenLimits) -> bool:
        """Return whether every limit holds, inclusively."""
        return (
            self.worst <= limits.worst
            and self.mean <= limits.mean
            and self.agreeing_share >= limits.top1_share
        )


def golden_difference(
    got: NDArray[Any], wanted: NDArray[Any], limits: GoldenLimits
) -> GoldenDifference:
    """Return how far ``got`` is from ``wanted``, both ``(N, *output_shape)``.

    Raises:
        ValueError: shapes or dtypes differ.
    """
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        raise ValueError(
            f"wanted outputs {wanted.shape} {wanted.dtype}. Received: {got.shape} {got.dtype}"
        )
    ours, theirs = got.astype(np.float64), wanted.astype(np.float64)
    if np.issubdtype(wanted.dtype, np.floating):
        unit = float(np.max(np.abs(theirs), initial=0.0)) / 256 or 1.0
        ours, theirs = ours / unit, theirs / unit
    with np.errstate(invalid="ignore"):
        apart = np.abs(ours - theirs)
    apart = np.where(np.isnan(apart) & ~(np.isnan(ours) & np.isnan(theirs)), np.inf, apart)
    apart = np.nan_to_num(apart, nan=0.0, posinf=np.inf)
    top1, agreeing = None, 1.0
    if wanted.ndim == 2 and wanted.shape[1] > 1:
        row, mine, right = np.arange(len(ours)), ours.argmax(axis=1), theirs.argmax(axis=1)
        same = mine == right
        in_doubt = theirs[row, right] - theirs[row, mine] <= 2 * limits.mean
        top1, agreeing = float(same.mean()), float((same | in_doubt).mean())
    return GoldenDifference(
        rows=len(wanted),
        values=wanted.size,
        differing=int((apart > 0).sum()),
        worst=float(apart.max(initial=0.0)),
        mean=float(apart.mean()) if apart.size else 0.0,
        top1_share=top1,
        agreeing_share=agreeing,
    )


def goldens(
    gate: str, got: NDArray[Any], wanted: NDArray[Any], limits: GoldenLimits, where: str
) -> tuple[Finding, GoldenFigures | None]:
    """Return the finding of one comparison and its figures; None of what does not compare.

    Args:
        where: what was compared with what, for the line a person reads.
    """
    try:
        found = golden_difference(got, wanted, limits)
    except ValueError as error:
        says = f"{where}: {error}"
        return Finding(gate=gate, verdict=Outcome.FAIL, how=How.EMULATED, says=says), None
    good = found.within(limits)
    if found.differing == 0:
        says = f"{where}: {found.rows} golden rows bit for bit"
    else:
        alike = (
            f", top-1 equal in {found.top1_share:.1%}" if found.top1_share is not None else ""
        )
        says = (
            f"{where}: {found.rows} golden rows off by {found.worst:.3g} "
            f"step{'' if found.worst == 1 else 's'} at worst and "
            f"{found.mean:.3g} on average{alike} (allowed {limits.worst:g} and {limits.mean:g})"
        )
    if not good:
        says += "; this is another model than was proven: convert for the device's runtime"
    finite = bool(np.isfinite(found.worst))
    worst: float | str = round(found.worst, 4) if finite else "not a number"
    finding = Finding(
        gate=gate,
        verdict=Outcome.PASS if good else Outcome.FAIL,
        how=How.EMULATED,
        value=worst,
        limit=limits.worst,
        unit="LSB",
        says=says,
    )
    figures = GoldenFigures(
        rows=found.rows,
        differing_values=found.differing,
        values=found.values,
        worst=worst,
        mean=round(found.mean, 4) if finite else None,
        top1_share=found.top1_share,
        agreeing_share=found.agreeing_share,
    )
    return finding, figures


def worse_of(one: Finding, other: Finding) -> Finding:
    """Return the finding of two comparisons under one gate: good only if both are.

    A failure weighs more than what is open; two passes say both.
    """
    weight = [Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL]
    worst = max(one, other, key=lambda found: weight.index(found.verdict))
    if worst.verdict is not Outcome.PASS:
        return worst
    return replace(one, says=f"{one.says}; {other.says}")


def need_bytes(trace: Trace) -> int:
    """Return what the model added to the process at its peak.

    Raises:
        ValueError: the run did not end well, so it has no peak.
    """
    memory = _memory(trace)
    return max(memory.peak_rss_bytes - memory.baseline_rss_bytes, 0)


def limit_bytes(free: Trace, budget_bytes: int) -> int:
    """Return the container limit: the budget, and what was resident after the imports.

    Room for the worker's copies of the outputs comes on top: it fetches, keeps and writes
    them while the model is still there, and they are in no need.

    Without the code pages the limit would be exact, but a run whose libraries are not in the
    page cache yet then reads them from disk over and over (seen: 45 to 120 s).

    Raises:
        ValueError: the run did not end well, so it has no baseline.
    """
    memory = _memory(free)
    imported = memory.imported_rss_bytes
    copies = 3 * sum(array.nbytes for array in (free.outputs, *free.more_outputs)
                     if array is not None)  # fmt: skip
    base = memory.baseline_rss_bytes if imported is None else imported
    return base + budget_bytes + copies


def _memory(trace: Trace) -> ProcessMemory:
    if trace.memory is None:
        raise ValueError(f"a run that ended as {trace.status.value} has no memory figures")
    return trace.memory


def peak_ram(
    budget_bytes: int, *, free: Trace, canary: Trace, limited: Trace, where: str
) -> tuple[Finding, MemoryFigures]:
    """Return the finding and its figures.

    Args:
        free: without a memory limit; gives the need.
        canary: a control process that allocates more than the limit: if it is not OOM-killed,
            this engine enforces no limit.
        limited: the model under the limit.
        where: image and processor, for the line a person reads.
    """
    figures = MemoryFigures(
        budget_bytes=budget_bytes,
        canary=canary.status,
        free=free.status,
        limited=limited.status,
    )
    if free.status is not ExitStatus.OK:
        return unfinished(free, f"{where}, no memory limit"), figures
    need, limit = need_bytes(free), limit_bytes(free, budget_bytes)
    memory = _memory(free)
    figures = figures.model_copy(
        update={
            "need_bytes": need,
            "baseline_bytes": memory.baseline_rss_bytes,
            "limit_bytes": limit,
            "code_was_charged": not memory.code_is_resident,
            "anon_bytes": memory.anon_bytes - memory.baseline_anon_bytes,
        }
    )
    text = f"needs {format_bytes(need)} of {format_bytes(budget_bytes)} on {where}"
    if canary.status is not ExitStatus.OOM:
        says = (
            f"{text}, but the limit is not proven: a control process above it ended as "
            f"{canary.status.value}; this engine does not enforce memory limits"
        )
        return _need(Outcome.INCONCLUSIVE, says, need, budget_bytes), figures
    if limited.status is not ExitStatus.OK:
        under = f"{where} with {format_bytes(budget_bytes)} on top of the interpreter"
        finding = unfinished(limited, under)
        return _need(finding.verdict, finding.says, need, budget_bytes), figures
    if outcome_at_most(need, need, budget_bytes) is Outcome.FAIL:
        remedy = "smaller input or fewer channels in the largest layers"
        text += f": over by {format_bytes(need - budget_bytes)}; {remedy}"
        return _need(Outcome.FAIL, text, need, budget_bytes), figures
    says = f"{text}; ran under that limit; a control process above it was OOM-killed"
    return _need(Outcome.PASS, says, need, budget_bytes), figures


def unfinished(trace: Trace, where: str, gate: str = PEAK_RAM) -> Finding:
    """Return the finding of a run that did not end well: each exit status has its own word.

    A timeout is inconclusive, no failure: the machine may be busy or the emulator slow.
    """
    word = {
        ExitStatus.OOM: "out of memory",
        ExitStatus.CRASH: "crash",
        ExitStatus.TIMEOUT: "timeout",
        ExitStatus.ERROR: "error",
    }[trace.status]
    busy = trace.status is ExitStatus.TIMEOUT
    return Finding(
        gate=gate,
        verdict=Outcome.INCONCLUSIVE if busy else Outcome.FAIL,
        how=How.EMULATED,
        value=trace.status.value,
        says=f"{word} on {where}: {trace.says}",
    )


def _need(verdict: Outcome, says: str, need: int, budget: int) -> Finding:
    return Finding(
        gate=PEAK_RAM,
        verdict=verdict,
        how=How.EMULATED,
        value=need,
        limit=budget,
        unit="B",
        says=says,
    )


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
        says = why_not or f"no published point and no clock of this core; {_MEASURE}"
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
        says=f"{found.low_ms:.3g} to {found.high_ms:.3g} ms ({found.grounds})",
        decide=_MEASURE,
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
    text = f"{total:,} instructions an inference on {where}"
    limit: float | None = None
    if expected is not None:
        apart = abs(total - expected) / max(expected, 1)
        limit = expected
        good = apart <= COUNT_TOLERANCE or abs(total - expected) <= _NOISE_BUILDS
        says = f"{text}, {apart:.3%} from the {expected:,} it was built with"
        verdict = Outcome.PASS if good else Outcome.FAIL
    else:
        apart = abs(each[-1] - each[-2]) / max(total, 1) if len(each) > 1 else 1.0
        good = apart <= COUNT_TOLERANCE or apart * total <= _NOISE_RUN
        says = text if good else f"{text}, but the one before took {each[-2:][0]:,}"
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
        says = f"{len(samples)} samples of memory are too few for a soak;"
        return inconclusive("soak", f"{says} run it for more minutes"), None
    rss = np.asarray(samples, np.float64)[:, 1]
    quarter = len(rss) // 4
    settled = float(np.median(rss[quarter : 2 * quarter]))
    final = float(np.median(rss[-quarter:]))
    grown = final - settled
    allowed = max(_GROWTH_BYTES, _GROWTH_SHARE * settled)
    verdict = outcome_at_most(grown, grown, allowed)
    says = f"memory {'grew by ' + format_bytes(grown) if grown > 0 else 'did not grow'} in "
    says += f"{minutes:g} minutes"
    if verdict is Outcome.FAIL:
        says += ": a leak, or a cache without an end"
    finding = Finding(
        gate="soak",
        verdict=verdict,
        how=How.EMULATED,
        value=round(grown),
        limit=round(allowed),
        unit="B",
        says=says,
    )
    return finding, SoakFigures(settled_bytes=round(settled), final_bytes=round(final))
