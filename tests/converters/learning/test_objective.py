"""Teachers whose outputs are written otherwise than the model's teach the same function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.draft import Training
from converters.errors import ModelRefused

pytestmark = pytest.mark.train
TRAINING = Training(task="classification")


def net(activation: str | None, units: int = 3, nested: bool = False) -> Any:
    from converters import keras2

    keras2.seed(4)
    layers = keras2.keras.layers
    inputs = keras2.keras.Input((5,))
    inner = layers.Dense(units, activation=activation)
    if not nested:
        return keras2.keras.Model(inputs, inner(inputs))
    part = keras2.keras.Model(inputs, inner(inputs))
    outer = keras2.keras.Input((5,))
    return keras2.keras.Model(outer, part(outer))


def pull(student: Any, teacher: Any, training: Training = TRAINING) -> float:
    """Return the largest gradient of the distance of ``student`` to ``teacher``."""
    from converters.keras2 import tf
    from converters.learning import objective

    goal = objective.objective(student, training)
    x = tf.constant(np.random.default_rng(0).normal(size=(64, 5)), tf.float32)
    told = teacher(x, training=False)
    with tf.GradientTape() as tape:
        away = goal.distance(told, student(x), 4.0, goal.head_of(teacher))
    return max(
        float(np.abs(part).max()) for part in tape.gradient(away, student.trainable_variables)
    )


@pytest.mark.parametrize(
    ("student", "teacher", "units"),
    [
        (None, "softmax", 3),
        ("softmax", None, 3),
        (None, "sigmoid", 1),
        ("sigmoid", None, 1),
        ("sigmoid", None, 3),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_the_same_function_under_another_head_pulls_at_nothing(
    student: str | None, teacher: str | None, units: int, nested: bool
) -> None:
    mine, other = net(student, units), net(teacher, units, nested)
    other.set_weights(mine.get_weights())
    assert pull(mine, other) < 1e-5
    other.set_weights([weight + 0.5 * np.arange(1, units + 1) for weight in mine.get_weights()])
    assert pull(mine, other) > 1e-2


def test_probabilities_of_another_kind_are_refused() -> None:
    with pytest.raises(ModelRefused, match=r"one of all \(softmax\).*Received: sigmoid"):
        pull(net("softmax"), net("sigmoid"))
    with pytest.raises(ModelRefused, match=r"each of its own \(sigmoid\).*Received: softmax"):
        pull(net("sigmoid"), net("softmax"))


def test_raw_outputs_of_a_binary_loss_are_each_of_its_own() -> None:
    from converters.keras2 import keras
    from converters.learning import objective

    model = net(None)
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    assert objective.objective(model, Training()).head == "binary logits"


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_a_head_written_as_an_operator_is_known(kind: str) -> None:
    from converters.keras2 import keras, tf
    from converters.learning import objective

    inputs = keras.Input((5,))
    function = getattr(tf.nn, kind)
    model = keras.Model(inputs, function(keras.layers.Dense(3)(inputs)))
    assert objective.objective(model, TRAINING).head == kind


LABELS = np.arange(12) % 3
MARKS = np.random.default_rng(1).integers(0, 2, (12, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("task", "activation", "loss", "y"),
    [
        ("classification", "softmax", "kl_divergence", LABELS),
        ("classification", None, "categorical_hinge", LABELS),
        ("classification", "softmax", "categorical_crossentropy", LABELS),
        ("multilabel", "sigmoid", "binary_crossentropy", MARKS),
        ("multilabel", "sigmoid", "bce", MARKS),
        ("multilabel", "sigmoid", None, MARKS),
        ("multilabel", None, None, MARKS),
        ("regression", "softmax", "categorical_crossentropy", MARKS / 3),
    ],
)
def test_targets_are_given_as_the_loss_wants_them(
    task: str, activation: str | None, loss: str | None, y: Any
) -> None:
    from converters.learning import objective

    model = net(activation)
    if loss is not None:
        model.compile(loss=loss)
    goal = objective.objective(model, Training(task=task))
    targets = goal.targets(np.zeros((12, 5)), y)
    wanted = np.eye(3)[y] if y is LABELS else y
    assert np.array_equal(targets, wanted.astype(np.float32))
    outputs = model(np.zeros((12, 5), np.float32))
    assert np.isfinite(np.asarray(goal.hard(targets, outputs))).all()


def test_hinge_learns_from_zero_and_one() -> None:
    from converters.learning import objective

    model = net(None, 1)
    model.compile(loss="hinge")
    goal = objective.objective(model, TRAINING)
    signs = np.array([[-1.0], [1.0]], np.float32)
    targets = goal.targets(np.zeros((2, 5)), np.array([0, 1]))
    outputs = np.array([[-3.0], [2.0]], np.float32)
    assert np.array_equal(np.asarray(goal.hard(targets, outputs)), np.zeros(2))
    assert np.asarray(goal.hard(targets, -signs)).min() > 1


def test_one_of_all_outputs_is_no_set_of_labels() -> None:
    from converters.learning import objective

    with pytest.raises(ModelRefused, match="Received: softmax, of which one is chosen"):
        objective.objective(net("softmax"), Training(task="multilabel"))
