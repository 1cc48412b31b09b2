"""Blocks pruned empty stay empty through every later stage, and are left out of the file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.draft import Draft, Samples, Training, Trait
from converters.errors import InvariantBroken, ModelRefused
from converters.quantized.int8 import Int8
from converters.quantized.qat import Qat
from converters.tflite import tflite_edit
from converters.weights import invariants
from converters.weights.choice import empty_blocks
from converters.weights.cluster import Cluster
from converters.weights.prune import Prune
from edgepack.pipeline import recipe
from edgepack.tflite.flatbuffer import read
from edgepack.tflite.inspection import FactsInspector
from tests.converters.lifted import lifted

pytestmark = pytest.mark.train
TRAINING = Training(task="classification", seed=1, batch_size=32, inspector=FactsInspector())
BLOCK, SHARE = 16, 0.5
SHAPES = {"wide": (48, 64), "middle": (32, 48), "narrow": (6, 32), "last": (3, 32)}
BLOCKED = {f"{name}/kernel": a * b // BLOCK for name, (a, b) in SHAPES.items()}


@pytest.fixture(scope="module")
def samples() -> Samples:
    return lifted(200, 60, 60, (4, 8, 1))


@pytest.fixture(scope="module")
def start() -> Draft:
    """Return a net mostly dense, whose normalizations fold into dense kernels both ways."""
    from converters.keras2 import keras, seed

    seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((4, 8, 1)),
            layers.Conv2D(2, 3, padding="same", activation="relu", name="conv"),
            layers.Flatten(),
            layers.BatchNormalization(),
            layers.Dense(48, use_bias=False, name="wide"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dense(32, activation="relu", name="middle"),
            layers.Dense(6, activation="relu", name="narrow"),
            layers.Dense(32, activation="relu", name="back"),  # as many weights as narrow
            layers.Dense(3, activation="softmax", name="last"),
        ]
    )
    rng = np.random.default_rng(2)  # scales that differ, some of them negative
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            size = layer.gamma.shape[0]
            layer.gamma.assign(rng.normal(size=size))
            layer.moving_variance.assign(rng.uniform(0.5, 2, size))
    model.compile("adam", "sparse_categorical_crossentropy")
    return Draft(model)


@pytest.fixture(scope="module", params=[False, True], ids=["by size", "solved"])
def pruned(request: Any, start: Draft, samples: Samples) -> Draft:
    stage = Prune(sparsity=SHARE, block=BLOCK, epochs=2, reconstruct=request.param)
    return stage(start, samples, TRAINING)


@pytest.fixture(scope="module")
def trained(pruned: Draft, samples: Samples) -> Draft:
    return Qat(epochs=2)(pruned, samples, TRAINING)


def held(draft: Draft) -> dict[str, NDArray[Any]]:
    from converters import keras2

    return {name: variable.numpy() for name, variable in keras2.kernels(draft.model).items()}


def test_half_the_blocks_are_empty_and_the_rest_is_whole(pruned: Draft) -> None:
    assert Trait.BLOCKED in pruned.traits
    assert pruned.promises["BLOCKED"] == dict.fromkeys(BLOCKED, BLOCK)
    for name, blocks in BLOCKED.items():
        kernel = held(pruned)[name]
        assert empty_blocks(kernel, BLOCK) == SHARE * blocks, name
        assert (kernel == 0).mean() == SHARE, name
        assert kernel.any(axis=0).all(), f"{name}: an output that reads nothing"


def test_other_kernels_lose_single_weights_and_the_notes_say_which(pruned: Draft) -> None:
    assert pruned.promises["SPARSE"].keys() == held(pruned).keys()
    (note,) = (note for note in pruned.notes if "weight by weight" in note)
    assert note.endswith("conv, back")


def test_empty_blocks_outlast_clustering_and_folding(pruned: Draft, samples: Samples) -> None:
    lumped = Cluster(clusters=6, epochs=1)(pruned, samples, TRAINING)
    done = Qat(epochs=1)(lumped, samples, TRAINING)
    for name, blocks in BLOCKED.items():
        assert empty_blocks(held(lumped)[name], BLOCK) >= SHARE * blocks
        assert empty_blocks(held(done)[name], BLOCK) >= SHARE * blocks
    made = Int8(calibration_samples=32)(done, samples, TRAINING).tflite
    for kernel in dense_of(made):
        assert empty_blocks(kernel.T, BLOCK) >= SHARE * kernel.size // BLOCK
        assert len(np.unique(kernel)) <= 6


def dense_of(tflite: bytes) -> list[NDArray[np.int8]]:
    """Return the ``(outputs, inputs)`` codes of the kernels that are pruned in blocks."""
    found = [
        k.codes
        for k in FactsInspector().int8_kernels(tflite)
        if k.codes.shape in SHAPES.values()
    ]
    assert len(found) == len(SHAPES)
    return found


def test_without_training_quantized_they_are_in_the_file_too(
    pruned: Draft, samples: Samples
) -> None:
    made = Int8(calibration_samples=32)(pruned, samples, TRAINING).tflite
    for kernel in dense_of(made):
        assert empty_blocks(kernel.T, BLOCK) >= SHARE * kernel.size // BLOCK


def test_a_block_that_filled_up_again_is_seen_in_the_file(
    trained: Draft, samples: Samples
) -> None:
    made = Int8(calibration_samples=32)(trained, samples, TRAINING).tflite
    invariants.assert_tflite(made, trained, FactsInspector())
    more = {**trained.promises, "SPARSE": dict.fromkeys(BLOCKED, 0.75)}
    with pytest.raises(InvariantBroken, match="empty blocks of 1x16"):
        invariants.assert_tflite(made, replace(trained, promises=more), FactsInspector())


def test_the_built_in_recipe_makes_a_smaller_file_of_the_same_answers(
    start: Draft, samples: Samples
) -> None:
    loaded = recipe.load("blocks-qat")
    draft = start
    for stage in loaded.stages:
        draft = replace(stage, epochs=2)(draft, samples, TRAINING)
    dense = Int8(calibration_samples=32)(draft, samples, TRAINING).tflite
    (rewrite,) = loaded.rewrites
    stored, (note,) = rewrite(dense)
    saved = len(dense) - len(stored)
    blocks = sum(BLOCKED.values())
    assert saved > 0.5 * SHARE * blocks * BLOCK, "lists that place the blocks cost some"
    assert f"{saved:,} B less" in note
    sparse = [op for op in read(stored).main.ops if op.version == 8]
    assert len(sparse) == len(BLOCKED)
    scale = read(dense).outputs[0].quantization
    assert scale is not None
    answers = [tflite_edit.outputs(file, samples.x_test) for file in (dense, stored)]
    steps = np.abs(answers[0] - answers[1]).max() / scale.scales[0]
    assert steps <= 1.001  # dense and sparse kernels round differently


def test_a_net_without_room_for_blocks_is_refused_before_training(samples: Samples) -> None:
    from converters.keras2 import keras

    layers = keras.layers
    stack = [layers.Input((4, 8, 1)), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    with pytest.raises(ModelRefused, match=r"no dense kernel that can lose 50% of its blocks"):
        Prune(block=BLOCK)(Draft(keras.Sequential(stack)), samples, TRAINING)


def test_blocks_repeat_to_the_bit(start: Draft, samples: Samples) -> None:
    stage = Prune(sparsity=SHARE, block=BLOCK, epochs=1)
    first, again = (held(stage(start, samples, TRAINING)) for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)
