"""A layer that added nothing before a stage has not died in it; one that did has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from converters.draft import Draft, Samples, Training
from converters.errors import InvariantBroken
from converters.quantized.int8 import Int8
from converters.quantized.qat import Qat
from converters.structure.lowrank import LowRank
from converters.tflite.tflite_edit import outputs
from converters.weights import invariants
from converters.weights.cluster import Cluster
from converters.weights.prune import Prune
from edgepack.tflite.inspection import FactsInspector
from tests.converters.lifted import lifted

TRAINING = Training(task="classification", seed=1, batch_size=32, inspector=FactsInspector())
INT8 = Int8(calibration_samples=32)


def test_a_kernel_that_becomes_zero_is_a_death_and_one_that_was_is_none() -> None:
    weights = {"a/kernel": np.zeros((2, 2)), "b/kernel": np.ones((2, 2))}
    assert invariants.violations(weights, {}, {"a/kernel"}) == []
    assert invariants.violations(weights, {}, {"b/kernel"}) == [
        "a/kernel: the layer died, all 4 weights are zero"
    ]


@pytest.fixture(scope="module")
def samples() -> Samples:
    return lifted(128, 32, 32, (8, 8, 2))


def net(kind: str) -> Any:
    """Return a net with a branch ``dead`` of zeros, and what reads it in ``behind``."""
    from converters.keras2 import keras, seed

    seed(3)
    layers = keras.layers
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="first")(inputs)
    same: dict[str, Any] = {"padding": "same", "name": "dead"}
    made = {
        "conv": lambda: layers.Conv2D(16, 1, activation="relu", name="dead"),
        "dense": lambda: layers.Dense(16, activation="relu", name="dead"),
        "depthwise": lambda: layers.DepthwiseConv2D(3, activation="relu", **same),
        "transposed": lambda: layers.Conv2DTranspose(16, 3, activation="relu", **same),
    }[kind.partition(" ")[0]]()
    branch = made(x)
    kernel, bias = made.get_weights()
    keep = kernel if "behind" in kind else 0 * kernel
    made.set_weights([keep, bias - 100])
    if "behind" in kind:  # an input of zeros beside a bias that its scale cannot carry
        behind = layers.Conv2D(16, 3, padding="same", bias_initializer="ones", name="behind")
        branch = behind(branch)
        weights = behind.get_weights()
        behind.set_weights([weights[0], 30 * weights[1]])
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, branch]))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="last")(x), name="z")
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.mark.train
@pytest.mark.parametrize("kind", ["conv", "dense", "depthwise", "transposed", "conv behind"])
def test_a_silent_branch_is_converted_and_told(kind: str, samples: Samples) -> None:
    from converters import keras2

    model = net(kind)
    made = INT8(Draft(model), samples, TRAINING)
    silent = [
        kernel.name
        for kernel in FactsInspector().int8_kernels(made.tflite)
        if not kernel.codes.any()
    ]
    assert len(silent) == 1 and ("behind" if "behind" in kind else "dead") in silent[0]
    assert "dead" in made.notes[0] and "first" not in made.notes[0]
    wanted = keras2.predict(model, samples.x_test)
    assert np.abs(outputs(made.tflite, samples.x_test) - wanted).max() < 0.02


@pytest.mark.train
@pytest.mark.parametrize("stage", [Prune(epochs=1), Cluster(epochs=1), Qat(epochs=1)])
def test_stages_keep_a_kernel_of_zeros_and_tell_it(stage: Any, samples: Samples) -> None:
    done = stage(Draft(net("conv")), samples, TRAINING)
    assert "kernels that were all zero before and are: dead/kernel" in done.notes
    assert INT8(done, samples, TRAINING).tflite


@pytest.mark.train
def test_few_weights_that_are_not_zero_keep_their_clusters(samples: Samples) -> None:
    model = net("dense")
    dead = model.get_layer("dead")
    kernel, bias = dead.get_weights()
    kernel[0, :5] = np.arange(1, 6) / 10
    dead.set_weights([kernel, bias + 100])  # so that it trains
    done = Cluster(epochs=1, clusters=16)(Draft(model), samples, TRAINING)
    assert len(np.unique(done.model.get_layer("dead").kernel)) == 6


@pytest.mark.train
def test_a_kernel_of_zeros_is_not_split(samples: Samples) -> None:
    done = LowRank(energy=0.8, multiple=2, epochs=1)(
        Draft(net("transposed")), samples, TRAINING
    )
    told = [note for note in done.notes if note.startswith("lowrank: dead by")]
    assert told == []


@pytest.mark.train
def test_a_layer_that_dies_in_conversion_is_refused(samples: Samples) -> None:
    living = net("conv behind")
    behind = living.get_layer("dead")
    behind.set_weights([behind.get_weights()[0], np.zeros(16)])  # now it speaks
    silent = INT8(Draft(net("conv behind")), samples, TRAINING).tflite
    with pytest.raises(InvariantBroken, match=r"behind.*the layer died"):
        invariants.assert_tflite(silent, replace(Draft(living), promises={}), FactsInspector())
    assert invariants.silent_layers(living, samples.x_train[:8]) == frozenset()
