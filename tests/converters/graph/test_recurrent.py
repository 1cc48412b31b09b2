"""A recurrent layer written out step by step computes the same, with each kernel once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.graph.recurrent import MOST_WRITTEN
from tests.converters import coverage

pytestmark = pytest.mark.train
CLOSE = 1e-6  # of outputs in [0, 1]
WRITTEN = [
    *("SimpleRNN", "GRU", "GRU, reset before", "GRU sequences", "GRU backwards, hard_sigmoid"),
    *("Bidirectional(GRU)", "Bidirectional(GRU) sequences", "Bidirectional(SimpleRNN)"),
    *("RNN(GRUCell)", "RNN(SimpleRNNCell)", "RNN of stacked cells"),
    *("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM2D sequences"),
]
LOOPS = {"GRU", "SimpleRNN", "LSTM", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D"}


def kinds(model: Any) -> set[str]:
    return {type(layer).__name__ for layer in model.layers}


def series(steps: int, *blocks: Any) -> Any:
    """Return a model of ``blocks`` on a series of ``steps`` vectors."""
    from converters.keras2 import keras

    x = inputs = keras.Input((steps, 3))
    for block in blocks:
        x = block(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_layer_written_out_gives_the_same_outputs(name: str) -> None:
    from converters.graph import canonical

    row = coverage.row(name)
    model = coverage.build(row)
    written = canonical.simplify(model)
    x = coverage.samples(row[2]).x_test
    wanted = np.asarray(model(x, training=False))
    assert not kinds(written) & LOOPS
    assert np.abs(np.asarray(written(x, training=False)) - wanted).max() <= CLOSE


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave"])
def test_both_directions_are_merged_as_they_were(merge: str) -> None:
    from converters.graph import canonical
    from converters.keras2 import keras

    gru = keras.layers.GRU(4, return_sequences=True)
    model = series(5, keras.layers.Bidirectional(gru, merge_mode=merge))
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    written = canonical.simplify(model)
    assert not kinds(written) & LOOPS
    assert np.abs(np.asarray(written(x)) - np.asarray(model(x))).max() <= CLOSE


@pytest.mark.parametrize(
    ("steps", "stays"), [(1, True), (2, False), (MOST_WRITTEN, False), (MOST_WRITTEN + 1, True)]
)
def test_only_a_series_of_few_steps_is_written_out(steps: int, stays: bool) -> None:
    from converters.graph import canonical
    from converters.keras2 import keras

    assert ("GRU" in kinds(canonical.simplify(series(steps, keras.layers.GRU(2))))) == stays


@pytest.mark.parametrize("steps", [2, 6])
def test_the_weights_are_those_of_the_cell_however_many_the_steps(steps: int) -> None:
    from converters import keras2
    from converters.graph import canonical

    model = series(steps, keras2.keras.layers.GRU(4, bias_initializer="uniform"))
    written = keras2.kernels(canonical.simplify(model))
    assert len(written) == 6  # three gates, each of the input and of the state
    values = sum(np.size(kernel) for kernel in written.values())
    assert values == sum(np.size(kernel) for kernel in keras2.kernels(model).values())


def test_masked_steps_and_wanted_states_keep_the_loop() -> None:
    from converters.graph import canonical
    from converters.keras2 import keras

    masked = series(4, keras.layers.Masking(), keras.layers.GRU(2))
    state = series(4, keras.layers.GRU(2, return_state=True), lambda pair: pair[1])
    assert all("GRU" in kinds(canonical.simplify(model)) for model in (masked, state))


def test_an_lstm_keeps_the_operator_that_the_converter_has_for_it() -> None:
    from converters.graph import canonical
    from converters.keras2 import keras

    model = series(4, keras.layers.RNN([keras.layers.LSTMCell(2), keras.layers.LSTMCell(3)]))
    plain = canonical.simplify(model)
    assert [type(layer).__name__ for layer in plain.layers[1:]] == ["LSTM", "LSTM"]
