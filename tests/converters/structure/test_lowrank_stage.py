"""Low rank as a stage: thin layers that compute what their product does, priced rightly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.draft import Draft, Samples, Training
from converters.errors import ModelRefused
from converters.graph.network import macs, model_macs, read
from converters.quantized.int8 import Int8
from converters.quantized.qat import Qat
from converters.structure.lowrank import LowRank, with_splits
from converters.structure.lowrank_math import costs, factors, product, splits, weights_of
from edgepack.tflite.flatbuffer import read as read_tflite
from edgepack.tflite.inspection import FactsInspector
from tests.converters.lifted import lifted

pytestmark = pytest.mark.train
TRAINING = Training(task="classification", seed=1, batch_size=32, inspector=FactsInspector())


@pytest.fixture(scope="module")
def model(k2: Any) -> Any:
    k2.utils.set_random_seed(3)
    layers = k2.layers
    inputs = k2.Input((9, 9, 3))
    x = layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(32, 3, dilation_rate=2, padding="same", use_bias=False)(x)
    x = layers.Conv2D(32, (3, 2), strides=(1, 2), activation="swish")(x)
    x = layers.Conv2D(48, 1, strides=2, activation="relu")(x)
    x = layers.Dense(40, activation="relu")(layers.Flatten()(x))
    return k2.Model(inputs, layers.Dense(3)(x))


@pytest.fixture(scope="module")
def samples() -> Samples:
    return lifted(96, 32, 32, (9, 9, 3))


@pytest.mark.parametrize("method", ["svd", "spatial", "tucker"])
def test_thin_layers_compute_what_their_product_does(method: str, model: Any) -> None:
    from converters import keras2

    net, _ = read(model)
    options = splits(net, weights_of(model, net), multiple=4)
    ways = {name: [s for s in found if s.method == method] for name, found in options.items()}
    chosen = {name: found[len(found) // 2] for name, found in ways.items() if found}
    assert chosen
    thin = with_splits(model, chosen)
    twin = keras2.copy(model)
    for name, split in chosen.items():
        layer = twin.get_layer(name)
        kernel, *bias = layer.get_weights()
        near = product(factors(kernel, split.method, split.ranks), split.method)
        layer.set_weights([near.astype(np.float32), *bias])
    x = np.random.default_rng(1).normal(size=(4, 9, 9, 3)).astype(np.float32)
    want = keras2.predict(twin, x)
    assert np.abs(keras2.predict(thin, x) - want).max() <= 1e-5 * np.abs(want).max()
    saved = sum(costs(net)[name] - split.cost for name, split in chosen.items())
    assert macs(read(thin)[0]) == macs(net) - saved


def test_the_budget_is_met_and_the_notes_tell_each_loss(model: Any, samples: Samples) -> None:
    before = [value.copy() for value in model.get_weights()]
    made = LowRank(macs=0.7, epochs=1)(Draft(model), samples, TRAINING)
    assert model_macs(made.model) <= 0.7 * model_macs(model)
    assert any("% lost" in note for note in made.notes)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_energy_decides_where_it_is_given(model: Any, samples: Samples) -> None:
    made = LowRank(energy=0.6, epochs=1)(Draft(model), samples, TRAINING)
    assert model_macs(made.model) < model_macs(model)


def test_thin_layers_train_quantized_and_end_in_int8(model: Any, samples: Samples) -> None:
    thin = LowRank(macs=0.7, epochs=1)(Draft(model), samples, TRAINING)
    trained = Qat(epochs=1)(thin, samples, TRAINING)
    assert not any("not trained quantized" in note for note in trained.notes)
    facts = read_tflite(Int8(calibration_samples=20)(trained, samples, TRAINING).tflite)
    assert facts.float_ops == ()


def test_a_budget_out_of_reach_is_refused(model: Any, samples: Samples) -> None:
    with pytest.raises(ModelRefused, match="lowrank: wanted 5%"):
        LowRank(macs=0.05)(Draft(model), samples, TRAINING)
