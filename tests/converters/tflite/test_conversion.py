"""Whatever the converter's process does, the caller reads one line that names the layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import ConverterCrashed
from converters.tflite import conversion, convert_process, layer_names

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def looping() -> Any:
    from converters.keras2 import keras

    inputs = keras.Input((3, 6, 6, 2))
    return keras.Model(inputs, keras.layers.ConvLSTM2D(2, 3)(inputs), name="loop")


@pytest.fixture(scope="module")
def plain() -> Any:
    from converters.keras2 import keras

    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs), name="plain")


def test_a_process_that_dies_is_one_line_and_the_next_conversion_runs(
    looping: Any, plain: Any
) -> None:
    rows = np.zeros((4, 3, 6, 6, 2), np.float32)
    with convert_process.kept_warm():
        with pytest.raises(ConverterCrashed) as died:
            conversion.convert(looping, [rows])
        assert conversion.convert(plain, [np.eye(4, dtype=np.float32)])[0][4:8] == b"TFL3"
    said = str(died.value)
    assert "\n" not in said
    assert "SIGSEGV" in said
    assert "conv_lstm2d (ConvLSTM2D)" in said


def test_a_warm_process_gives_the_bytes_of_a_fresh_one(plain: Any) -> None:
    rows = np.eye(4, dtype=np.float32)
    with convert_process.kept_warm():
        warm = [conversion.convert(plain, [rows]) for _ in range(2)]
    assert warm == [conversion.convert(plain, [rows])] * 2


def test_a_warm_process_that_dies_is_replaced_and_asked_once_more(plain: Any) -> None:
    rows = np.eye(4, dtype=np.float32)
    with convert_process.kept_warm():
        first = conversion.convert(plain, [rows])
        worker = convert_process._warm[-1]
        assert worker.process is not None
        killed = worker.process
        killed.kill()
        killed.wait()
        assert conversion.convert(plain, [rows]) == first
        assert worker.process is not None
        assert worker.process.pid != killed.pid
    assert worker.process is None


@pytest.mark.parametrize("warm", [False, True])
def test_a_process_that_outlives_its_time_is_killed(plain: Any, warm: bool) -> None:
    rows = [np.eye(4, dtype=np.float32)]
    with pytest.raises(ConverterCrashed, match=r"stopped after 0\.2 s"):
        if warm:
            with convert_process.kept_warm():
                conversion.convert(plain, rows, timeout_s=0.2)
        else:
            conversion.convert(plain, rows, timeout_s=0.2)


def test_a_process_that_does_not_start_is_one_line(
    plain: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(convert_process, "_COMMAND", (str(tmp_path / "absent"),))
    with pytest.raises(ConverterCrashed, match="did not start"):
        conversion.convert(plain, [None])


def test_a_float_operator_is_blamed_on_its_layer() -> None:
    from converters.keras2 import keras

    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.ThresholdedReLU(name="step")(inputs))
    found = ["DEQUANTIZE writes float32 'x'", "CAST writes float32 'model/step/Cast'"]
    said = layer_names.describe_float(found, model)
    assert said == "CAST writes float32 'model/step/Cast', of layer step (ThresholdedReLU)"


def test_a_nameless_cast_is_blamed_on_the_look_up() -> None:
    from converters.keras2 import keras

    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Embedding(8, 2, name="words")(inputs))
    said = layer_names.describe_float(["CAST reads float32 'tfl.dequantize'"], model)
    assert "of layer words (Embedding), whose whole numbers" in said
