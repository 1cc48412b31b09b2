"""Each stage keeps what the one before it promised, and leaves its input as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters import draft_files
from converters.draft import Draft, Samples, Training, Trait
from converters.errors import ConversionError
from converters.quantized.int8 import Int8
from converters.quantized.qat import Qat
from converters.weights.cluster import Cluster
from converters.weights.prune import Prune
from edgepack.tflite.facts import Facts
from edgepack.tflite.flatbuffer import read
from edgepack.tflite.inspection import FactsInspector
from tests.converters.lifted import lifted

pytestmark = pytest.mark.train
TRAINING = Training(task="classification", seed=1, batch_size=32, inspector=FactsInspector())


@pytest.fixture(scope="module")
def samples() -> Samples:
    return lifted(200, 60, 60, (8, 8, 2))


@pytest.fixture(scope="module")
def start() -> Draft:
    from converters.keras2 import keras, seed

    seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 2)),
            layers.Conv2D(12, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.ReLU(),
            layers.Conv2D(24, 1, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return Draft(model)


@pytest.fixture(scope="module")
def pruned(start: Draft, samples: Samples) -> Draft:
    return Prune(sparsity=0.5, epochs=2)(start, samples, TRAINING)


@pytest.fixture(scope="module")
def clustered(pruned: Draft, samples: Samples) -> Draft:
    return Cluster(clusters=8, epochs=1)(pruned, samples, TRAINING)


@pytest.fixture(scope="module")
def trained(clustered: Draft, samples: Samples) -> Draft:
    return Qat(epochs=2)(clustered, samples, TRAINING)


def kernels(draft: Draft) -> dict[str, np.ndarray]:
    from converters import keras2

    return {name: np.asarray(v) for name, v in keras2.kernels(draft.model).items()}


def weights(draft: Draft) -> list[Any]:
    return [np.array(w) for w in draft.model.get_weights()]


def test_pruning_zeroes_the_share_asked_for_and_says_what_it_left(pruned: Draft) -> None:
    assert Trait.SPARSE in pruned.traits
    assert pruned.promises["SPARSE"]
    for name in pruned.promises["SPARSE"]:
        share = (kernels(pruned)[name] == 0).mean()
        assert 0.45 <= share < 1, (name, share)
    assert any("depthwise" in note for note in pruned.notes)


def test_pruning_leaves_its_input_untouched(start: Draft, samples: Samples) -> None:
    before = weights(start)
    Prune(sparsity=0.3, epochs=1)(start, samples, TRAINING)
    assert all((a == b).all() for a, b in zip(before, weights(start), strict=True))


def test_the_same_seed_gives_the_same_weights(
    start: Draft, pruned: Draft, samples: Samples
) -> None:
    again = Prune(sparsity=0.5, epochs=2)(start, samples, TRAINING)
    assert all((a == b).all() for a, b in zip(weights(again), weights(pruned), strict=True))


def test_clustering_keeps_zeros_and_counts_values(pruned: Draft, clustered: Draft) -> None:
    for name in clustered.promises["CLUSTERED"]:
        kernel = kernels(clustered)[name]
        assert len(np.unique(kernel)) <= 8, name
        assert (kernel[kernels(pruned)[name] == 0] == 0).all(), name


def test_a_kernel_of_few_weights_left_keeps_them(pruned: Draft, samples: Samples) -> None:
    compressed = pruned.promises["SPARSE"]
    left = {name: int(np.count_nonzero(kernels(pruned)[name])) for name in compressed}
    smallest = min(left, key=lambda name: left[name])
    for clusters in (left[smallest], left[smallest] + 1, left[smallest] + 4):
        lumped = Cluster(clusters=clusters, epochs=1)(pruned, samples, TRAINING)
        for name in lumped.promises["CLUSTERED"]:
            assert len(np.unique(kernels(lumped)[name])) <= clusters, name


def product(draft: Draft, samples: Samples) -> Facts:
    return read(Int8(calibration_samples=60)(draft, samples, TRAINING).tflite)


def test_training_quantized_keeps_both_in_the_file(trained: Draft, samples: Samples) -> None:
    facts = product(trained, samples)
    assert facts.float_ops == ()
    assert {facts.inputs[0].dtype, facts.outputs[0].dtype} == {"int8"}
    compressed = [k for k in facts.kernels if "depthwise" not in k.name]
    assert len(compressed) == 3
    for kernel in compressed:
        assert kernel.distinct <= 8, kernel
        assert kernel.zeros_share >= 0.45, kernel


def test_zeros_stay_where_no_clusters_were_asked_for(pruned: Draft, samples: Samples) -> None:
    facts = product(Qat(epochs=1)(pruned, samples, TRAINING), samples)
    for kernel in (k for k in facts.kernels if "depthwise" not in k.name):
        assert kernel.zeros_share >= 0.45, kernel


def test_clusters_without_zeros_stay_clusters(start: Draft, samples: Samples) -> None:
    lumped = Cluster(clusters=6, epochs=1)(start, samples, TRAINING)
    facts = product(Qat(epochs=1)(lumped, samples, TRAINING), samples)
    for kernel in (k for k in facts.kernels if "depthwise" not in k.name):
        assert kernel.distinct <= 6, kernel


def test_a_conversion_repeats_to_the_byte(trained: Draft, samples: Samples) -> None:
    int8 = Int8(calibration_samples=60)
    assert int8(trained, samples, TRAINING) == int8(trained, samples, TRAINING)


@pytest.mark.parametrize("which", ["pruned", "trained"])
def test_a_kept_draft_comes_back_as_it_was(
    which: str, request: pytest.FixtureRequest, samples: Samples, tmp_path: Any
) -> None:
    from converters import keras2

    draft: Draft = request.getfixturevalue(which)
    draft_files.save(draft, tmp_path)
    back = draft_files.load(tmp_path)
    assert (back.traits, back.promises, back.notes) == (
        draft.traits,
        draft.promises,
        draft.notes,
    )
    wanted = keras2.predict(draft.model, samples.x_test)
    assert (keras2.predict(back.model, samples.x_test) == wanted).all()


def test_a_weight_that_is_no_number_is_refused(start: Draft, samples: Samples) -> None:
    from converters import keras2

    broken = keras2.copy(start.model)
    broken.set_weights([np.full_like(w, np.nan) for w in broken.get_weights()])
    with pytest.raises(ConversionError):
        Int8(calibration_samples=20)(Draft(broken), samples, TRAINING)


def test_a_stage_after_quantization_is_refused(trained: Draft, samples: Samples) -> None:
    with pytest.raises(ConversionError, match="prune"):
        Prune()(trained, samples, TRAINING)
