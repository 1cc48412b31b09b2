"""Random views keep what a row is, repeat with the seed, and are refused where they lie."""

from __future__ import annotations

import numpy as np
import pytest

from converters.draft import Training
from converters.errors import DataRefused
from converters.learning.augment import (
    ALIASES,
    VIEWS,
    Mixup,
    RandomViews,
    canonical,
    check,
    check_targets,
)


def images(rows: int = 64, side: int = 16, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((rows, side, side, channels), np.float32)


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_the_seed_repeats_a_view_and_the_rows_stay_as_they_were(name: str) -> None:
    rows = images()
    kept = rows.copy()
    first, again, other = (RandomViews([name], seed)(rows) for seed in (5, 5, 6))
    assert first.shape == rows.shape
    assert first.dtype == np.float32
    assert (first == again).all()
    assert (first != other).any()
    assert (rows == kept).all()


@pytest.mark.parametrize("name", ["hflip", "vflip", "rotate90"])
def test_a_view_only_moves_the_pixels_of_its_own_row(name: str) -> None:
    rows = images()
    seen = RandomViews([name], 1)(rows)
    assert (np.sort(seen.reshape(64, -1)) == np.sort(rows.reshape(64, -1))).all()
    assert 0 < (seen == rows).all((1, 2, 3)).sum() < 64


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_the_old_word_of_a_view_does_the_same(alias: str, name: str) -> None:
    assert (RandomViews([alias], 4)(images()) == RandomViews([name], 4)(images())).all()
    assert canonical([alias, name, "hflip"]) == canonical([name, "hflip"])
    check([alias], (32, 32, 3))
    with pytest.raises(DataRefused, match=f"'{alias}'; {alias} needs"):
        check([alias], (64,))


def test_a_mirrored_row_is_its_mirror_image_or_itself() -> None:
    rows = images()
    for before, after in zip(rows, RandomViews(["hflip"], 2)(rows), strict=True):
        assert (after == before).all() or (after == before[:, ::-1]).all()


@pytest.mark.parametrize("shape", [(40, 3), (24, 24, 1), (16, 8, 8, 2)])
def test_a_shift_goes_up_to_an_eighth_along_each_axis_and_repeats_the_edge(
    shape: tuple[int, ...],
) -> None:
    side = shape[0]
    ramp = np.broadcast_to(
        np.arange(side, dtype=np.float32).reshape(-1, *[1] * (len(shape) - 1)), shape
    )
    rows = np.stack([ramp] * 64)
    moved = RandomViews(["translate"], 3)(rows)
    along = moved[(slice(None), slice(None), *[0] * (len(shape) - 1))]
    by = along[:, side // 2] - side // 2
    assert np.abs(by).max() == side // 8
    for row, shift in zip(along, by, strict=True):
        assert (row == np.clip(np.arange(side) + shift, 0, side - 1)).all()


@pytest.mark.parametrize(
    ("names", "shape", "says"),
    [
        (["hflip"], (40, 3), "translate.*'hflip'; hflip needs images"),
        (
            ["rotate90"],
            (32, 48, 3),
            "hflip, vflip, translate.*'rotate90'; rotate90 needs square",
        ),
        (["translate"], (64,), "none does.*'translate'"),
        (["wobble"], (32, 32, 3), "hflip, vflip, rotate90, translate.*'wobble'$"),
    ],
)
def test_a_view_that_fits_no_row_is_refused_with_those_that_do(
    names: list[str], shape: tuple[int, ...], says: str
) -> None:
    with pytest.raises(DataRefused, match=says):
        check(names, shape)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_map_of_targets_is_refused_because_it_would_stay_where_it_was(task: str) -> None:
    with pytest.raises(DataRefused, match=r"targets of shape \(8, 8, 1\) and views hflip"):
        check_targets(["hflip"], (8, 8, 1), task)
    check_targets([], (8, 8, 1), task)
    check_targets(["hflip"], (10,), task)
    check_targets(["hflip"], (8, 8, 1), "reconstruction")


def test_both_halves_of_a_mixture_are_views() -> None:
    rows = np.zeros((4, 8, 8, 1), np.float32)
    rows[:, :, :4] = 1  # the left half is bright; mirrored, the right one
    mixed = Mixup(0)(rows, np.zeros(256, np.int64), RandomViews(["hflip"], 0))
    left, right = mixed[:, 0, 0, 0], mixed[:, 0, 7, 0]
    assert np.allclose(left + right, 1)
    assert {(a > 0.999, b > 0.999) for a, b in zip(left, right, strict=True)} == {
        (True, False),
        (False, True),
        (False, False),
    }


@pytest.mark.train
@pytest.mark.parametrize("distillation", [0.5, 1.0])
def test_a_student_sees_views_and_the_teacher_sees_the_same(distillation: float) -> None:
    from dataclasses import replace

    from converters.draft import Samples
    from converters.keras2 import keras, tf
    from converters.learning import finetune, objective

    rows = np.zeros((32, 4, 4, 1), np.float32)
    rows[:, :, :2] = 1
    y = np.zeros(32, np.int64)
    samples = Samples(
        **{f"x_{part}": rows for part in ("train", "val", "test")},
        **{f"y_{part}": y for part in ("train", "val", "test")},
    )

    def seeing() -> tuple[list[np.ndarray], keras.Model]:
        seen: list[np.ndarray] = []

        class Watch(keras.layers.Layer):  # type: ignore[misc]
            def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
                noted = tf.py_function(lambda at: seen.append(at.numpy()), [x], [])
                with tf.control_dependencies([noted]):
                    return tf.identity(x)

        layers = keras.layers
        inputs = keras.Input((4, 4, 1))
        outputs = layers.Dense(2)(layers.Flatten()(Watch()(inputs)))
        return seen, keras.Model(inputs, outputs)

    told, teacher = seeing()
    shown, student = seeing()
    training = Training(task="classification", batch_size=16, augment=("hflip",))
    plan = finetune.FineTuneSettings(
        stage="t", epochs=1, learning_rate=1e-3, distillation=distillation
    )
    goal = objective.objective(student, training)
    finetune.fine_tune(student, goal, samples, training, plan, teacher=teacher)
    steps = [batch for batch in shown if len(batch) == 16]
    assert len(steps) == 2
    for batch in steps:
        assert any((batch == answered).all() for answered in told if len(answered) == 16)
        assert (batch[:, :, ::-1] != rows[:16]).any() or (batch != rows[:16]).any()
    wrong = replace(training, augment=("wobble",))
    with pytest.raises(DataRefused, match="wobble"):
        finetune.fine_tune(student, goal, samples, wrong, plan, teacher=teacher)


@pytest.mark.train
def test_what_is_rebuilt_is_the_view_that_was_shown() -> None:
    """A model that gives back its input loses nothing, whatever way the input is turned."""
    from converters.draft import Samples
    from converters.keras2 import keras
    from converters.learning import finetune, objective

    rows = images(32, 8, 1)
    samples = Samples(
        **{f"x_{part}": rows for part in ("train", "val", "test")},
        **{f"y_{part}": np.zeros(32) for part in ("train", "val", "test")},
    )
    inputs = keras.Input((8, 8, 1))
    kept = keras.layers.Conv2D(1, 1, kernel_initializer="ones", use_bias=False)
    model = keras.Model(inputs, kept(inputs))
    views = ("hflip", "rotate90", "translate")
    training = Training(task="reconstruction", batch_size=16, augment=views)
    goal = objective.objective(model, training)
    plan = finetune.FineTuneSettings(stage="t", epochs=2, learning_rate=0.1)
    finetune.fine_tune(model, goal, samples, training, plan, teacher=model)
    assert kept.get_weights()[0].item() == 1
