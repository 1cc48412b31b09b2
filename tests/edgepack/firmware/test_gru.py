"""A short GRU reaches plain C: written out before conversion, bit for bit as TFLM answers."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

from converters.draft import Draft, Samples, Training
from edgepack.firmware import goldens
from edgepack.firmware.compiler import c99
from edgepack.firmware.emulator import run
from edgepack.tflite.inspection import FactsInspector
from tests.edgepack.firmware import nets

pytestmark = [
    pytest.mark.train,
    pytest.mark.tools,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="apt-get install gcc"),
]
pytest.importorskip("tflite_micro", reason="the oracle, pip install 'edgepack[micro]'")


def test_a_short_gru_is_bit_exact_on_the_host() -> None:
    from converters.keras2 import keras, seed
    from converters.quantized.int8 import Int8

    seed(3)
    inputs = keras.Input((6, 4))
    x = keras.layers.GRU(5)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    rows = np.random.default_rng(0).normal(size=(64, 6, 4)).astype(np.float32)
    y: Any = np.zeros(64, np.int64)
    parts = ("train", "val", "test")
    samples = Samples(**{f"x_{p}": rows for p in parts}, **{f"y_{p}": y for p in parts})
    made = Int8()(
        Draft(model), samples, Training(task="classification", inspector=FactsInspector())
    )
    program = c99.compile_model(made.tflite)
    wanted = goldens.golden_vectors(made.tflite, nets.inputs(program.facts, 50))
    mine = run.run_on_host(c99.sources(program, "gru"), "gru", program.facts, wanted.inputs)
    assert wanted.differing(mine) == 0
    assert len(np.unique(wanted.outputs[0])) > 1
