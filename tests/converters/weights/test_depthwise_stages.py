"""Depthwise kernels pruned and clustered by request keep zeros, codes and every channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.draft import Draft, Samples, Training
from converters.errors import ModelRefused
from converters.inspection import distinct_codes, distinct_per_channel
from converters.quantized.int8 import Int8
from converters.quantized.qat import Qat
from converters.weights.cluster import Cluster
from converters.weights.codebook import to_codes
from converters.weights.prune import Prune
from edgepack.tflite.inspection import FactsInspector
from tests.converters.lifted import lifted

pytestmark = pytest.mark.train
TRAINING = Training(task="classification", seed=1, batch_size=32, inspector=FactsInspector())
SHARE, CLUSTERS = 0.6, 6
DEEP = {
    "deep/depthwise_kernel",
    "apart_depthwise/depthwise_kernel",
    "line_depthwise/depthwise_kernel",
}


@pytest.fixture(scope="module")
def samples() -> Samples:
    return lifted(200, 60, 60, (8, 8, 2))


@pytest.fixture(scope="module")
def start() -> Draft:
    """Return a net with a depthwise kernel of its own, and those of two other layers."""
    from converters.keras2 import keras, seed

    seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 2)),
            layers.Conv2D(12, 3, padding="same", activation="relu", name="first"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="deep"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.SeparableConv2D(16, 2, activation="relu", name="apart"),
            layers.Reshape((25, 16)),
            layers.DepthwiseConv1D(5, name="line"),
            layers.DepthwiseConv1D(1, name="thin"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3, activation="softmax", name="last"),
        ]
    )
    rng = np.random.default_rng(2)
    model.get_layer("norm").gamma.assign(rng.normal(size=24) * 3)  # some negative
    model.compile("adam", "sparse_categorical_crossentropy")
    return Draft(model)


@pytest.fixture(scope="module", params=[False, True], ids=["by size", "the rest solved"])
def pruned(request: Any, start: Draft, samples: Samples) -> Draft:
    stage = Prune(sparsity=SHARE, depthwise=True, epochs=2, reconstruct=request.param)
    return stage(start, samples, TRAINING)


@pytest.fixture(scope="module")
def clustered(pruned: Draft, samples: Samples) -> Draft:
    return Cluster(clusters=CLUSTERS, depthwise=True, epochs=1)(pruned, samples, TRAINING)


@pytest.fixture(scope="module")
def trained(clustered: Draft, samples: Samples) -> Draft:
    return Qat(epochs=2)(clustered, samples, TRAINING)


def held(draft: Draft) -> dict[str, NDArray[Any]]:
    from converters import keras2

    return {name: variable.numpy() for name, variable in keras2.kernels(draft.model).items()}


def test_their_zeros_are_exact_and_every_channel_lives(pruned: Draft) -> None:
    assert pruned.promises["SPARSE"].keys() >= DEEP
    for name in DEEP:
        kernel = held(pruned)[name]
        assert (kernel == 0).sum() == np.ceil(SHARE * kernel.size), name
        assert kernel.any(axis=(0, 1)).all(), name


def test_a_kernel_with_one_weight_a_channel_is_left_and_said(pruned: Draft) -> None:
    assert "thin_depthwise/depthwise_kernel" not in pruned.promises["SPARSE"]
    assert held(pruned)["thin_depthwise/depthwise_kernel"].all()
    assert "not pruned, as a channel would keep no weight: thin_depthwise" in pruned.notes


def test_clusters_are_codes_of_a_channels_scale_and_zeros_stay(
    pruned: Draft, clustered: Draft
) -> None:
    assert clustered.promises["CLUSTERED"].keys() >= DEEP
    for name in DEEP:
        kernel = held(clustered)[name]
        assert len(np.unique(to_codes(kernel, (2, 3)))) <= CLUSTERS, name
        assert (kernel[held(pruned)[name] == 0] == 0).all(), name
        assert kernel.any(axis=(0, 1)).all(), name


def depthwise_of(tflite: bytes, size: int) -> Any:
    found = [
        k for k in FactsInspector().int8_kernels(tflite) if k.operator == "DEPTHWISE_CONV_2D"
    ]
    (kernel,) = (k for k in found if k.codes.size == size)
    return kernel


def test_both_are_in_the_file_with_a_scale_a_channel(
    pruned: Draft, trained: Draft, samples: Samples
) -> None:
    made = Int8(calibration_samples=60)(trained, samples, TRAINING).tflite
    for name in DEEP:
        before = held(pruned)[name].ravel()
        kernel = depthwise_of(made, before.size)
        assert kernel.channel_axis == 3
        assert distinct_codes(kernel) <= CLUSTERS, name
        assert (kernel.codes.ravel()[before == 0] == 0).all(), name
        assert kernel.codes.any(axis=(0, 1, 2)).all(), name


def test_without_training_quantized_a_channel_has_as_few(
    pruned: Draft, clustered: Draft, samples: Samples
) -> None:
    """Folding may turn a channel's sign, so codes are few by channel then, not by tensor."""
    made = Int8(calibration_samples=60)(clustered, samples, TRAINING).tflite
    for name in DEEP:
        kernel = depthwise_of(made, held(pruned)[name].size)
        assert distinct_per_channel(kernel) <= CLUSTERS, name
        assert distinct_codes(kernel) <= 2 * CLUSTERS, name


def test_a_value_off_the_codes_is_seen(clustered: Draft) -> None:
    from dataclasses import replace

    from converters import keras2
    from converters.weights import invariants

    broken = keras2.copy(clustered.model)
    kernel = keras2.kernels(broken)["deep/depthwise_kernel"]
    kernel.assign(kernel + np.linspace(0, 0.1, kernel.shape[2])[:, None].astype(np.float32))
    found = invariants.model_violations(replace(clustered, model=broken))
    assert any("deep/depthwise_kernel: wanted 6 distinct values" in line for line in found)


def test_left_as_they_are_they_are_named_with_the_remedy(
    start: Draft, samples: Samples
) -> None:
    for stage in (Prune(epochs=1), Cluster(epochs=1)):
        done = stage(start, samples, TRAINING)
        (note,) = (note for note in done.notes if note.startswith("depthwise"))
        assert "depthwise = true" in note
        assert "deep, apart_depthwise, line_depthwise" in note
        assert not DEEP & {name for kinds in done.promises.values() for name in kinds}


def test_a_net_of_depthwise_kernels_alone_is_compressed_by_request(samples: Samples) -> None:
    from converters.keras2 import keras

    layers = keras.layers
    deep = layers.DepthwiseConv2D(3, depth_multiplier=2)
    stack = [layers.Input((8, 8, 2)), deep, layers.GlobalMaxPooling2D(), layers.Softmax()]
    alone = Draft(keras.Sequential(stack))
    for kind, settings in ((Prune, {}), (Cluster, {"clusters": 3})):
        with pytest.raises(ModelRefused, match="depthwise"):
            kind(epochs=1, **settings)(alone, samples, TRAINING)
        assert kind(epochs=1, depthwise=True, **settings)(alone, samples, TRAINING).promises
