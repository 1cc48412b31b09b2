"""Statistics are those of the data that the deployed model sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.draft import Samples, Training
from converters.learning.recalibrate import recalibrate, recalibration

pytestmark = pytest.mark.train


def test_statistics_are_the_data_s_own_and_nothing_else_changes(k2: Any) -> None:
    inputs = k2.Input((6,))
    x = k2.layers.BatchNormalization()(k2.layers.Dropout(0.5)(inputs))
    model = k2.Model(inputs, k2.layers.Dense(2)(x))
    rows = np.random.default_rng(0).normal(3, 2, (512, 6)).astype(np.float32)
    none = rows[:0]
    samples = Samples(
        x_train=rows, y_train=none, x_val=none, y_val=none, x_test=none, y_test=none
    )
    before = [variable.numpy() for variable in model.trainable_variables]
    recalibrate(model, samples, Training())
    norm = next(layer for layer in model.layers if hasattr(layer, "moving_mean"))
    # 512 rows are four whole batches, which weigh the same
    np.testing.assert_allclose(norm.moving_mean.numpy(), rows.mean(0), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance.numpy(), rows.var(0), rtol=0.03)
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert norm.momentum == 0.99
    assert [layer.rate for layer in model.layers if hasattr(layer, "rate")] == [0.5]


def test_a_model_without_statistics_is_left_alone(k2: Any) -> None:
    inputs = k2.Input((6,))
    model = k2.Model(inputs, k2.layers.Dense(2)(inputs))
    none = np.zeros((0, 6), np.float32)
    empty = Samples(
        x_train=none, y_train=none, x_val=none, y_val=none, x_test=none, y_test=none
    )
    before = [value.copy() for value in model.get_weights()]
    recalibrate(model, empty, Training())
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("share", "taken"), [(0.0, False), (0.99, False), (1.0, True)])
def test_learning_from_mixtures_ends_each_epoch_on_statistics_of_rows(
    k2: Any, share: float, taken: bool
) -> None:
    model = k2.Sequential([k2.layers.Input((6,)), k2.layers.BatchNormalization()])
    rows = np.random.default_rng(0).normal(3, 2, (512, 6)).astype(np.float32)
    none = rows[:0]
    samples = Samples(
        x_train=rows, y_train=none, x_val=none, y_val=none, x_test=none, y_test=none
    )
    hooks = recalibration(model, samples, Training(), share)
    assert (hooks is not None) == taken
    if hooks is not None:
        assert hooks.after_epoch(0)
        np.testing.assert_allclose(model.layers[0].moving_mean.numpy(), rows.mean(0), rtol=1e-4)
