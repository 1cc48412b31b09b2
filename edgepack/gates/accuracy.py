"""How much worse the device's model is than the float one, on the same samples.

Both models answer the same rows, so what decides is the rows on which they differ:
the paired difference and its interval, not two separate accuracies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgepack.gates import paired_statistics
from edgepack.gates.expected import Origin
from edgepack.gates.finding import Finding, How, Outcome
from edgepack.gates.limits import outcome_at_least, outcome_at_most, range_at_most
from edgepack.profiles.profile import Accuracy

CLASSIFICATION, MULTILABEL = "classification", "multilabel"
REGRESSION, RECONSTRUCTION = "regression", "reconstruction"
TASKS = (CLASSIFICATION, MULTILABEL, REGRESSION, RECONSTRUCTION)
#: Where one output, or each of a multi-label model's, is cut unless its loss says otherwise.
HALF = 0.5
BOOTSTRAP_ROUNDS = 2000
#: More outputs than this are a map or an embedding, which is judged as one.
COLUMNS_AT_MOST = 256
#: A column whose range is less than this share of the widest has under 26 int8 steps of its
#: own: what it loses, it loses to the step that it shares.
_NARROW = 0.1

_Rows = Annotated[int, Field(ge=0, le=2**31)]
# How pydantic reads these from a manifest, which may be hostile.
_FROM_FILE: dict[str, Any] = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnComparison:
    """The paired comparison of one output column: a regressed quantity, or one label.

    Attributes:
        float_score, score_now, drop, drop_interval: as of the whole, R² or the share of
            right answers; None where every target of the column is the same (R² only).
        constant: the device's model answers the same on every row, the float one does not.
        range_share: how far the float model's answers spread, as a share of the column whose
            answers spread most.
    """

    float_score: float | None
    score_now: float | None
    drop: float | None
    drop_interval: tuple[float, float] | None
    constant: bool
    range_share: float

    __pydantic_config__: ClassVar[dict[str, Any]] = _FROM_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyComparison:
    """The paired comparison of two models on ``samples`` rows.

    The one class for it: a bundle's manifest and ``build --json`` hold these very fields.

    Attributes:
        score: ``accuracy`` for classification, ``exact_match`` (rows on which every label is
            right) for multi-label, else ``r2``, the share of the targets' variance that is
            explained, all columns pooled.
        float_score, score_now: of the float and of the device's model, with intervals.
        drop: ``float_score - score_now`` and its paired interval.
        p_value: exact McNemar (not for r2): how likely so lopsided a split of the
            differing rows is when neither model is better.
        agreement: share of rows with the same answer (not for r2).
        recalls: per class or label, (hits, rows that have it).
        float_recalls: the float model's own; empty in bundles of before 2026-12.
        columns: per output column of a regression or label, where there are several.
    """

    score: Literal["accuracy", "exact_match", "r2"]
    samples: _Rows
    float_score: float
    float_interval: tuple[float, float]
    score_now: float
    score_interval: tuple[float, float]
    drop: float
    drop_interval: tuple[float, float]
    p_value: float | None = None
    agreement: float | None = None
    recalls: tuple[tuple[_Rows, _Rows], ...] = ()
    float_recalls: tuple[tuple[_Rows, _Rows], ...] = ()
    columns: tuple[ColumnComparison, ...] = ()

    __pydantic_config__: ClassVar[dict[str, Any]] = _FROM_FILE

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["columns"] = [
            {name: getattr(column, name) for name in column.__dataclass_fields__}
            for column in self.columns
        ]
        return plain


def top1(scores: NDArray[Any], threshold: float = HALF) -> NDArray[np.int64]:
    """Return the class of each row; one output column is class 1 above ``threshold``."""
    flat = scores.reshape(len(scores), -1)
    if flat.shape[1] == 1:
        return (flat[:, 0] > threshold).astype(np.int64)
    return np.asarray(flat.argmax(axis=1), dtype=np.int64)


def compare(
    task: str,
    truth: NDArray[Any],
    float_scores: NDArray[Any],
    scores: NDArray[Any],
    *,
    threshold: float = HALF,
    confidence: float = 0.95,
    seed: int = 0,
) -> AccuracyComparison:
    """Return the paired comparison of two models' outputs on the same rows.

    Args:
        task: one of ``TASKS``.
        truth: ``(N,)`` class indices, ``(N, K)`` labels that are 0 or 1, or ``(N, …)`` targets.
        float_scores, scores: ``(N, …) float`` outputs; dequantised for an int8 model.
        threshold: above which one output means class 1, and a label's that it is there.

    Raises:
        ValueError: every target of a regression is the same.
    """
    if task == CLASSIFICATION:
        return _classification(truth, float_scores, scores, threshold, confidence)
    if task == MULTILABEL:
        return _multilabel(truth, float_scores, scores, threshold, confidence)
    return _explained(task, truth, float_scores, scores, confidence=confidence, seed=seed)


def class_recalls(
    task: str, truth: NDArray[Any], scores: NDArray[Any], threshold: float = HALF
) -> tuple[tuple[int, int], ...]:
    """Return (hits, rows) of each class or label; empty for a task that has none."""
    rows = len(truth)
    flat = scores.reshape(rows, -1)
    if task == MULTILABEL:
        given, said = truth.reshape(rows, -1) > HALF, flat > threshold
        return tuple(
            (int((said[:, k] & given[:, k]).sum()), int(given[:, k].sum()))
            for k in range(flat.shape[1])
        )
    if task != CLASSIFICATION:
        return ()
    right = top1(scores, threshold) == truth
    classes = max(int(truth.max()) + 1, flat.shape[1], 2)
    return tuple(
        (int(right[truth == label].sum()), int((truth == label).sum()))
        for label in range(classes)
    )


def _classification(
    truth: NDArray[Any],
    float_scores: NDArray[Any],
    scores: NDArray[Any],
    threshold: float,
    confidence: float,
) -> AccuracyComparison:
    before, after = top1(float_scores, threshold), top1(scores, threshold)
    return _counted(
        "accuracy",
        before == truth,
        after == truth,
        confidence,
        agreement=float((before == after).mean()),
        recalls=class_recalls(CLASSIFICATION, truth, scores, threshold),
        float_recalls=class_recalls(CLASSIFICATION, truth, float_scores, threshold),
    )


def _multilabel(
    truth: NDArray[Any],
    float_scores: NDArray[Any],
    scores: NDArray[Any],
    threshold: float,
    confidence: float,
) -> AccuracyComparison:
    """Compare rows on which every label is right, and each label by itself."""
    rows = len(truth)
    given = truth.reshape(rows, -1) > HALF
    before, after = (out.reshape(rows, -1) > threshold for out in (float_scores, scores))
    right, still = before == given, after == given
    constant, shares = _spreads(float_scores.reshape(rows, -1), scores.reshape(rows, -1))
    columns = []
    for k in range(given.shape[1]):
        lost, won = _differing(right[:, k], still[:, k])
        columns.append(
            ColumnComparison(
                float_score=float(right[:, k].mean()),
                score_now=float(still[:, k].mean()),
                drop=(lost - won) / rows,
                drop_interval=paired_statistics.paired_interval(lost, won, rows, confidence),
                constant=bool(constant[k]),
                range_share=float(shares[k]),
            )
        )
    return _counted(
        "exact_match",
        right.all(axis=1),
        still.all(axis=1),
        confidence,
        agreement=float((before == after).all(axis=1).mean()),
        recalls=class_recalls(MULTILABEL, truth, scores, threshold),
        float_recalls=class_recalls(MULTILABEL, truth, float_scores, threshold),
        columns=tuple(columns) if len(columns) > 1 else (),
    )


def _differing(right: NDArray[np.bool_], still: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many rows only the float model has right, and only the device's."""
    return int((right & ~still).sum()), int((~right & still).sum())


