"""Activations in int8 run where TensorFlow Lite Micro does, and stay as near as others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from converters.draft import Draft, Samples, Training
from converters.quantized.int8 import Int8
from converters.quantized.qat import Qat
from converters.tflite.activations import with_elu
from converters.tflite.tflite_edit import operator_name, outputs, parse
from edgepack.tflite.inspection import FactsInspector

pytestmark = pytest.mark.train
INT8 = Int8(calibration_samples=64)
TRAINING = Training(task="regression", batch_size=16, inspector=FactsInspector())


@pytest.fixture(scope="module")
def samples() -> Samples:
    x = 2 * np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype(np.float32)
    y = np.zeros((64, 6, 6, 4), np.float32)
    return Samples(x_train=x, y_train=y, x_val=x, y_val=y, x_test=x, y_test=y)


def net(kind: str) -> Any:
    from converters.keras2 import keras, seed

    seed(0)
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", name="first")(inputs)
    x = layers.ELU(0.5)(x) if kind == "elu of .5" else layers.Activation(kind)(x)
    return keras.Model(inputs, layers.Conv2D(4, 3, name="last")(x), name="z")


def micro(tflite: bytes, rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return what TensorFlow Lite Micro answers, dequantized, ``(N, -1)``."""
    from tflite_micro import runtime

    runner = runtime.Interpreter.from_bytes(tflite)
    ends = (runner.get_input_details(0), runner.get_output_details(0))
    (scale, zero), (step, middle) = (
        (float(kept["scales"][0]), int(kept["zero_points"][0]))
        for kept in (end["quantization_parameters"] for end in ends)
    )
    found = []
    for row in rows:
        codes = np.clip(np.rint(row / scale) + zero, -128, 127).astype(np.int8)
        runner.set_input(codes[np.newaxis], 0)
        runner.invoke()
        found.append((runner.get_output(0).reshape(-1).astype(np.float64) - middle) * step)
    return np.stack(found)


def names(tflite: bytes) -> list[str]:
    model = parse(tflite)
    return [operator_name(model, operator) for operator in model.subgraphs[0].operators]


@pytest.mark.parametrize(
    ("kind", "apart"),  # with EXP and LOG .0193, .0196, .0196, .0574 and .1876
    [("elu", 0.02), ("selu", 0.02), ("elu of .5", 0.02), ("mish", 0.03), ("softplus", 0.02)],
)
def test_int8_runs_on_micro_and_is_near(kind: str, apart: float, samples: Samples) -> None:
    from converters import keras2

    model = net(kind)
    made = INT8(Draft(model), samples, TRAINING).tflite
    assert not {"EXP", "LOG"} & set(names(made))
    wanted = keras2.predict(model, samples.x_test).reshape(64, -1)
    for found in (outputs(made, samples.x_test), micro(made, samples.x_test)):
        assert np.sqrt(np.mean((found - wanted) ** 2)) < apart * wanted.std()


def test_elu_is_one_operator_and_nothing_is_left_of_its_parts(samples: Samples) -> None:
    made = INT8(Draft(net("elu")), samples, TRAINING).tflite
    assert names(made) == ["CONV_2D", "ELU", "CONV_2D"]
    model = parse(made)
    assert len(model.operatorCodes) == 2
    assert len(model.subgraphs[0].tensors) == 8  # input, two kernels and biases, three made
    assert with_elu(made) == made


def test_elu_trained_quantized_is_one_operator_too(samples: Samples) -> None:
    from converters import keras2

    trained = Qat(epochs=1)(Draft(net("elu")), samples, TRAINING)
    made = INT8(trained, samples, TRAINING).tflite
    assert "ELU" in names(made) and "EXP" not in names(made)
    wanted = keras2.predict(trained.model, samples.x_test).reshape(64, -1)
    apart = np.sqrt(np.mean((micro(made, samples.x_test) - wanted) ** 2))
    assert apart < 0.05 * wanted.std()


def test_an_exponential_of_its_own_stays(samples: Samples) -> None:
    made = INT8(Draft(net("exponential")), samples, TRAINING).tflite
    assert "EXP" in names(made) and "ELU" not in names(made)
