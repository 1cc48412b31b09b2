"""A Keras 3 model and its tf_keras rebuilding are the same function, layer by layer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import ModelRefused
from converters.reading import bridge_proof, keras3
from tests.converters.keras3_models import IMAGE, ROW, SERIES, chain, randomize

pytestmark = pytest.mark.train
HERE = Path("model.keras")  # only named in messages


@pytest.mark.parametrize(
    "merge",
    ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"],
)
def test_merge_is_the_same_function_in_tf_keras(k3: Any, merge: str) -> None:
    inputs = k3.Input(ROW)
    sides = [k3.layers.Dense(4)(inputs), k3.layers.Dense(4)(inputs)]
    layer = k3.layers.Dot(axes=1) if merge == "Dot" else getattr(k3.layers, merge)()
    original = randomize(k3.Model(inputs, layer(sides)))
    keras3.bridge(original, HERE)  # raises where they differ


def test_operators_become_layers_where_there_is_one(k3: Any) -> None:
    inputs = k3.Input(IMAGE)
    x = k3.layers.Conv2D(4, 3, padding="same")(inputs)
    x = k3.ops.relu6(x + inputs) * x - inputs / 2.0
    x = k3.ops.concatenate([k3.ops.silu(x), k3.ops.maximum(x, inputs)], axis=-1)
    x = k3.ops.transpose(k3.ops.reshape(x, (-1, 64, 8)), (0, 2, 1))
    x = k3.ops.sqrt(k3.ops.abs(k3.ops.clip(x, -3.0, 3.0)) + 1e-3)[:, ::2]
    x = k3.ops.mean(x, axis=-1, keepdims=True) + k3.ops.sum(x, axis=-1, keepdims=True)
    original = randomize(k3.Model(inputs, k3.layers.Dense(3)(k3.layers.Flatten()(x))))
    model = keras3.bridge(original, HERE).model
    kinds = {type(layer).__name__ for layer in model.layers}
    assert {"Add", "Multiply", "Subtract", "ReLU", "Reshape", "Permute"} <= kinds


def test_attention_is_the_same_function_in_tf_keras(k3: Any) -> None:
    inputs = k3.Input(SERIES)
    x = k3.layers.MultiHeadAttention(2, 3, value_dim=4)(inputs, inputs)
    x = k3.layers.LayerNormalization()(x + inputs)
    x = k3.layers.Attention(use_scale=True)([x, inputs])
    x = k3.layers.AdditiveAttention()([x, inputs])
    keras3.bridge(randomize(k3.Model(inputs, x)), HERE)


def test_whole_numbers_are_looked_up_within_the_vocabulary(k3: Any) -> None:
    original = chain(
        k3,
        (7,),
        k3.layers.Embedding(20, 5, mask_zero=True),
        k3.layers.LSTM(4),
        k3.layers.Dense(2, "softmax"),
        dtype="int32",
    )
    bridged = keras3.bridge(original, HERE)
    assert str(bridged.model.input.dtype).endswith("int32'>")


def test_adapted_statistics_survive_a_copy(k3: Any) -> None:
    from converters import keras2

    layer = k3.layers.Normalization()
    layer.adapt(np.random.default_rng(0).normal(7, 3, (200, 4)).astype(np.float32))
    inputs = k3.Input((4,))
    original = k3.Model(inputs, k3.layers.Dense(2)(layer(inputs)))
    twin = keras2.copy(keras3.bridge(original, HERE).model)
    x = np.random.default_rng(1).normal(7, 3, (5, 4)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(twin(x)), np.asarray(original(x)), rtol=1e-5)


def test_a_shared_layer_stays_one_layer(k3: Any) -> None:
    inputs = k3.Input(ROW)
    shared = k3.layers.Dense(10, "relu6", name="shared")
    original = randomize(k3.Model(inputs, shared(shared(inputs))))
    model = keras3.bridge(original, HERE).model
    assert [layer.name for layer in model.layers].count("shared") == 1
    assert model.count_params() == original.count_params()


def test_nested_models_stay_nested_and_shared(k3: Any) -> None:
    block = k3.Sequential([k3.Input(ROW), k3.layers.Dense(10, "hard_silu"), k3.layers.ReLU()])
    deep_input = k3.Input(ROW)
    deep = k3.Model(deep_input, block(block(deep_input)), name="deep")
    inputs = k3.Input(ROW)
    original = randomize(k3.Model(inputs, deep(inputs) + block(inputs)))
    model = keras3.bridge(original, HERE).model
    assert model.count_params() == original.count_params()


def test_sequential_with_a_layer_as_activation_becomes_functional(k3: Any) -> None:
    dense = k3.layers.Dense(3, k3.layers.LeakyReLU(negative_slope=0.3))
    original = randomize(k3.Sequential([k3.Input(ROW), dense]))
    assert type(keras3.bridge(original, HERE).model).__name__ == "Functional"


def test_an_augmentation_is_left_out_and_said(k3: Any) -> None:
    original = chain(
        k3, IMAGE, k3.layers.RandomContrast(0.2, name="jitter"), k3.layers.Flatten()
    )
    (note,) = keras3.bridge(original, HERE).notes
    assert "jitter" in note


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda k: k.layers.RMSNormalization(name="rms"), "rms (RMSNormalization)"),
        (lambda k: k.layers.Activation("sparsemax", name="sharp"), "sharp (Activation)"),
        (lambda k: k.layers.LayerNormalization(rms_scaling=True, name="ln"), "ln (LayerNorm"),
        (lambda k: k.layers.Dense(4, lora_rank=2, name="dense"), "dense (Dense) with lora"),
    ],
)
def test_what_tf_keras_lacks_is_refused_by_name(k3: Any, make: Any, named: str) -> None:
    with pytest.raises(
        ModelRefused, match=r"model\.keras: wanted layers that tf_keras"
    ) as caught:
        keras3.bridge(chain(k3, ROW, make(k3)), HERE)
    assert named in str(caught.value)


def test_a_recurrent_activation_without_counterpart_is_refused(k3: Any) -> None:
    lstm = k3.layers.LSTM(3, recurrent_activation="hard_sigmoid", name="old_lstm")
    with pytest.raises(ModelRefused, match="old_lstm"):
        keras3.bridge(chain(k3, SERIES, lstm), HERE)


def test_an_operator_without_a_row_is_refused_by_name(k3: Any) -> None:
    inputs = k3.Input(ROW)
    with pytest.raises(ModelRefused, match=r"operator \w+ \(Cumsum\)"):
        keras3.bridge(k3.Model(inputs, k3.ops.cumsum(inputs, axis=1)), HERE)


def test_a_wrong_counterpart_is_caught_and_its_layer_named(
    k3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from converters.reading import keras3_activations

    # tf_keras has a hard_sigmoid too: another function under the same name
    monkeypatch.setitem(keras3_activations.NATIVE, "hard_sigmoid", "hard_sigmoid")
    layers = [k3.layers.Dense(1000, "hard_sigmoid", name="gate"), k3.layers.Dense(9, "softmax")]
    with pytest.raises(ModelRefused, match=r"got layer gate differing by 0\.\d+"):
        keras3.bridge(chain(k3, ROW, *layers), HERE)


@pytest.mark.parametrize("swap", [0, -1])
def test_one_weight_out_of_place_is_caught(
    k3: Any, swap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from converters.reading import keras3_layers

    straight = keras3_layers._ordered

    def crooked(mine: Any, original: Any) -> list[Any]:
        values = straight(mine, original)
        values[swap] = values[swap][::-1]
        return values

    monkeypatch.setattr(keras3_layers, "_ordered", crooked)
    with pytest.raises(ModelRefused, match="differing by"):
        keras3.bridge(chain(k3, IMAGE, k3.layers.Conv2D(6, 3)), HERE)


@pytest.mark.parametrize(
    ("apart", "unrest", "largest", "equal"),
    [
        (1e-5, 0.0, 0.5, True),  # the floor, for values up to 1
        (1.1e-5, 0.0, 0.5, False),
        (9e-3, 0.0, 1000.0, True),  # a share of larger values
        (1.1e-2, 0.0, 1000.0, False),
        (3e-3, 1e-3, 0.5, True),  # what rounding does to the original is allowed on top
        (5e-3, 1e-3, 0.5, False),
        (1.0, np.inf, 0.5, False),  # an original without rest excuses nothing
        (np.nan, 0.0, 0.5, False),
    ],
)
def test_equal_means_up_to_rounding(
    apart: float, unrest: float, largest: float, equal: bool
) -> None:
    theirs, moved, ours = (np.array([largest, off]) for off in (0.0, unrest, apart))
    outputs = (theirs, moved, ours)
    if equal:
        bridge_proof._compare("the output", outputs, bridge_proof.TOLERANCE, HERE)
        return
    with pytest.raises(ModelRefused, match="the output differing by"):
        bridge_proof._compare("the output", outputs, bridge_proof.TOLERANCE, HERE)


def test_another_backend_in_the_environment_changes_nothing() -> None:
    script = (
        "from converters.reading import keras3\n"
        "assert keras3.import_keras3().backend.backend() == 'tensorflow'"
    )
    root = Path(__file__).resolve().parents[3]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root, env=environment)


def test_equal_infinities_and_nans_are_equal() -> None:
    same = np.array([np.inf, np.nan, -np.inf, 1.0])
    bridge_proof._compare("the output", (same, same, same), bridge_proof.TOLERANCE, HERE)