def _counted(
    score: Literal["accuracy", "exact_match"],
    right: NDArray[np.bool_],
    still: NDArray[np.bool_],
    confidence: float,
    **more: Any,
) -> AccuracyComparison:
    """Return the comparison of two shares of right rows."""
    rows, (lost, won) = len(right), _differing(right, still)
    return AccuracyComparison(
        score=score,
        samples=rows,
        float_score=float(right.mean()),
        float_interval=paired_statistics.wilson(int(right.sum()), rows, confidence),
        score_now=float(still.mean()),
        score_interval=paired_statistics.wilson(int(still.sum()), rows, confidence),
        drop=(lost - won) / rows,
        drop_interval=paired_statistics.paired_interval(lost, won, rows, confidence),
        p_value=paired_statistics.mcnemar(lost, won),
        **more,
    )


def _spreads(
    before: NDArray[Any], after: NDArray[Any]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which columns of ``(N, K)`` outputs died, and how far each float one spreads."""
    wide = np.ptp(before.astype(np.float64), axis=0)
    constant = (np.ptp(after.astype(np.float64), axis=0) == 0) & (wide > 0)
    return constant, wide / (wide.max() or 1.0)


def _explained(
    task: str,
    truth: NDArray[Any],
    float_scores: NDArray[Any],
    scores: NDArray[Any],
    *,
    confidence: float,
    seed: int,
) -> AccuracyComparison:
    """Compare by R², with a paired percentile bootstrap over rows.

    A column is an index of the last axis; what lies on the axes before it is pooled. The
    columns of a reconstruction are parts of one picture or signal, and are pooled too.
    """
    rows = len(truth)
    width = truth.shape[-1] if truth.ndim > 1 else 1
    if task != REGRESSION or width > COLUMNS_AT_MOST:
        width = 1
    target, before, after = (
        each.reshape(rows, -1, width).astype(np.float64)
        for each in (truth, float_scores, scores)
    )
    spread = ((target - target.mean(axis=0)) ** 2).sum(axis=1)  # (N, width)
    errors = [((out - target) ** 2).sum(axis=1) for out in (before, after)]
    if not spread.sum() > 0:
        raise ValueError("every target is the same; R² has no meaning on such test data")
    # Of every column, and last of all of them together.
    parts = [np.column_stack([part, part.sum(axis=1)]) for part in (spread, *errors)]
    below, first, second = resampled(parts, seed)
    below[below == 0] = np.nan
    drawn = (1 - first / below, 1 - second / below)
    totals = [part.sum(axis=0) for part in parts]

    def bounds(values: NDArray[np.float64]) -> tuple[float, float]:
        low, high = np.nanquantile(values, [0.5 - confidence / 2, 0.5 + confidence / 2])
        return float(low), float(high)

    def score(which: int, column: int) -> float:
        return float(1 - totals[which][column] / totals[0][column])

    constant, shares = _spreads(before.reshape(-1, width), after.reshape(-1, width))
    columns = []
    for k in range(width if width > 1 else 0):
        known = totals[0][k] > 0
        columns.append(
            ColumnComparison(
                float_score=score(1, k) if known else None,
                score_now=score(2, k) if known else None,
                drop=score(1, k) - score(2, k) if known else None,
                drop_interval=bounds((drawn[0] - drawn[1])[:, k]) if known else None,
                constant=bool(constant[k]),
                range_share=float(shares[k]),
            )
        )
    return AccuracyComparison(
        score="r2",
        samples=rows,
        float_score=score(1, -1),
        float_interval=bounds(drawn[0][:, -1]),
        score_now=score(2, -1),
        score_interval=bounds(drawn[1][:, -1]),
        drop=score(1, -1) - score(2, -1),
        drop_interval=bounds((drawn[0] - drawn[1])[:, -1]),
        columns=tuple(columns),
    )


def resampled(parts: Sequence[NDArray[np.float64]], seed: int) -> list[NDArray[np.float64]]:
    """Return each ``(N, K)`` array's sums over N rows drawn with replacement, many times.

    The same rows are drawn for all of them. A draw is counted a row at a time, so memory
    does not grow with K.
    """
    rows = len(parts[0])
    draw, chunk = np.random.default_rng(seed), max(1, min(BOOTSTRAP_ROUNDS, 2_000_000 // rows))
    made: list[list[NDArray[np.float64]]] = [[] for _ in parts]
    for begin in range(0, BOOTSTRAP_ROUNDS, chunk):
        rounds = min(chunk, BOOTSTRAP_ROUNDS - begin)
        drawn = draw.integers(rows, size=(rounds, rows))
        drawn += np.arange(rounds)[:, np.newaxis] * rows
        counts = np.bincount(drawn.reshape(-1), minlength=rounds * rows)
        weights = counts.reshape(rounds, rows).astype(np.float64)
        for part, kept in zip(parts, made, strict=True):
            kept.append(weights @ part)
    return [np.concatenate(kept) for kept in made]


#: What helps a model that lost too much, by where it came from.
_LOSSLESS: dict[Origin, str] = {
    "keras": "a gentler recipe (qat, int8), more training rows or a larger model",
    "tflite": "quantize it anew from its Keras model (edgepack build MODEL.keras --data DATA"
    " --profile P), and check that the rows are prepared as those that it was calibrated on",
}


def judge(
    found: AccuracyComparison,
    asked: Accuracy,
    labels: Sequence[str] = (),
    *,
    kind: str = "int8",
    origin: Origin = "keras",
) -> tuple[Finding, ...]:
    """Return the accuracy gates: the drop against its limit, and each class's floor.

    A gate passes when the whole interval is on the good side of the limit, fails when the
    whole interval is on the bad side, and is inconclusive when the samples cannot tell.
    Several output columns are each held to the limit of the drop, and none may be dead.

    Args:
        kind: of the device's model, as in ``Facts.precision``.
        origin: of the device's model, which decides what helps against a drop.
    """
    remedy = _LOSSLESS[origin]
    limit = asked.max_drop.value
    low, high = found.drop_interval
    drop = range_at_most(
        "accuracy_drop",
        low,
        high,
        limit,
        "share",
        how=How.EMULATED,
        says=f"{found.score} {found.float_score:.4f} float, {found.score_now:.4f} {kind} on"
        f" {found.samples:,} samples: drop {found.drop:+.4f} [{low:+.4f}, {high:+.4f}]",
        key="accuracy.max_drop",
        remedy=remedy,
        decide="bring more test samples",
        value=round(found.drop, 6),
    )
    if found.columns:
        drop = _columns(found, asked, labels, drop, (kind, remedy))
    recalls = class_recall(found.recalls, asked, labels, found.float_recalls, origin=origin)
    return (drop,) if recalls is None else (drop, recalls)


def _columns(
    found: AccuracyComparison,
    asked: Accuracy,
    labels: Sequence[str],
    whole: Finding,
    words: tuple[str, str],
) -> Finding:
    """Return ``whole`` with what each column adds to it; ``words`` as of ``judge``.

    Every column must pass at the stated confidence. One fails only at a confidence that
    holds for all columns together (Bonferroni), else of many one would fail by chance.
    """
    kind, gentler = words
    limit, outer = asked.max_drop.value, 0.5 - asked.confidence / 2
    normal = NormalDist()
    wider = normal.inv_cdf(outer / len(found.columns)) / normal.inv_cdf(outer)
    each = "label" if found.score == "exact_match" else "column"
    names = names_of(labels, len(found.columns), each)
    bad, open_, narrow, drops = [], [], False, [found.drop]
    for name, column in zip(names, found.columns, strict=True):
        if column.constant and found.score == "r2":
            text = f"{name} is the same on every row in {kind}"
            if column.score_now is not None:
                text += f" (r2 {column.float_score:.4f} float, {column.score_now:.4f} {kind})"
            bad.append(text)
            narrow |= column.range_share < _NARROW
            drops.append(column.drop or 0.0)
            continue
        if column.drop is None or column.drop_interval is None:
            open_.append(f"every test target of {name} is the same")
            continue
        drops.append(column.drop)
        low, high = column.drop_interval
        text = (
            f"{name} {column.float_score:.4f} float, {column.score_now:.4f} {kind}, drop"
            f" {column.drop:+.4f} [{low:+.4f}, {high:+.4f}]"
        )
        if column.drop - (column.drop - low) * wider > limit:
            bad.append(text)
            narrow |= column.range_share < _NARROW
        elif outcome_at_most(low, high, limit) is not Outcome.PASS:
            open_.append(text)
    if bad:
        verdict, reasons = Outcome.FAIL, bad
        remedy = (
            "the columns share one int8 step, too coarse for a narrow one: scale the targets to"
            " one range and undo it after the model, or build a model for each"
            if narrow
            else gentler
        )
    elif whole.verdict is Outcome.FAIL:
        return whole
    elif open_:
        verdict, reasons = Outcome.INCONCLUSIVE, open_
        remedy = "bring more test samples, in which every column varies"
    elif whole.verdict is Outcome.PASS:
        says = f"{whole.says}, and each of {len(found.columns)} {each}s within it"
        return _with(whole, Outcome.PASS, says, max(drops))
    else:
        return whole
    shown = "; ".join(reasons[:4]) + (
        f"; and {len(reasons) - 4} more" if len(reasons) > 4 else ""
    )
    says = (
        f"{found.score} {found.float_score:.4f} float, {found.score_now:.4f} {kind} on"
        f" {found.samples:,} samples in all, but of {limit:.4f} allowed a {each}: {shown};"
        f" {remedy}"
    )
    return _with(whole, verdict, says, max(drops))


def _with(finding: Finding, verdict: Outcome, says: str, value: float) -> Finding:
    return Finding(
        gate=finding.gate,
        verdict=verdict,
        how=finding.how,
        value=round(value, 6),
        limit=finding.limit,
        unit=finding.unit,
        says=says,
    )


def names_of(labels: Sequence[str], count: int, kind: str) -> list[str]:
    """Return the classes' or columns' names, numbered where they have none."""
    return [labels[n] if n < len(labels) else f"{kind} {n}" for n in range(count)]


def class_recall(
    recalls: Sequence[tuple[int, int]],
    asked: Accuracy,
    labels: Sequence[str] = (),
    float_recalls: Sequence[tuple[int, int]] = (),
    *,
    origin: Origin = "keras",
) -> Finding | None:
    """Return the finding about the weakest class; None without classes or a floor.

    Args:
        recalls: (hits, rows) of each class or label.
        float_recalls: the float model's, where there is one.
        origin: of the device's model, which decides what helps it.
    """
    if asked.min_class_recall is None or not recalls:
        return None
    floor, confidence = asked.min_class_recall.value, asked.confidence
    under, open_, worst, blamed = [], [], 1.0, set()
    names = names_of(labels, len(recalls), "class")
    for number, (name, (hits, rows)) in enumerate(zip(names, recalls, strict=True)):
        low, high = paired_statistics.wilson(hits, rows, confidence)
        share = hits / rows if rows else 0.0
        worst = min(worst, share) if rows else worst
        text = f"{name} {share:.3f} [{low:.3f}, {high:.3f}] of {rows}"
        verdict = outcome_at_least(low, high, floor) if rows else Outcome.INCONCLUSIVE
        if verdict is Outcome.FAIL:
            original = _float_share(float_recalls, number)
            if original is not None:
                text += f", float {original:.3f}"
                blamed.add("float" if original < floor else "int8")
            under.append(text)
        elif verdict is Outcome.INCONCLUSIVE:
            open_.append(text if rows else f"{name} has no test sample")
    if under:
        says = f"recall below the floor of {floor:.3f}: {_listed(under)}"
        verdict, says = Outcome.FAIL, f"{says}; {_recall_remedy(blamed, origin)}"
    elif open_:
        says = f"samples cannot decide on the floor of {floor:.3f}: {_listed(open_)}"
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


def _listed(told: Sequence[str], most: int = 10) -> str:
    """Return what is told of each class, of many the first ones and how many more."""
    more = f"; and {len(told) - most} more" if len(told) > most else ""
    return "; ".join(told[:most]) + more


def _float_share(recalls: Sequence[tuple[int, int]], number: int) -> float | None:
    """Return the float model's recall of a class; None where that is not known."""
    if number >= len(recalls):
        return None
    hits, rows = recalls[number]
    return hits / rows if rows else None


def _recall_remedy(blamed: set[str], origin: Origin) -> str:
    """Return what helps, by whether the float model or the compression misses the floor."""
    said = []
    if "float" in blamed:
        said.append(_TRAIN)
    if "int8" in blamed:
        said.append(f"compression lost it: {_LOSSLESS[origin]}")
    return "; ".join(said) or "train the model further, or with more rows of these classes"


_TRAIN = (
    "the float model itself is below it, which no recipe mends: train that further, or with"
    " more rows of these classes, or set [accuracy.min_class_recall] in a profile of your own"
)


def float_warning(
    recalls: Sequence[tuple[int, int]], asked: Accuracy, labels: Sequence[str] = ()
) -> str | None:
    """Return one line if the float model's own recall of a class is below its floor.

    Asked of the validation part before anything is trained. None where every class may
    reach the floor, or the profile sets none.

    Args:
        recalls: (hits, rows) of each class by the float model, see ``class_recalls``.
    """
    if asked.min_class_recall is None:
        return None
    floor, under = asked.min_class_recall.value, []
    names = names_of(labels, len(recalls), "class")
    for name, (hits, rows) in zip(names, recalls, strict=True):
        low, high = paired_statistics.wilson(hits, rows, asked.confidence)
        if rows and outcome_at_least(low, high, floor) is Outcome.FAIL:
            under.append(f"{name} {hits / rows:.3f} [{low:.3f}, {high:.3f}] of {rows}")
    if not under:
        return None
    return (
        f"recall on the validation part is below the floor of {floor:.3f}:"
        f" {'; '.join(under)}; {_TRAIN}"
    )
