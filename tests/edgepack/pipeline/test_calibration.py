"""What either half of the calibration makes is compared on rows that may choose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.draft import Training
from converters.quantized.int8 import Int8
from edgepack.gates.finding import Finding, Outcome
from edgepack.inference.protocol import ExitStatus, Job, Trace
from edgepack.pipeline import calibration
from edgepack.profiles import catalogue
from tests.edgepack.commands import tiny_tflite


class Answering:
    """A runtime whose second model answers a share of the rows wrongly; rows say the truth.

    It remembers how many rows it was asked.
    """

    name = "answering"

    def __init__(self, wrong: float = 0.0) -> None:
        self.wrong, self.asked = wrong, list[int]()

    def run(self, job: Job) -> Trace:
        said = np.arange(len(job.inputs)) % 2
        if len(self.asked) % 2:
            said[: round(self.wrong * len(said))] ^= 1
        self.asked.append(len(said))
        codes = np.zeros((len(said), 2), np.int8)
        codes[np.arange(len(said)), said] = 10
        return Trace(status=ExitStatus.OK, says="", outputs=codes)


def judged(
    runtime: Answering, *, train: int, val: int, test: NDArray[Any] | None = None
) -> Finding:
    """Return the finding about ``train`` rows, of which up to 100 calibrate."""
    rng = np.random.default_rng(1)
    x = rng.random((train, 8))
    samples = SimpleNamespace(
        x_train=x,
        y_train=np.arange(train) % 2,
        x_val=rng.random((val, 8)),
        y_val=np.arange(val) % 2,
        x_test=rng.random((20, 8)) if test is None else x[test],
    )
    workspace: Any = SimpleNamespace(
        samples=samples,
        training=Training(),
        task="classification",
        decision_threshold=0.5,
        answers=SimpleNamespace(of=lambda asked: asked),
    )
    candidate: Any = SimpleNamespace(
        recipe=SimpleNamespace(int8=Int8(calibration_samples=100)),
        halves=(tiny_tflite(), tiny_tflite()),
    )
    return calibration.judge(workspace, candidate, catalogue.load("pixel-3"), runtime)


def test_enough_validation_rows_ask_no_others() -> None:
    runtime = Answering()
    assert judged(runtime, train=500, val=400).verdict is Outcome.PASS
    assert runtime.asked == [400, 400]


def test_training_rows_decide_where_the_validation_part_cannot() -> None:
    runtime = Answering()
    found = judged(runtime, train=500, val=40)
    assert found.verdict is Outcome.PASS
    assert "540 validation and training rows" in found.says
    assert runtime.asked == [40, 40, 500, 500]


@pytest.mark.parametrize("train", [100, 500])
def test_halves_that_differ_on_every_row_fail_at_once(train: int) -> None:
    runtime = Answering(0.5)
    assert judged(runtime, train=train, val=40).verdict is Outcome.FAIL
    assert len(runtime.asked) == 2


def test_a_tested_row_fails_before_any_model_runs() -> None:
    runtime = Answering()
    found = judged(runtime, train=100, val=40, test=np.array([7]))
    assert found.verdict is Outcome.FAIL
    assert runtime.asked == []
