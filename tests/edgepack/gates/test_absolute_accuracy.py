"""A score by itself against a least value: by its interval, each column alone, none dead."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from edgepack.gates import absolute_accuracy
from edgepack.gates.absolute_accuracy import AccuracyScore, judge, judge_rows, measure
from edgepack.gates.accuracy import compare
from edgepack.gates.finding import Outcome
from tests.edgepack.gates.test_accuracy import asked, scores


def score(value: float, low: float, high: float) -> AccuracyScore:
    return AccuracyScore(score="accuracy", samples=100, value=value, interval=(low, high))


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.8, 0.9, Outcome.PASS),
        (0.79, 0.9, Outcome.INCONCLUSIVE),
        (0.7, 0.8, Outcome.INCONCLUSIVE),
        (0.7, 0.79, Outcome.FAIL),
    ],
)
def test_the_whole_interval_decides_and_the_limit_is_inclusive(
    low: float, high: float, wanted: Outcome
) -> None:
    found = judge(score((low + high) / 2, low, high), 0.8)
    assert found.gate == absolute_accuracy.GATE
    assert (found.verdict, found.limit) == (wanted, 0.8)


def test_accuracy_is_the_share_of_right_rows_with_wilsons_interval() -> None:
    truth = np.arange(200) % 2
    given = truth.copy()
    given[:30] = 1 - given[:30]
    found = measure("classification", truth, scores(list(given)))
    wanted = stats.binomtest(170, 200).proportion_ci(0.95, method="wilson")
    assert found.value == pytest.approx(0.85)
    assert found.interval == pytest.approx((wanted.low, wanted.high), abs=1e-9)
    assert found.recalls == ((85, 100), (85, 100))


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_it_is_the_score_that_a_comparison_gives_the_devices_model(task: str) -> None:
    rng = np.random.default_rng(1)
    given = rng.random((300, 3), np.float32)
    truth = rng.integers(0, 3, 300)
    if task != "classification":
        truth = (given + rng.normal(0, 0.3, given.shape) > 0.5).astype(np.float32)
    found = measure(task, truth, given)
    both = compare(task, truth, given, given)
    assert found.score == both.score
    assert found.value == pytest.approx(both.score_now)
    assert found.interval == pytest.approx(both.score_interval)
    assert found.recalls == both.recalls


def test_a_dead_column_fails_where_all_columns_together_would_pass() -> None:
    rng = np.random.default_rng(0)
    truth = np.column_stack([rng.uniform(0, 600, 500), rng.uniform(0, 1, 500)])
    given = truth + rng.normal(0, 5, truth.shape)
    given[:, 1] = 0.5
    found = measure("regression", truth, given.astype(np.float32))
    assert found.interval[0] > 0.9
    finding = judge(found, 0.9, ("position", "confidence"))
    assert finding.verdict is Outcome.FAIL
    assert "confidence is the same on every row" in finding.says


def test_a_column_whose_targets_never_change_is_no_pass() -> None:
    rng = np.random.default_rng(0)
    truth = np.column_stack([rng.uniform(0, 1, 500), np.ones(500)])
    finding = judge(measure("regression", truth, truth.astype(np.float32)), 0.9)
    assert finding.verdict is Outcome.INCONCLUSIVE
    assert "every test target of column 1 is the same" in finding.says


def test_with_nothing_to_hold_it_to_both_options_are_named() -> None:
    truth = np.zeros(100, np.int64)
    alone = measure("classification", truth, scores([0] * 100))
    drop, recall = judge_rows(alone, None, asked(0.01, 0.5), None)
    assert (drop.gate, drop.verdict) == ("accuracy_drop", Outcome.INCONCLUSIVE)
    assert "--float REF.tflite" in drop.says
    assert "--min-accuracy X" in drop.says
    assert recall.gate == "class_recall"


def test_a_reference_and_a_least_accuracy_are_both_asked() -> None:
    truth = np.arange(400) % 2
    given = scores(list(truth))
    both = compare("classification", truth, given, given)
    alone = measure("classification", truth, given)
    found = judge_rows(alone, both, asked(0.02, 0.5), 0.9, kind="uint8", origin="tflite")
    assert [one.gate for one in found] == ["accuracy_drop", "accuracy", "class_recall"]
    assert {one.verdict for one in found} == {Outcome.PASS}
    assert "1.0000 uint8" in found[0].says


def test_what_helps_a_file_from_elsewhere_is_no_recipe() -> None:
    truth = np.arange(400) % 2
    wrong = truth.copy()
    wrong[:200] = 0
    before, after = scores(list(truth)), scores(list(wrong))
    both = compare("classification", truth, before, after)
    alone = measure("classification", truth, after)
    drop, recall = judge_rows(alone, both, asked(0.01, 0.9), None, origin="tflite")
    assert (drop.verdict, recall.verdict) == (Outcome.FAIL, Outcome.FAIL)
    for found in (drop, recall):
        assert "gentler recipe" not in found.says
        assert "quantize it anew from its Keras model" in found.says
