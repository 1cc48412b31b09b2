"""Channels and ranks fall together, each where it loses less."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.draft import Draft, Samples, Training
from converters.graph.network import model_macs
from converters.quantized.int8 import Int8
from converters.quantized.qat import Qat
from converters.structure.collaborate import Collaborate
from edgepack.tflite.flatbuffer import read
from edgepack.tflite.inspection import FactsInspector
from tests.converters.lifted import lifted

pytestmark = pytest.mark.train
TRAINING = Training(task="classification", seed=1, batch_size=32, inspector=FactsInspector())
BOTH = Collaborate(macs=0.3, energy=0.9, multiple=4, minimum=4, epochs=2, rows=32)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return lifted(96, 32, 32, (8, 8, 3))


@pytest.fixture(scope="module")
def start(k2: Any) -> Draft:
    """One kernel of low rank among others of full rank."""
    k2.utils.set_random_seed(3)
    layers = k2.layers
    inputs = k2.Input((8, 8, 3))
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(48, 3, padding="same", activation="relu", name="flat")(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(32, 3, activation="relu")(x))
    model = k2.Model(inputs, layers.Dense(3)(x))
    rng = np.random.default_rng(0)
    near = np.einsum(
        "hir,wro->hwio", *(rng.normal(size=(3, 32, 12)), rng.normal(size=(3, 12, 48)))
    )
    flat = model.get_layer("flat")
    flat.set_weights([near / 60, flat.get_weights()[1]])
    return Draft(model)


@pytest.fixture(scope="module")
def both(start: Draft, samples: Samples) -> Draft:
    return BOTH(start, samples, TRAINING)


def test_one_budget_is_met_by_ranks_and_channels(start: Draft, both: Draft) -> None:
    assert model_macs(both.model) <= 0.3 * model_macs(start.model)
    names = {layer.name for layer in both.model.layers}
    assert "flat_thin" in names
    widths = {
        layer.name: layer.filters for layer in both.model.layers if hasattr(layer, "filters")
    }
    before = {"conv2d": 32, "flat": 48, "conv2d_1": 32}
    assert any(widths[name] < before[name] for name in widths.keys() & before.keys())
    assert any("flat by" in note for note in both.notes)


def test_it_ends_in_int8_after_training_quantized(both: Draft, samples: Samples) -> None:
    trained = Qat(epochs=1)(both, samples, TRAINING)
    facts = read(Int8(calibration_samples=20)(trained, samples, TRAINING).tflite)
    assert facts.float_ops == ()


@pytest.mark.parametrize(("name", "value"), [("energy", 1.0), ("macs", 0.0), ("multiple", 0)])
def test_settings_out_of_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Collaborate(**{name: value})
