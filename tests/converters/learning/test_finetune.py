"""What fine-tuning learns from, what it leaves alone, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from converters.draft import Samples, Training
from converters.errors import DataRefused
from converters.learning.augment import Mixup

TRAINING = Training(task="classification", seed=2, batch_size=16)


def data(rows: int = 96) -> Samples:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 6)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    return Samples(
        **{f"x_{part}": x for part in ("train", "val", "test")},
        **{f"y_{part}": y for part in ("train", "val", "test")},
    )


def net(seed: int, dropout: float = 0.0) -> Any:
    from converters import keras2

    keras2.seed(seed)
    layers = keras2.keras.layers
    return keras2.keras.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(12, name="in"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(dropout),
            layers.Dense(2, activation="softmax"),
        ]
    )


def trained(model: Any, teacher: Any, samples: Samples, **plan: Any) -> tuple[float, ...]:
    from converters.learning import finetune, objective

    settings = {"stage": "test", "epochs": 3, "learning_rate": 1e-2, "distillation": 1.0} | plan
    goal = objective.objective(model, TRAINING)
    return finetune.fine_tune(
        model, goal, samples, TRAINING, finetune.FineTuneSettings(**settings), teacher=teacher
    )


def test_a_mixture_lies_between_two_rows_and_the_seed_repeats_it() -> None:
    x = np.array([[0.0], [10.0]])
    rows = np.zeros(64, np.int64)
    first, again, other = (Mixup(seed)(x, rows) for seed in (5, 5, 6))
    assert first.dtype == np.float32
    assert ((first >= 0) & (first <= 10)).all()
    assert (first > 0).any()
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.train
def test_with_the_teacher_alone_labels_are_not_used() -> None:
    teacher, samples = net(0), data()
    wrong = replace(samples, y_train=1 - samples.y_train, y_val=1 - samples.y_val)
    weights = []
    for given in (samples, wrong):
        student = net(1)
        losses = trained(student, teacher, given)
        assert losses[-1] < losses[0]
        weights.append(student.get_weights())
    assert all((a == b).all() for a, b in zip(*weights, strict=True))


@pytest.mark.train
def test_with_less_of_the_teacher_labels_count() -> None:
    teacher, samples = net(0), data()
    wrong = replace(samples, y_train=1 - samples.y_train)
    first, second = net(1), net(1)
    trained(first, teacher, samples, distillation=0.5)
    trained(second, teacher, wrong, distillation=0.5)
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    assert any((a != b).any() for a, b in pairs)


@pytest.mark.train
@pytest.mark.parametrize("steady", [True, False])
def test_a_steady_student_keeps_its_statistics_and_its_layers_settings(steady: bool) -> None:
    student = net(1, dropout=0.5)
    norm, drop = student.layers[1], student.layers[3]
    before = norm.moving_mean.numpy()
    gamma = norm.gamma.numpy()
    trained(student, net(0), data(), steady=steady)
    assert (norm.moving_mean.numpy() == before).all() == steady
    assert (norm.gamma.numpy() != gamma).any()
    assert (norm.trainable, drop.rate) == (True, 0.5)


@pytest.mark.train
def test_masked_weights_stay_zero_after_every_step() -> None:
    from converters.keras2 import tf
    from converters.learning import finetune, objective

    student = net(1)
    kernel = student.get_layer("in").kernel
    kernel.assign(kernel * tf.cast(kernel > 0, tf.float32))
    zeros = kernel.numpy() == 0
    finetune.fine_tune(
        student,
        objective.objective(student, TRAINING),
        data(),
        TRAINING,
        finetune.FineTuneSettings(stage="test", epochs=1, learning_rate=1e-2),
        teacher=net(0),
        masks=[(kernel, tf.cast(kernel != 0, tf.float32))],
    )
    assert ((kernel.numpy() == 0) == zeros).all()


@pytest.mark.train
@pytest.mark.parametrize("shape", [(0, 6), (8, 5)])
def test_rows_that_do_not_fit_are_refused(shape: tuple[int, int]) -> None:
    samples = replace(data(), x_train=np.zeros(shape, np.float32))
    with pytest.raises(DataRefused, match="x_train"):
        trained(net(1), net(0), samples)
