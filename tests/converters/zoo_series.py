"""Tiny blocks over series: recurrent layers and attention."""

from __future__ import annotations

from typing import Any

from tests.converters.zoo import SERIES, Row, chain, layer, wrapped


def _attention(kind: str) -> Any:
    def run(k: Any, x: Any) -> Any:
        parts = [k.layers.Dense(6)(x), k.layers.Dense(6)(x)]
        return getattr(k.layers, kind)()(parts)

    return run


def _self_attention(k: Any, x: Any) -> Any:
    return k.layers.MultiHeadAttention(2, 4)(x, x)


def _cross_attention(k: Any, x: Any) -> Any:
    return k.layers.MultiHeadAttention(2, 4)(k.layers.Dense(6)(x), k.layers.Dense(6)(x))


def _causal_attention(k: Any, x: Any) -> Any:
    return k.layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)


def _attention_by_operators(k: Any, x: Any) -> Any:
    """Return two heads as a ViT written from scratch has them: reshaped, then tf.matmul."""
    from converters.keras2 import tf

    heads = [
        tf.transpose(tf.reshape(k.layers.Dense(8)(x), [-1, 8, 2, 4]), [0, 2, 1, 3])
        for _ in range(3)
    ]
    shares = tf.nn.softmax(tf.matmul(heads[0], heads[1], transpose_b=True) / 2.0)
    read = tf.transpose(tf.matmul(shares, heads[2]), [0, 2, 1, 3])
    return k.layers.Dense(4)(tf.reshape(read, [-1, 8, 8]))


def _encoder(k: Any, x: Any) -> Any:
    x = k.layers.Add()([x, k.layers.MultiHeadAttention(2, 4)(x, x)])
    x = k.layers.LayerNormalization(epsilon=1e-3)(x)
    h = k.layers.Dense(4)(k.layers.Dense(8, activation="gelu")(x))
    return k.layers.LayerNormalization(epsilon=1e-3)(
        k.layers.Add()([x, k.layers.Dropout(0.1)(h)])
    )


def _mixer(k: Any, x: Any) -> Any:
    h = k.layers.Permute((2, 1))(k.layers.LayerNormalization()(x))
    h = k.layers.Permute((2, 1))(k.layers.Dense(8, activation="gelu")(h))
    return k.layers.Add()([x, h])


def _tcn(k: Any, x: Any) -> Any:
    h = k.layers.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu")(x)
    return k.layers.Add()([x, k.layers.BatchNormalization()(h)])


def _cell(kind: str, **settings: Any) -> Any:
    """Return a loop over one cell."""
    return lambda k, x: k.layers.RNN(getattr(k.layers, kind)(6), **settings)(x)


def _stacked_cells(k: Any, x: Any) -> Any:
    return k.layers.RNN([k.layers.GRUCell(6), k.layers.SimpleRNNCell(4)], go_backwards=True)(x)


_RNNS: dict[str, Any] = {
    "SimpleRNN": layer("SimpleRNN", 6),
    "SimpleRNN unrolled": layer("SimpleRNN", 6, unroll=True),
    "LSTM": layer("LSTM", 6),
    "LSTM sequences, stacked": chain(layer("LSTM", 6, return_sequences=True), layer("LSTM", 6)),
    "GRU": layer("GRU", 6),
    "GRU, reset before": layer("GRU", 6, reset_after=False),
    "GRU sequences": layer("GRU", 6, return_sequences=True),
    "GRU backwards, hard_sigmoid": layer(
        "GRU", 6, go_backwards=True, recurrent_activation="hard_sigmoid", dropout=0.1
    ),
    "Bidirectional(LSTM)": wrapped("Bidirectional", "LSTM", 6),
    "Bidirectional(GRU)": wrapped("Bidirectional", "GRU", 6),
    "Bidirectional(GRU) sequences": wrapped("Bidirectional", "GRU", 6, return_sequences=True),
    "Bidirectional(SimpleRNN)": wrapped("Bidirectional", "SimpleRNN", 6),
    "RNN(LSTMCell)": _cell("LSTMCell"),
    "RNN(GRUCell)": _cell("GRUCell", return_sequences=True),
    "RNN(SimpleRNNCell)": _cell("SimpleRNNCell"),
    "RNN of stacked cells": _stacked_cells,
    "ConvLSTM1D": layer("ConvLSTM1D", 4, 3),
    "ConvLSTM2D": layer("ConvLSTM2D", 4, 3),
    "ConvLSTM2D sequences": layer("ConvLSTM2D", 4, 3, padding="same", return_sequences=True),
}
_SHAPES = {
    "ConvLSTM1D": (4, 6, 2),
    "ConvLSTM2D": (3, 6, 6, 2),
    "ConvLSTM2D sequences": (3, 6, 6, 2),
}
_ATTENTION: dict[str, Any] = {
    "Attention": _attention("Attention"),
    "AdditiveAttention": _attention("AdditiveAttention"),
    "MultiHeadAttention": _self_attention,
    "MultiHeadAttention, cross": _cross_attention,
    "MultiHeadAttention, causal mask": _causal_attention,
    "attention by operators": _attention_by_operators,
    "transformer encoder": _encoder,
    "MLP-mixer": _mixer,
    "TCN residual": _tcn,
}
SERIES_BLOCKS: tuple[Row, ...] = (
    *(("recurrent", name, _SHAPES.get(name, SERIES), block) for name, block in _RNNS.items()),
    *(("attention", name, SERIES, block) for name, block in _ATTENTION.items()),
)
