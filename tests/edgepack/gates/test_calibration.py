"""Rows that set the int8 ranges: enough different ones, none tested, halves that agree."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.gates import calibration
from edgepack.gates.accuracy import AccuracyComparison, compare
from edgepack.gates.calibration import CalibrationRows
from edgepack.gates.finding import Finding, Outcome


def halves(rows: int, lost: int = 0, won: int = 0) -> AccuracyComparison:
    """Two models that differ on ``lost`` rows one way and on ``won`` rows the other way."""
    truth = np.zeros(rows, np.int64)
    first, second = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    second[:lost] = 1
    first[lost : lost + won] = 1
    eye = np.eye(2, dtype=np.float32)
    return compare("classification", truth, eye[first], eye[second])


def judged(
    found: AccuracyComparison, different: int = 200, drawn: int = 200, tested: int = 0
) -> Finding:
    rows = CalibrationRows(drawn=drawn, different=different, tested=tested)
    return calibration.judge(rows, found, 0.02, "validation")


@pytest.mark.parametrize(
    ("count", "verdict"),
    [(99, Outcome.INCONCLUSIVE), (100, Outcome.PASS), (101, Outcome.PASS)],
)
def test_enough_rows_is_inclusive(count: int, verdict: Outcome) -> None:
    found = judged(halves(1000), different=count)
    assert (found.verdict, found.value) == (verdict, count)


def test_a_row_that_is_there_twice_counts_once() -> None:
    found = judged(halves(1000), different=99, drawn=297)
    assert found.verdict is Outcome.INCONCLUSIVE
    assert "297 rows" in found.says
    assert "99 different ones" in found.says
    assert "bring more training rows" in found.says


def test_a_tested_row_among_them_fails_with_the_remedy() -> None:
    found = judged(halves(1000), tested=1)
    assert found.verdict is Outcome.FAIL
    assert "1 of 200 calibration rows are also test rows; divide the data" in found.says


@pytest.mark.parametrize(("lost", "won"), [(20, 0), (0, 20)])
def test_halves_that_give_another_model_fail_whichever_is_better(lost: int, won: int) -> None:
    found = judged(halves(40, lost, won))
    assert found.verdict is Outcome.FAIL
    assert "differs by 0.5000" in found.says
    assert "raise calibration_samples" in found.says


@pytest.mark.parametrize(("rows", "differing"), [(37, 3), (75, 2)])
def test_a_difference_that_the_rows_cannot_tell_from_zero_never_fails(
    rows: int, differing: int
) -> None:
    found = judged(halves(rows, differing))
    assert differing / rows > 0.02
    assert found.verdict is Outcome.INCONCLUSIVE
    assert "too few to decide" in found.says


def test_no_difference_in_few_rows_is_no_pass() -> None:
    assert judged(halves(40)).verdict is Outcome.INCONCLUSIVE
    assert judged(halves(400)).verdict is Outcome.PASS


def test_a_difference_beyond_doubt_but_within_the_limit_passes() -> None:
    found = halves(20000, 200, 60)
    assert found.drop_interval[0] > 0
    assert judged(found).verdict is Outcome.PASS
