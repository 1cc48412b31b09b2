"""Slices, pools over steps and masks in plain layers: the same numbers, also in int8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.converters import coverage

pytestmark = pytest.mark.train
CLOSE = 1e-6


def noise(shape: tuple[int, ...], rows: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, *shape)).astype(np.float32)


def model_of(block: Callable[[Any], Any], shape: tuple[int, ...]) -> Any:
    from converters.keras2 import keras

    inputs = keras.Input(shape)
    return keras.Model(inputs, block(inputs), name="block")


def int8_outputs(tflite: bytes, x: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    engine = Interpreter(model_content=tflite)
    engine.allocate_tensors()
    (given,), (made,) = engine.get_input_details(), engine.get_output_details()
    (scale, zero), (step, middle) = given["quantization"], made["quantization"]
    rows = []
    for row in np.clip(np.round(x / scale + zero), -128, 127).astype(np.int8):
        engine.set_tensor(given["index"], row[None])
        engine.invoke()
        rows.append((engine.get_tensor(made["index"])[0].astype(np.float32) - middle) * step)
    return np.stack(rows)


def kinds(model: Any) -> set[str]:
    return {type(layer).__name__ for layer in model.layers}


@pytest.mark.parametrize(
    "cut",
    [
        *(lambda x: x[:, 0], lambda x: x[:, -1], lambda x: x[..., 1], lambda x: x[..., :2]),
        *(lambda x: x[:, 1:3, :, -2:], lambda x: x[:, 2, 1:, 0], lambda x: x[:, :, 1:-1]),
    ],
)
def test_a_slice_becomes_cropping(cut: Callable[[Any], Any]) -> None:
    from converters.graph import canonical

    model = model_of(cut, (4, 5, 3))
    plain, x = canonical.simplify(model), noise((4, 5, 3))
    assert kinds(plain) <= {"InputLayer", "Cropping2D", "Reshape"}
    assert (np.asarray(plain(x)) == cut(x)).all()


@pytest.mark.parametrize("cut", [lambda x: x[:, ::2], lambda x: x[1:], lambda x: x[:, None]])
def test_a_slice_with_strides_or_of_the_batch_stays(cut: Callable[[Any], Any]) -> None:
    from converters.graph import canonical

    plain = canonical.simplify(model_of(cut, (4, 5, 3)))
    assert "SlicingOpLambda" in kinds(plain)


@pytest.mark.parametrize(
    ("kind", "shape", "settings"),
    [
        ("MaxPooling2D", (3, 4, 6, 2), {}),
        ("MaxPooling2D", (3, 5, 6, 2), {}),
        ("AveragePooling2D", (3, 5, 6, 2), {"pool_size": 3, "strides": 2, "padding": "same"}),
        ("AveragePooling1D", (3, 6, 2), {}),
        ("MaxPooling1D", (3, 7, 2), {"pool_size": 3, "strides": 1}),
        ("GlobalAveragePooling1D", (3, 6, 2), {}),
        ("GlobalMaxPooling2D", (3, 4, 6, 2), {"keepdims": True}),
        ("Flatten", (3, 4, 2), {}),
        ("Conv1D", (3, 6, 2), {"filters": 4, "kernel_size": 3, "padding": "causal"}),
    ],
)
def test_a_layer_over_steps_is_one_over_all_at_once(
    kind: str, shape: tuple[int, ...], settings: dict[str, Any]
) -> None:
    from converters.graph import canonical
    from converters.keras2 import keras

    inner = getattr(keras.layers, kind)(**settings)
    model = model_of(keras.layers.TimeDistributed(inner), shape)
    plain, x = canonical.simplify(model), noise(shape)
    assert "TimeDistributed" not in kinds(plain)
    assert np.abs(np.asarray(plain(x)) - np.asarray(model(x))).max() <= CLOSE


def test_work_of_a_layer_over_steps_is_counted_once_a_step() -> None:
    from converters.graph import network
    from converters.keras2 import keras

    inner = keras.layers.Conv2D(4, 3)
    model = model_of(keras.layers.TimeDistributed(inner), (5, 6, 6, 2))
    assert network.model_macs(model) == 5 * (4 * 4) * (3 * 3 * 2 * 4)


def test_a_threshold_other_than_one_is_scaled_to_it() -> None:
    from converters.graph import canonical
    from converters.keras2 import keras

    model = model_of(keras.layers.ThresholdedReLU(0.25), (50,))
    plain, x = canonical.simplify(model), noise((50,))
    assert kinds(plain) == {"InputLayer", "Rescaling", "Activation"}
    assert np.abs(np.asarray(plain(x)) - np.asarray(model(x))).max() <= CLOSE


def test_a_causal_row_sees_no_later_one_and_int8_keeps_what_it_sees() -> None:
    from converters.graph import canonical
    from converters.keras2 import keras
    from converters.tflite import conversion

    def attend(x: Any) -> Any:
        return keras.layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)

    plain = canonical.simplify(model_of(attend, (8, 4)))
    x = noise((8, 4), 32)
    wanted = np.asarray(plain(x))
    later = x.copy()
    later[:, 5:] += 1
    assert np.abs(np.asarray(plain(later)) - wanted)[:, :5].max() <= CLOSE

    got = int8_outputs(conversion.convert(plain, [x])[0], x)
    # With Keras' mask of -1e9 in one int8 scale with the scores, this was 0.88.
    assert np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2)) < 0.1


@pytest.mark.parametrize(
    "name", ["ThresholdedReLU", "tf.abs", "MultiHeadAttention, causal mask"]
)
def test_activations_of_our_own_are_stored_with_a_draft(name: str, tmp_path: Path) -> None:
    from converters import draft_files
    from converters.draft import Draft
    from converters.graph import canonical

    row = coverage.row(name)
    plain = canonical.deployable(coverage.build(row))
    draft_files.save(Draft(plain), tmp_path)
    again = draft_files.load(tmp_path).model
    x = coverage.samples(row[2]).x_test
    assert (np.asarray(again(x)) == np.asarray(plain(x))).all()
