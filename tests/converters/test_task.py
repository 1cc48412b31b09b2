"""A compiled loss says what a model is for, or nothing is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from converters.task import task_of


class MeanSquaredError:
    name = "mean_squared_error"


def categorical_crossentropy() -> None:
    """Stands for a loss given as a function."""


@dataclass
class Model:
    loss: Any
    input_shape: tuple[int | None, ...] = (None, 8)
    output_shape: tuple[int | None, ...] = (None, 3)


@pytest.mark.parametrize(
    ("loss", "output", "task"),
    [
        ("sparse_categorical_crossentropy", 3, "classification"),
        (categorical_crossentropy, 3, "classification"),
        (["binary_crossentropy"], 1, "classification"),
        (MeanSquaredError(), 3, "regression"),
        ({"out": "mse"}, 8, "reconstruction"),
        (["mse", "mae"], 3, None),
        (None, 3, None),
        ("my_own", 3, None),
    ],
)
def test_the_loss_tells_the_task(loss: Any, output: int, task: str | None) -> None:
    assert task_of(Model(loss, output_shape=(None, output))) == task
