"""How good a model is by itself, where there is no float model to compare it with.

Its score on the test rows, with an interval, against a limit that the user names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgepack.gates import paired_statistics
from edgepack.gates.accuracy import (
    CLASSIFICATION,
    COLUMNS_AT_MOST,
    HALF,
    MULTILABEL,
    REGRESSION,
    AccuracyComparison,
    class_recall,
    class_recalls,
    names_of,
    resampled,
    top1,
)
from edgepack.gates.accuracy import judge as compare_gates
from edgepack.gates.expected import Origin
from edgepack.gates.finding import Finding, How, Outcome, inconclusive
from edgepack.gates.limits import outcome_at_least
from edgepack.profiles.profile import Accuracy

GATE = "accuracy"

_Rows = Annotated[int, Field(ge=0, le=2**31)]
# How pydantic reads these from a manifest, which may be hostile.
_FROM_FILE: dict[str, Any] = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnScore:
    """The R² of one of several regressed columns.

    Attributes:
        value, interval: None where every target of the column is the same.
        constant: the model answers the same on every row, and the targets do not.
    """

    value: float | None
    interval: tuple[float, float] | None
    constant: bool

    __pydantic_config__: ClassVar[dict[str, Any]] = _FROM_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyScore:
    """A model's score on ``samples`` rows.

    Attributes:
        score: ``accuracy``, ``exact_match`` or ``r2``, as of an ``AccuracyComparison``.
        value, interval: of the score.
        recalls: per class or label, (hits, rows that have it).
        columns: of a regression with several.
    """

    score: Literal["accuracy", "exact_match", "r2"]
    samples: _Rows
    value: float
    interval: tuple[float, float]
    recalls: tuple[tuple[_Rows, _Rows], ...] = ()
    columns: tuple[ColumnScore, ...] = ()

    __pydantic_config__: ClassVar[dict[str, Any]] = _FROM_FILE

    def as_json(self) -> dict[str, Any]:
        """Return the score as plain JSON values."""
        return {
            "score": self.score,
            "samples": self.samples,
            "value": self.value,
            "interval": list(self.interval),
            "recalls": [list(pair) for pair in self.recalls],
            "columns": [
                {"value": c.value, "interval": c.interval, "constant": c.constant}
                for c in self.columns
            ],
        }


def measure(
    task: str,
    truth: NDArray[Any],
    scores: NDArray[Any],
    *,
    threshold: float = HALF,
    confidence: float = 0.95,
    seed: int = 0,
) -> AccuracyScore:
    """Return a model's score: Wilson intervals of shares, a percentile bootstrap of R².

    Args:
        task, truth, threshold: as of ``accuracy.compare``.
        scores: ``(N, …) float`` outputs, dequantised.

    Raises:
        ValueError: every target of a regression is the same.
    """
    rows = len(truth)
    if task in (CLASSIFICATION, MULTILABEL):
        if task == CLASSIFICATION:
            right = top1(scores, threshold) == truth
        else:
            labelled = truth.reshape(rows, -1) > HALF
            right = ((scores.reshape(rows, -1) > threshold) == labelled).all(axis=1)
        return AccuracyScore(
            score="accuracy" if task == CLASSIFICATION else "exact_match",
            samples=rows,
            value=float(right.mean()),
            interval=paired_statistics.wilson(int(right.sum()), rows, confidence),
            recalls=class_recalls(task, truth, scores, threshold),
        )
    width = truth.shape[-1] if truth.ndim > 1 else 1
    if task != REGRESSION or width > COLUMNS_AT_MOST:
        width = 1
    target, given = (
        each.reshape(rows, -1, width).astype(np.float64) for each in (truth, scores)
    )
    spread = ((target - target.mean(axis=0)) ** 2).sum(axis=1)  # (N, width)
    error = ((given - target) ** 2).sum(axis=1)
    if not spread.sum() > 0:
        raise ValueError("every target is the same; R² has no meaning on such test data")
    # Of every column, and last of all of them together.
    parts = [np.column_stack([part, part.sum(axis=1)]) for part in (spread, error)]
    below, above = resampled(parts, seed)
    below[below == 0] = np.nan
    drawn, (of, lost) = 1 - above / below, (part.sum(axis=0) for part in parts)

    def bounds(column: int) -> tuple[float, float]:
        edges = [0.5 - confidence / 2, 0.5 + confidence / 2]
        low, high = np.nanquantile(drawn[:, column], edges)
        return float(low), float(high)

    flat = given.reshape(-1, width)
    columns = tuple(
        ColumnScore(
            value=float(1 - lost[k] / of[k]) if of[k] > 0 else None,
            interval=bounds(k) if of[k] > 0 else None,
            constant=bool(np.ptp(flat[:, k]) == 0 and of[k] > 0),
        )
        for k in range(width if width > 1 else 0)
    )
    return AccuracyScore(
        score="r2",
        samples=rows,
        value=float(1 - lost[-1] / of[-1]),
        interval=bounds(-1),
        columns=columns,
    )


def judge(found: AccuracyScore, floor: float, labels: Sequence[str] = ()) -> Finding:
    """Return gate ``accuracy``: the whole interval of the score must reach ``floor``.

    Several regressed columns are each held to it, and none may be dead.
    """
    low, high = found.interval
    verdict = outcome_at_least(low, high, floor)
    says = (
        f"{found.score} {found.value:.4f} [{low:.4f}, {high:.4f}] on {found.samples:,} samples,"
        f" of at least {floor:.4f} asked for"
    )
    under, undecided = [], []
    names = names_of(labels, len(found.columns), "column")
    for name, column in zip(names, found.columns, strict=True):
        if column.value is None or column.interval is None:
            undecided.append(f"every test target of {name} is the same")
            continue
        text = f"{name} {column.value:.4f} [{column.interval[0]:.4f}, {column.interval[1]:.4f}]"
        if column.constant:
            under.append(f"{name} is the same on every row (r2 {column.value:.4f})")
            continue
        reached = outcome_at_least(*column.interval, floor)
        if reached is Outcome.FAIL:
            under.append(text)
        elif reached is Outcome.INCONCLUSIVE:
            undecided.append(text)
    if verdict is Outcome.FAIL or under:
        verdict = Outcome.FAIL
        says += f": {'; '.join(under[:4])}" if under else f": short by {floor - high:.4f}"
        says += (
            "; train the model further, or check that the rows are prepared as it was trained"
        )
    elif verdict is Outcome.INCONCLUSIVE or undecided:
        verdict = Outcome.INCONCLUSIVE
        says += f": {'; '.join(undecided[:4])}" if undecided else ", which lies within"
        says += "; bring more test samples"
    worst = min([found.value, *(c.value for c in found.columns if c.value is not None)])
    return Finding(
        gate=GATE,
        verdict=verdict,
        how=How.EMULATED,
        value=round(worst, 6),
        limit=floor,
        unit="share",
        says=says,
    )


def judge_rows(
    score: AccuracyScore,
    comparison: AccuracyComparison | None,
    asked: Accuracy,
    floor: float | None,
    *,
    labels: Sequence[str] = (),
    kind: str = "int8",
    origin: Origin = "keras",
) -> tuple[Finding, ...]:
    """Return every finding that test rows answer: drop, least accuracy, recall of each class.

    Without a float model there is no drop to tell. Without a least accuracy either, nothing
    says how good is good enough.

    Args:
        comparison: with the float model, where there is one.
        floor: the least score that the user asks for, where there is one.
        kind, origin: as of ``accuracy.judge``.
    """
    found: list[Finding] = []
    if comparison is not None:
        found += compare_gates(comparison, asked, labels, kind=kind, origin=origin)
    else:
        if floor is None:
            says = (
                f"{score.score} {score.value:.4f} [{score.interval[0]:.4f},"
                f" {score.interval[1]:.4f}] on {score.samples:,} samples, with nothing to hold"
                " it to; edgepack bundle MODEL.tflite --data DATA --profile P --float"
                " REF.tflite compares it with its float model, and --min-accuracy X asks for a"
                " least value"
            )
            found.append(inconclusive("accuracy_drop", says))
        recalls = class_recall(score.recalls, asked, labels, origin=origin)
        found += [] if recalls is None else [recalls]
    if floor is not None:
        found.insert(1 if comparison is not None else 0, judge(score, floor, labels))
    return tuple(found)
