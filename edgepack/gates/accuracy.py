"""How much worse the device's model is than the float one, on the same samples.

Both models answer the same rows, so what decides is the rows on which they differ:
the paired difference and its interval, not two separate accuracies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.gates import paired_statistics as paired
from edgepack.gates.finding import Finding, How, Outcome
from edgepack.profiles.profile import Accuracy

CLASSIFICATION = "classification"
TASKS = (CLASSIFICATION, "regression", "reconstruction")
BOOTSTRAP_ROUNDS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """The paired comparison of two models on ``samples`` rows.

    Attributes:
        score: ``accuracy`` for classification, else ``r2``, the share of the target's
            variance that is explained.
        float_score, score_now: of the float and of the device's model, with intervals.
        drop: ``float_score - score_now`` and its paired interval.
        p_value: exact McNemar (classification only): how likely so lopsided a split of
            the differing rows is when neither model is better.
        agreement: share of rows with the same top-1 answer (classification only).
        recalls: per class, (hits, rows).
    """

    score: str
    samples: int
    float_score: float
    float_interval: tuple[float, float]
    score_now: float
    score_interval: tuple[float, float]
    drop: float
    drop_interval: tuple[float, float]
    p_value: float | None = None
    agreement: float | None = None
    recalls: tuple[tuple[int, int], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def top1(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the class of each row; one output column is a probability cut at one half."""
    flat = scores.reshape(len(scores), -1)
    if flat.shape[1] == 1:
        return (flat[:, 0] > 0.5).astype(np.int64)
    return np.asarray(flat.argmax(axis=1), dtype=np.int64)


def compare(
    task: str,
    truth: NDArray[Any],
    float_scores: NDArray[Any],
    scores: NDArray[Any],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Fidelity:
    """Return the paired comparison of two models' outputs on the same rows.

    Args:
        task: one of ``TASKS``.
        truth: ``(N,)`` class indices, or ``(N, …)`` targets.
        float_scores, scores: ``(N, …) float`` outputs; dequantised for an int8 model.
    """
    if task == CLASSIFICATION:
        return _classification(truth, float_scores, scores, confidence)
    return _explained(truth, float_scores, scores, confidence, seed)


def _classification(
    truth: NDArray[Any], float_scores: NDArray[Any], scores: NDArray[Any], confidence: float
) -> Fidelity:
    before, after = top1(float_scores), top1(scores)
    right, still = before == truth, after == truth
    lost, won = int((right & ~still).sum()), int((~right & still).sum())
    rows = len(truth)
    classes = max(int(truth.max()) + 1, float_scores.reshape(rows, -1).shape[1], 2)
    return Fidelity(
        score="accuracy",
        samples=rows,
        float_score=float(right.mean()),
        float_interval=paired.wilson(int(right.sum()), rows, confidence),
        score_now=float(still.mean()),
        score_interval=paired.wilson(int(still.sum()), rows, confidence),
        drop=(lost - won) / rows,
        drop_interval=paired.paired_interval(lost, won, rows, confidence),
        p_value=paired.mcnemar(lost, won),
        agreement=float((before == after).mean()),
        recalls=tuple(
            (int(still[truth == label].sum()), int((truth == label).sum()))
            for label in range(classes)
        ),
    )


def _explained(
    truth: NDArray[Any],
    float_scores: NDArray[Any],
    scores: NDArray[Any],
    confidence: float,
    seed: int,
) -> Fidelity:
    """Compare by R², with a paired percentile bootstrap over rows."""
    rows = len(truth)
    target = truth.reshape(rows, -1).astype(np.float64)
    spread = ((target - target.mean(axis=0)) ** 2).sum(axis=1)
    errors = [
        ((out.reshape(rows, -1).astype(np.float64) - target) ** 2).sum(axis=1)
        for out in (float_scores, scores)
    ]
    if not spread.sum() > 0:
        raise ValueError("every target is the same; R² has no meaning on such test data")
    draws = np.random.default_rng(seed).integers(rows, size=(BOOTSTRAP_ROUNDS, rows))
    below = spread[draws].sum(axis=1)
    below[below == 0] = np.nan
    before, after = (1 - error[draws].sum(axis=1) / below for error in errors)

    def bounds(values: NDArray[np.float64]) -> tuple[float, float]:
        low, high = np.nanquantile(values, [0.5 - confidence / 2, 0.5 + confidence / 2])
        return float(low), float(high)

    first, second = (float(1 - error.sum() / spread.sum()) for error in errors)
    return Fidelity(
        score="r2",
        samples=rows,
        float_score=first,
        float_interval=bounds(before),
        score_now=second,
        score_interval=bounds(after),
        drop=first - second,
        drop_interval=bounds(before - after),
    )


def judge(found: Fidelity, asked: Accuracy, labels: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Return the accuracy gates: the drop against its limit, and each class's floor.

    A gate passes when the whole interval is on the good side of the limit, fails when the
    whole interval is on the bad side, and is inconclusive when the samples cannot tell.
    """
    limit = asked.max_drop.value
    low, high = found.drop_interval
    verdict = Outcome.PASS if high <= limit else Outcome.FAIL if low > limit else None
    says = (
        f"{found.score} {found.float_score:.4f} float, {found.score_now:.4f} int8:"
        f" drop {found.drop:+.4f} [{low:+.4f}, {high:+.4f}] of {limit:.4f} allowed,"
        f" {found.samples:,} samples"
    )
    if verdict is None:
        says += "; too few test samples to decide: bring more"
    elif verdict is Outcome.FAIL:
        says += "; a gentler recipe (qat, int8), more training rows or a larger model"
    drop = Finding(
        gate="accuracy_drop",
        verdict=verdict or Outcome.INCONCLUSIVE,
        how=How.EMULATED,
        value=round(found.drop, 6),
        limit=limit,
        unit="share",
        says=says,
    )
    if asked.min_class_recall is None or not found.recalls:
        return (drop,)
    return drop, _floors(found, asked.min_class_recall.value, asked.confidence, labels)


def _floors(found: Fidelity, floor: float, confidence: float, labels: Sequence[str]) -> Finding:
    """Return the finding about the weakest class."""
    under, open_, worst = [], [], 1.0
    for number, (hits, rows) in enumerate(found.recalls):
        name = labels[number] if number < len(labels) else f"class {number}"
        low, high = paired.wilson(hits, rows, confidence)
        share = hits / rows if rows else 0.0
        worst = min(worst, share) if rows else worst
        text = f"{name} {share:.3f} [{low:.3f}, {high:.3f}] of {rows}"
        if rows and high < floor:
            under.append(text)
        elif low < floor:
            open_.append(text if rows else f"{name} has no test sample")
    if under:
        says = f"recall below the floor of {floor:.3f}: {'; '.join(under)}"
        verdict, says = Outcome.FAIL, f"{says}; bring more training rows of these classes"
    elif open_:
        says = f"samples cannot decide on the floor of {floor:.3f}: {'; '.join(open_)}"
        verdict, says = Outcome.INCONCLUSIVE, f"{says}; bring more test rows of these classes"
    else:
        verdict, says = Outcome.PASS, f"every class at or above {floor:.3f}"
    return Finding(
        gate="class_recall",
        verdict=verdict,
        how=How.EMULATED,
        value=round(worst, 6),
        limit=floor,
        unit="share",
        says=says,
    )
