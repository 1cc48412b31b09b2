"""A pruned kernel holds the whole share of zeros, also where weights are of one size."""

from __future__ import annotations

import numpy as np
import pytest

from converters.draft import Draft, Samples, Training
from converters.weights.prune import Prune

pytestmark = pytest.mark.train
_STILL = 1e-12  # a learning rate that moves no float32 weight: the ties stay


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.75])
def test_weights_of_one_size_do_not_leave_a_kernel_short(sparsity: float) -> None:
    from converters.keras2 import keras

    inputs = keras.Input((8,))
    hidden = keras.layers.Dense(8, activation="relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(hidden))
    signs = np.random.default_rng(0).choice((-0.5, 0.5), (8, 8))
    model.get_layer("hidden").set_weights([signs, np.ones(8)])
    model.compile("adam", "sparse_categorical_crossentropy")
    x = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)
    y = np.arange(8) % 2
    data = Samples(x_train=x, y_train=y, x_val=x, y_val=y, x_test=x, y_test=y)
    training = Training(task="classification", seed=1, batch_size=8)
    pruning = Prune(sparsity=sparsity, epochs=2, learning_rate=_STILL)
    pruned = pruning(Draft(model), data, training).model.get_layer("hidden").get_weights()[0]
    assert np.sum(pruned == 0) == sparsity * 64
    assert set(np.unique(np.abs(pruned))) == {0.0, 0.5}
