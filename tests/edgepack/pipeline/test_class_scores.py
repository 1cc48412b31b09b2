"""Where one output is cut, and what is said of the float model before anything trains."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from converters.draft import Training
from converters.task import TaskHint
from edgepack.pipeline import build
from edgepack.pipeline.workspace import Workspace
from edgepack.profiles import catalogue


@pytest.mark.parametrize(
    ("task", "output", "threshold"),
    [
        ("classification", (1,), 0.0),
        ("classification", (1, 1), 0.0),
        ("classification", (3,), 0.5),
        ("multilabel", (3,), 0.0),
        ("regression", (1,), 0.5),
    ],
)
def test_only_what_is_cut_has_a_threshold(
    task: str, output: tuple[int, ...], threshold: float
) -> None:
    hint = TaskHint(task="classification", loss="hinge", decision_threshold=0.0)
    source: Any = SimpleNamespace(card=SimpleNamespace(hint=hint, output_shape=output))
    samples: Any = None
    workspace = Workspace(source, samples, Training(task=task))
    assert workspace.decision_threshold == threshold


def said(task: str, recall: float) -> list[str]:
    """Return what is told of a float model that finds so much of class 1 among 200 rows."""
    truth = np.repeat([0, 1], 100)
    scores = np.where(truth == 1, 1.0, -1.0)[:, np.newaxis]
    scores[100 : 100 + round(100 * (1 - recall))] = -1.0

    def float_scores(part: str) -> Any:
        assert part == "val", "the test part answers once, at the end"
        return scores

    workspace: Any = SimpleNamespace(
        task=task,
        decision_threshold=0.0,
        rows=lambda part: (None, truth),
        float_scores=float_scores,
        samples=SimpleNamespace(labels=("healthy", "parasitized")),
    )
    told: list[str] = []
    tools: Any = SimpleNamespace(say=told.append)
    device = catalogue.load("pixel-3")
    assert device.accuracy.min_class_recall is not None
    build._warn_of_float(workspace, (device,), tools)
    return told


def test_a_class_that_the_float_model_misses_is_told_before_training() -> None:
    (line,) = said("classification", 0.1)
    assert line.startswith("warning: pixel-3: recall on the validation part is below")
    assert "parasitized 0.100" in line
    assert "which no recipe mends" in line


@pytest.mark.parametrize(("task", "recall"), [("classification", 0.9), ("regression", 0.1)])
def test_nothing_is_told_of_a_model_that_may_reach_its_floor(task: str, recall: float) -> None:
    assert said(task, recall) == []
