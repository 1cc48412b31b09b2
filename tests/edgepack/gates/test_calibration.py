"""Rows that set the int8 ranges: enough different ones, none tested, halves that agree."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepack.gates.finding import Finding, Outcome
from edgepack.inference.protocol import Ending, Job, Trace
from edgepack.pipeline import calibration
from edgepack.profiles import catalogue
from tests.edgepack.commands import tiny_tflite

TRUTH = np.arange(40) % 2


class Answering:
    """A runtime that gives each half of the calibration its own share of right answers."""

    name = "answering"

    def __init__(self, *wrong: int) -> None:
        self.wrong = list(wrong)

    def run(self, job: Job) -> Trace:
        said = TRUTH.copy()
        said[: self.wrong.pop(0)] ^= 1
        codes = np.zeros((len(said), 2), np.int8)
        codes[np.arange(len(said)), said] = 10
        return Trace(ending=Ending.OK, says="", outputs=codes)


def judged(x: NDArray[Any], runtime: Answering, test: NDArray[Any] | None = None) -> Finding:
    """Return the finding about the training rows ``x``, all of which calibrate."""
    rng = np.random.default_rng(1)
    samples = SimpleNamespace(
        x_train=x,
        x_val=rng.random((len(TRUTH), 8)),
        y_val=TRUTH,
        x_test=rng.random((20, 8)) if test is None else test,
    )
    line: Any = SimpleNamespace(
        samples=samples,
        recipe=SimpleNamespace(int8=SimpleNamespace(calibration_samples=500)),
        training=SimpleNamespace(seed=0, task="classification"),
        int8_halves=lambda: (tiny_tflite(), tiny_tflite()),
    )
    return calibration.judge(line, catalogue.load("pixel-3"), {}, runtime)


def rows(count: int) -> NDArray[Any]:
    return np.random.default_rng(0).random((count, 8))


@pytest.mark.parametrize(
    ("count", "verdict"),
    [(99, Outcome.INCONCLUSIVE), (100, Outcome.PASS), (101, Outcome.PASS)],
)
def test_enough_rows_is_inclusive(count: int, verdict: Outcome) -> None:
    found = judged(rows(count), Answering(0, 0))
    assert (found.verdict, found.value) == (verdict, count)


def test_a_row_that_is_there_twice_counts_once() -> None:
    found = judged(np.repeat(rows(99), 3, axis=0), Answering(0, 0))
    assert found.verdict is Outcome.INCONCLUSIVE
    assert "297 rows" in found.says
    assert "99 different ones" in found.says
    assert "bring more training rows" in found.says


def test_a_tested_row_among_them_fails_with_the_remedy() -> None:
    x = rows(200)
    found = judged(x, Answering(), x[7:8])
    assert found.verdict is Outcome.FAIL
    assert "1 of 200 calibration rows are also test rows; divide the data" in found.says


def test_halves_that_give_another_model_fail() -> None:
    found = judged(rows(200), Answering(0, 20))
    assert found.verdict is Outcome.FAIL
    assert "differs by 0.5000" in found.says
    assert "raise calibration_samples" in found.says
