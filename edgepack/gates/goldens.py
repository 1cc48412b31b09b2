"""Whether a device computes what the model was proven with, by three comparisons; pure.

1. Reference kernels of one release are bit-identical on every instruction set: any
   difference is a processor or an emulator that computes something else.
2. Reference kernels of two releases round alike to a few steps (TFLite to 2.14 and LiteRT
   differ in fully-connected layers): more is a runtime that misreads the model.
3. Optimised kernels round elsewhere, and a softmax makes one step of a logit many of a
   probability: they may be off by a stated number of steps and must give the same answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.gates.finding import Finding, How, Outcome
from edgepack.measurements.bench_figures import GoldenFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
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
EXACT = Limits(worst=0.0, mean=0.0, top1_share=1.0)
#: … of a float output: fused multiply-add and exp round otherwise. Seen at most: worst
#: 0.0002, mean 0.00003 (eight models).
EXACT_FLOAT = Limits(worst=0.01, mean=0.001, top1_share=1.0)
#: Another release. Seen at most: worst 7, mean 0.3 (seven models, 2.9.1 to 2.3.0).
RELEASE = Limits(worst=16.0, mean=1.0, top1_share=0.9)
#: Optimised kernels or XNNPACK. Seen at most: worst 50, mean 1.3, top-1 98 %; a runtime that
#: computes garbage: mean 38 to 111, top-1 8 to 19 % (docs/emulation.md).
OPTIMISED = Limits(worst=96.0, mean=8.0, top1_share=0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far outputs are from goldens; see Limits for the unit."""

    rows: int
    values: int
    differing: int
    worst: float
    mean: float
    top1_share: float | None
    agreeing_share: float

    def within(self, limits: Limits) -> bool:
        """Return whether every limit holds, inclusively."""
        return (
            self.worst <= limits.worst
            and self.mean <= limits.mean
            and self.agreeing_share >= limits.top1_share
        )


def difference(got: NDArray[Any], wanted: NDArray[Any], limits: Limits) -> Difference:
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
    return Difference(
        rows=len(wanted),
        values=wanted.size,
        differing=int((apart > 0).sum()),
        worst=float(apart.max(initial=0.0)),
        mean=float(apart.mean()) if apart.size else 0.0,
        top1_share=top1,
        agreeing_share=agreeing,
    )


def judge(
    gate: str, got: NDArray[Any], wanted: NDArray[Any], limits: Limits, where: str
) -> tuple[Finding, GoldenFigures | None]:
    """Return the finding of one comparison and its figures; None of what does not compare.

    Args:
        where: what was compared with what, for the line a person reads.
    """
    try:
        found = difference(got, wanted, limits)
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
            f"{where}: {found.rows} golden rows off by {found.worst:.3g} steps at worst and "
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


def both(one: Finding, other: Finding) -> Finding:
    """Return the finding of two comparisons under one gate: good only if both are.

    A failure weighs more than what is open; two passes say both.
    """
    weight = [Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL]
    worst = max(one, other, key=lambda found: weight.index(found.verdict))
    if worst.verdict is not Outcome.PASS:
        return worst
    return replace(one, says=f"{one.says}; {other.says}")
