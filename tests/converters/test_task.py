"""A compiled loss says what a model is for, or nothing is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from converters.task import hint_of


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
    assert hint_of(Model(loss, output_shape=(None, output))).task == task


X = np.random.default_rng(0).random((20, 8)).astype(np.float32)
HOT = np.eye(8, dtype=np.float32)[np.arange(20) % 8]
MARKS = (X > 0.5).astype(np.float32)
NUMBERS = np.arange(20) % 8


@pytest.mark.parametrize(
    ("loss", "y", "task"),
    [
        ("binary_crossentropy", None, "reconstruction"),
        ("binary_crossentropy", X, "reconstruction"),
        ("binary_crossentropy", MARKS, "multilabel"),
        ("binary_crossentropy", HOT, "classification"),
        ("bce", MARKS, "multilabel"),
        ("categorical_crossentropy", HOT, "classification"),
        ("sparse_categorical_crossentropy", NUMBERS, "classification"),
        ("categorical_crossentropy", MARKS, "classification"),
        ("mse", None, "reconstruction"),
        ("mse", X, "reconstruction"),
        ("mse", X + 1, "regression"),
        ("poisson", NUMBERS, "regression"),
        ("categorical_hinge", HOT, "classification"),
        ("kl_divergence", HOT, "classification"),
        ("cosine_similarity", X, None),
    ],
)
def test_targets_decide_what_the_loss_leaves_open(loss: str, y: Any, task: str | None) -> None:
    assert hint_of(Model(loss, output_shape=(None, 8))).resolved([(X, y)]) == task


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        ("cosine_similarity", "the model's loss is cosine_similarity, which fits several"),
        (["mse", "mae"], "the model's loss is mse and mae, which fits several"),
        (None, "the model carries no compiled loss"),
        ("poisson", "the model's loss is poisson"),
    ],
)
def test_why_a_task_was_guessed_is_said(loss: Any, says: str) -> None:
    assert hint_of(Model(loss)).why == says


def test_a_single_number_that_equals_its_input_is_no_reconstruction() -> None:
    numbers = np.arange(10.0).reshape(10, 1)
    hint = hint_of(Model("mse", (None, 1), (None, 1)))
    assert hint.resolved([(numbers, np.sin(numbers))]) == "regression"


@pytest.mark.train
@pytest.mark.parametrize(
    ("activation", "loss", "threshold"),
    [
        ("sigmoid", "binary_crossentropy", 0.5),
        (None, "binary_crossentropy", 0.5),
        (None, "from_logits", 0.0),
        ("sigmoid", "from_logits", 0.5),
        (None, "hinge", 0.0),
        ("tanh", "squared_hinge", 0.0),
        (None, None, 0.0),
        ("sigmoid", None, 0.5),
        (None, "mse", 0.5),
    ],
)
def test_one_output_is_cut_where_its_loss_has_it(
    activation: str | None, loss: str | None, threshold: float
) -> None:
    from converters.keras2 import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation)])
    if loss == "from_logits":
        model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    elif loss is not None:
        model.compile(loss=loss)
    assert hint_of(model).decision_threshold == threshold
