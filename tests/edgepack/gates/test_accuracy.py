"""The accuracy gates, held against scipy and a direct inversion of the score test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from edgepack.gates import accuracy, paired_statistics
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
        assert paired_statistics.mcnemar(lost, won) == pytest.approx(wanted, abs=1e-12)


@given(st.integers(0, 40), st.integers(1, 40))
def test_wilson_equals_scipy(hits: int, extra: int) -> None:
    rows = hits + extra
    wanted = stats.binomtest(hits, rows).proportion_ci(0.95, method="wilson")
    assert paired_statistics.wilson(hits, rows) == pytest.approx(
        (wanted.low, wanted.high), abs=1e-9
    )


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
    for edge in paired_statistics.paired_interval(lost, won, rows):
        assert abs(score_statistic(edge, lost, won, rows)) == pytest.approx(1.96, abs=0.01)


def test_no_differing_row_is_not_certainty() -> None:
    low, high = paired_statistics.paired_interval(0, 0, 50)
    assert low == pytest.approx(-high)
    assert 0.05 < high < 0.10


@pytest.mark.parametrize(
    ("wrong_rows", "rows", "outcome"),
    [(0, 1000, Outcome.PASS), (0, 20, Outcome.INCONCLUSIVE), (300, 1000, Outcome.FAIL)],
)
def test_the_whole_interval_decides(wrong_rows: int, rows: int, outcome: Outcome) -> None:
    truth = np.zeros(rows, np.int64)
    after = [1] * wrong_rows + [0] * (rows - wrong_rows)
    found = accuracy.compare("classification", truth, scores([0] * rows), scores(after))
    finding = accuracy.judge(found, asked(0.02))[0]
    assert finding.verdict is outcome
    assert found.drop == pytest.approx(wrong_rows / rows)


def test_a_weak_class_fails_by_name_though_the_average_passes() -> None:
    truth = np.repeat([0, 1], [950, 50])
    after = [0] * 950 + [0] * 45 + [1] * 5
    found = accuracy.compare("classification", truth, scores(after), scores(after))
    drop, floors = accuracy.judge(found, asked(0.02, 0.5), ("healthy", "parasitized"))
    assert drop.verdict is Outcome.PASS
    assert floors.verdict is Outcome.FAIL
    assert "parasitized 0.100" in floors.says


def test_a_class_without_test_samples_is_inconclusive() -> None:
    truth = np.zeros(2000, np.int64)
    found = accuracy.compare("classification", truth, scores([0] * 2000), scores([0] * 2000))
    floors = accuracy.judge(found, asked(0.02, 0.5))[1]
    assert floors.verdict is Outcome.INCONCLUSIVE
    assert "class 1 has no test sample" in floors.says


def test_one_output_column_is_a_probability() -> None:
    assert accuracy.top1(np.asarray([[0.2], [0.8]])).tolist() == [0, 1]


def test_regression_is_judged_by_explained_variance() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(400, 3))
    near, far = truth + rng.normal(size=truth.shape) * 0.1, truth + 0.5
    found = accuracy.compare("regression", truth, near, far)
    residual = ((far - truth) ** 2).sum() / ((truth - truth.mean(axis=0)) ** 2).sum()
    assert found.score_now == pytest.approx(1 - residual)
    assert accuracy.judge(found, asked(0.02))[0].verdict is Outcome.FAIL


def test_constant_targets_are_refused() -> None:
    flat = np.ones((10, 1))
    with pytest.raises(ValueError, match="every target is the same"):
        accuracy.compare("regression", flat, flat, flat)


def heads(*drops: float, rows: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (truth, float, int8) of columns that lose about so much R², of unlike sizes."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(rows, len(drops)))
    lost = rng.normal(size=truth.shape) * np.sqrt(drops)
    sizes = 10.0 ** -np.arange(len(drops))
    near = truth + rng.normal(size=truth.shape) * 0.01
    return truth * sizes, near * sizes, (near + lost) * sizes


def test_a_dead_column_fails_though_the_pooled_score_hides_it() -> None:
    rng = np.random.default_rng(0)
    truth = np.stack([rng.uniform(20, 620, 600), rng.uniform(0, 1, 600)], axis=1)
    dead = truth.copy()
    dead[:, 1] = 0.0
    found = accuracy.compare("regression", truth, truth + 1e-3, dead)
    drop = accuracy.judge(found, asked(0.02), ("x", "score"))[0]
    assert found.drop_interval[1] < 0.02
    assert drop.verdict is Outcome.FAIL
    assert "score is the same on every row in int8" in drop.says
    assert "scale the targets to one range" in drop.says
    column = 1 - ((dead - truth)[:, 1] ** 2).sum() / (600 * truth[:, 1].var())
    assert found.columns[1].score_now == pytest.approx(column)


@pytest.mark.parametrize(
    ("drops", "outcome"),
    [
        ((0.0, 0.0), Outcome.PASS),
        ((0.0, 0.5), Outcome.FAIL),
        ((0.0, 0.02), Outcome.INCONCLUSIVE),
    ],
)
def test_each_column_is_held_to_the_limit(drops: tuple[float, ...], outcome: Outcome) -> None:
    found = accuracy.compare("regression", *heads(*drops))
    assert accuracy.judge(found, asked(0.02))[0].verdict is outcome


def test_a_column_whose_targets_are_the_same_is_inconclusive() -> None:
    truth, near, far = heads(0.0, 0.0)
    truth[:, 1] = 3.0
    found = accuracy.compare("regression", truth, near, far)
    drop = accuracy.judge(found, asked(0.02))[0]
    assert drop.verdict is Outcome.INCONCLUSIVE
    assert "every test target of column 1 is the same" in drop.says


def test_parts_of_a_reconstruction_are_no_columns() -> None:
    truth, near, far = heads(0.0, 0.5)
    assert accuracy.compare("reconstruction", truth, near, far).columns == ()


def test_many_columns_do_not_fail_by_chance() -> None:
    rng = np.random.default_rng(3)
    failed = 0
    for _ in range(20):
        truth = rng.normal(size=(40, 60))
        noisy = [truth + rng.normal(size=truth.shape) for _ in range(2)]
        found = accuracy.compare("regression", truth, *noisy)
        failed += accuracy.judge(found, asked(0.02))[0].verdict is Outcome.FAIL
    assert failed <= 3


def test_resampling_is_the_plain_bootstrap() -> None:
    part = np.random.default_rng(1).random((50, 2))
    draws = np.random.default_rng(5).integers(50, size=(accuracy.BOOTSTRAP_ROUNDS, 50))
    (found,) = accuracy.resampled([part], 5)
    assert np.allclose(found, part[draws].sum(axis=1))


def test_logits_are_cut_at_zero() -> None:
    logits = np.asarray([[-0.2], [0.2], [0.4]])
    truth = np.asarray([0, 1, 1])
    assert accuracy.compare("classification", truth, logits, logits).score_now == 1 / 3
    found = accuracy.compare("classification", truth, logits, logits, threshold=0.0)
    assert (found.score_now, found.recalls) == (1.0, ((1, 1), (2, 2)))


def test_every_label_of_a_row_must_be_right() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (500, 3))
    before = truth * 0.8 + 0.1
    after = before.copy()
    after[:50, 2] = 1 - after[:50, 2]
    found = accuracy.compare("multilabel", truth, before, after)
    assert (found.score, found.float_score, found.score_now) == ("exact_match", 1.0, 0.9)
    assert [column.drop for column in found.columns] == [0.0, 0.0, 0.1]
    hits = int((truth[50:, 2] == 1).sum())
    assert found.recalls[2] == (hits, int(truth[:, 2].sum()))


def test_a_label_that_is_lost_fails_by_name() -> None:
    truth = np.zeros((2000, 2), np.int64)
    truth[:1000, 0] = truth[:100, 1] = 1
    before = truth.astype(np.float64)
    after = before.copy()
    after[:, 1] = 0
    found = accuracy.compare("multilabel", truth, before, after)
    drop, floors = accuracy.judge(found, asked(0.02, 0.5), ("mass", "nodule"))
    assert drop.verdict is floors.verdict is Outcome.FAIL
    assert "nodule 1.0000 float, 0.9500 int8" in drop.says
    assert "nodule 0.000" in floors.says
    assert "compression lost it" in floors.says


def test_a_class_that_the_float_model_misses_is_not_laid_to_compression() -> None:
    truth = np.repeat([0, 1], [900, 100])
    before = [0] * 900 + [0] * 90 + [1] * 10
    found = accuracy.compare("classification", truth, scores(before), scores(before))
    floors = accuracy.judge(found, asked(0.02, 0.5))[1]
    assert floors.verdict is Outcome.FAIL
    assert "class 1 0.100" in floors.says
    assert "float 0.100" in floors.says
    assert "the float model itself is below it, which no recipe mends" in floors.says
    assert "compression" not in floors.says


def test_a_float_model_below_the_floor_is_told_of_only_beyond_doubt() -> None:
    warn = accuracy.float_warning
    assert warn([(90, 100), (10, 100)], asked(0.02)) is None
    assert warn([(90, 100), (4, 9)], asked(0.02, 0.5)) is None
    assert warn([(90, 100), (0, 0)], asked(0.02, 0.5)) is None
    said = warn([(90, 100), (10, 100)], asked(0.02, 0.5), ("a", "b"))
    assert said is not None
    assert "b 0.100 [0.055, 0.174] of 100" in said
