"""The accuracy gates, held against scipy and a direct inversion of the score test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from edgepack.gates import accuracy as fidelity
from edgepack.gates import paired_statistics as paired
from edgepack.gates.finding import Outcome
from edgepack.profiles.profile import Accuracy


def asked(drop: float, floor: float | None = None) -> Accuracy:
    return Accuracy.model_validate(
        {
            "max_drop": {"value": drop, "source": "policy: test"},
            "min_class_recall": None
            if floor is None
            else {"value": floor, "source": "policy: test"},
        }
    )


def scores(classes: list[int], width: int = 2) -> np.ndarray:
    return np.eye(width, dtype=np.float32)[classes]


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_the_binomial_test(lost: int, won: int) -> None:
    if lost + won:
        wanted = stats.binomtest(min(lost, won), lost + won, 0.5).pvalue
        assert paired.mcnemar(lost, won) == pytest.approx(wanted, abs=1e-12)


@given(st.integers(0, 40), st.integers(1, 40))
def test_wilson_equals_scipy(hits: int, extra: int) -> None:
    rows = hits + extra
    wanted = stats.binomtest(hits, rows).proportion_ci(0.95, method="wilson")
    assert paired.wilson(hits, rows) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


def score_statistic(delta: float, lost: int, won: int, rows: int) -> float:
    """The score test of a paired difference, its nuisance parameter by plain search."""

    def loss(q: float) -> float:
        chances = (q + delta, q, 1 - 2 * q - delta)
        counts = (lost, won, rows - lost - won)
        return -sum(n * np.log(max(p, 1e-300)) for n, p in zip(counts, chances, strict=True))

    low, high = max(0.0, -delta), (1 - delta) / 2
    found = optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    )
    return (lost - won - rows * delta) / np.sqrt(rows * (2 * found.x + delta - delta**2))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 15), st.integers(0, 15), st.integers(5, 60))
def test_the_paired_interval_inverts_the_score_test(lost: int, won: int, same: int) -> None:
    rows = lost + won + same
    for edge in paired.paired_interval(lost, won, rows):
        assert abs(score_statistic(edge, lost, won, rows)) == pytest.approx(1.96, abs=0.01)


def test_no_differing_row_is_not_certainty() -> None:
    low, high = paired.paired_interval(0, 0, 50)
    assert low == pytest.approx(-high)
    assert 0.05 < high < 0.10


@pytest.mark.parametrize(
    ("wrong_rows", "rows", "outcome"),
    [(0, 1000, Outcome.PASS), (0, 20, Outcome.INCONCLUSIVE), (300, 1000, Outcome.FAIL)],
)
def test_the_whole_interval_decides(wrong_rows: int, rows: int, outcome: Outcome) -> None:
    truth = np.zeros(rows, np.int64)
    after = [1] * wrong_rows + [0] * (rows - wrong_rows)
    found = fidelity.compare("classification", truth, scores([0] * rows), scores(after))
    finding = fidelity.judge(found, asked(0.02))[0]
    assert finding.verdict is outcome
    assert found.drop == pytest.approx(wrong_rows / rows)


def test_a_weak_class_fails_by_name_though_the_average_passes() -> None:
    truth = np.repeat([0, 1], [950, 50])
    after = [0] * 950 + [0] * 45 + [1] * 5
    found = fidelity.compare("classification", truth, scores(after), scores(after))
    drop, floors = fidelity.judge(found, asked(0.02, 0.5), ("healthy", "parasitized"))
    assert drop.verdict is Outcome.PASS
    assert floors.verdict is Outcome.FAIL
    assert "parasitized 0.100" in floors.says


def test_a_class_without_test_samples_is_inconclusive() -> None:
    truth = np.zeros(2000, np.int64)
    found = fidelity.compare("classification", truth, scores([0] * 2000), scores([0] * 2000))
    floors = fidelity.judge(found, asked(0.02, 0.5))[1]
    assert floors.verdict is Outcome.INCONCLUSIVE
    assert "class 1 has no test sample" in floors.says


def test_one_output_column_is_a_probability() -> None:
    assert fidelity.top1(np.asarray([[0.2], [0.8]])).tolist() == [0, 1]


def test_regression_is_judged_by_explained_variance() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(400, 3))
    near, far = truth + rng.normal(size=truth.shape) * 0.1, truth + 0.5
    found = fidelity.compare("regression", truth, near, far)
    residual = ((far - truth) ** 2).sum() / ((truth - truth.mean(axis=0)) ** 2).sum()
    assert found.score_now == pytest.approx(1 - residual)
    assert fidelity.judge(found, asked(0.02))[0].verdict is Outcome.FAIL


def test_constant_targets_are_refused() -> None:
    flat = np.ones((10, 1))
    with pytest.raises(ValueError, match="every target is the same"):
        fidelity.compare("regression", flat, flat, flat)
