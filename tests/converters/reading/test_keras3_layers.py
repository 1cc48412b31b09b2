"""Each Keras 3 layer and activation is the same function in tf_keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.reading import keras3, keras3_activations
from tests.converters.keras3_models import IMAGE, ROW, SERIES, chain

pytestmark = pytest.mark.train
HERE = Path("model.keras")  # only named in messages


LAYERS: dict[str, tuple[tuple[int, ...], Any]] = {
    "Dense": (ROW, lambda k: k.layers.Dense(5, "relu", kernel_regularizer="l2")),
    "Dense without bias": (ROW, lambda k: k.layers.Dense(5, use_bias=False)),
    "Dense constrained": (ROW, lambda k: k.layers.Dense(5, kernel_constraint="max_norm")),
    "EinsumDense": (
        SERIES,
        lambda k: k.layers.EinsumDense("abc,cd->abd", (12, 5), bias_axes="d"),
    ),
    "Conv1D": (SERIES, lambda k: k.layers.Conv1D(5, 3, 2, "same")),
    "Conv1D causal": (
        SERIES,
        lambda k: k.layers.Conv1D(5, 3, padding="causal", dilation_rate=2),
    ),
    "Conv2D": (IMAGE, lambda k: k.layers.Conv2D(6, (3, 2), 2, "same", activation="tanh")),
    "Conv2D grouped": (IMAGE, lambda k: k.layers.Conv2D(6, 3, groups=2)),
    "Conv2D dilated": (IMAGE, lambda k: k.layers.Conv2D(6, 3, dilation_rate=2)),
    "Conv3D": ((4, 4, 4, 2), lambda k: k.layers.Conv3D(3, 2)),
    "Conv1DTranspose": (SERIES, lambda k: k.layers.Conv1DTranspose(5, 3, 2)),
    "Conv2DTranspose": (IMAGE, lambda k: k.layers.Conv2DTranspose(5, 3, 2, "same")),
    "DepthwiseConv1D": (SERIES, lambda k: k.layers.DepthwiseConv1D(3, depth_multiplier=2)),
    "DepthwiseConv2D": (IMAGE, lambda k: k.layers.DepthwiseConv2D(3, 2, "same")),
    "SeparableConv1D": (SERIES, lambda k: k.layers.SeparableConv1D(5, 3)),
    "SeparableConv2D": (IMAGE, lambda k: k.layers.SeparableConv2D(5, 3, activation="silu")),
    "BatchNormalization": (IMAGE, lambda k: k.layers.BatchNormalization(epsilon=0.01)),
    "BatchNormalization bare": (
        IMAGE,
        lambda k: k.layers.BatchNormalization(center=False, scale=False, momentum=0.9),
    ),
    "BatchNormalization on height": (IMAGE, lambda k: k.layers.BatchNormalization(axis=1)),
    "LayerNormalization": (SERIES, lambda k: k.layers.LayerNormalization(epsilon=1e-6)),
    "GroupNormalization": (IMAGE, lambda k: k.layers.GroupNormalization(2)),
    "UnitNormalization": (ROW, lambda k: k.layers.UnitNormalization()),
    "Normalization": (
        IMAGE,
        lambda k: k.layers.Normalization(mean=[1.0] * 4, variance=[2.0] * 4),
    ),
    "Rescaling": (IMAGE, lambda k: k.layers.Rescaling(1 / 255, offset=-0.5)),
    "Rescaling per channel": (IMAGE, lambda k: k.layers.Rescaling([1.0, 2.0, 3.0, 4.0])),
    "Resizing": (IMAGE, lambda k: k.layers.Resizing(5, 6)),
    "Resizing nearest": (IMAGE, lambda k: k.layers.Resizing(5, 6, interpolation="nearest")),
    "CenterCrop": (IMAGE, lambda k: k.layers.CenterCrop(5, 6)),
    "MaxPooling1D": (SERIES, lambda k: k.layers.MaxPooling1D(2)),
    "MaxPooling2D": (IMAGE, lambda k: k.layers.MaxPooling2D(3, 2, "same")),
    "AveragePooling1D": (SERIES, lambda k: k.layers.AveragePooling1D(3, 2, "same")),
    "AveragePooling2D": (IMAGE, lambda k: k.layers.AveragePooling2D(2)),
    "GlobalAveragePooling1D": (SERIES, lambda k: k.layers.GlobalAveragePooling1D()),
    "GlobalAveragePooling2D": (IMAGE, lambda k: k.layers.GlobalAveragePooling2D(keepdims=True)),
    "GlobalMaxPooling1D": (SERIES, lambda k: k.layers.GlobalMaxPooling1D()),
    "GlobalMaxPooling2D": (IMAGE, lambda k: k.layers.GlobalMaxPooling2D()),
    "ZeroPadding1D": (SERIES, lambda k: k.layers.ZeroPadding1D((1, 2))),
    "ZeroPadding2D": (IMAGE, lambda k: k.layers.ZeroPadding2D(((1, 0), (0, 2)))),
    "Cropping1D": (SERIES, lambda k: k.layers.Cropping1D((1, 2))),
    "Cropping2D": (IMAGE, lambda k: k.layers.Cropping2D(((1, 0), (0, 2)))),
    "UpSampling1D": (SERIES, lambda k: k.layers.UpSampling1D(2)),
    "UpSampling2D": (IMAGE, lambda k: k.layers.UpSampling2D(2, interpolation="bilinear")),
    "Reshape": (IMAGE, lambda k: k.layers.Reshape((16, -1))),
    "Permute": (IMAGE, lambda k: k.layers.Permute((3, 1, 2))),
    "Flatten": (IMAGE, lambda k: k.layers.Flatten()),
    "RepeatVector": (ROW, lambda k: k.layers.RepeatVector(3)),
    "Dropout": (ROW, lambda k: k.layers.Dropout(0.5, seed=1)),
    "SpatialDropout2D": (IMAGE, lambda k: k.layers.SpatialDropout2D(0.5)),
    "GaussianNoise": (ROW, lambda k: k.layers.GaussianNoise(0.5)),
    "GaussianDropout": (ROW, lambda k: k.layers.GaussianDropout(0.5)),
    "AlphaDropout": (ROW, lambda k: k.layers.AlphaDropout(0.5)),
    "ActivityRegularization": (ROW, lambda k: k.layers.ActivityRegularization(0.1)),
    "Identity": (ROW, lambda k: k.layers.Identity()),
    "ReLU": (ROW, lambda k: k.layers.ReLU(6.0, negative_slope=0.1, threshold=0.2)),
    "LeakyReLU": (ROW, lambda k: k.layers.LeakyReLU(negative_slope=0.15)),
    "PReLU": (IMAGE, lambda k: k.layers.PReLU(shared_axes=[1, 2])),
    "ELU": (ROW, lambda k: k.layers.ELU(0.7)),
    "Softmax": (SERIES, lambda k: k.layers.Softmax(axis=1)),
    "RandomFlip": (IMAGE, lambda k: k.layers.RandomFlip("horizontal")),
    "RandomErasing": (IMAGE, lambda k: k.layers.RandomErasing()),
    "LSTM": (SERIES, lambda k: k.layers.LSTM(5, return_sequences=True)),
    "GRU": (SERIES, lambda k: k.layers.GRU(5, dropout=0.1)),
    "GRU reset before": (SERIES, lambda k: k.layers.GRU(5, reset_after=False)),
    "SimpleRNN": (SERIES, lambda k: k.layers.SimpleRNN(5, unroll=True)),
    "LSTM backwards": (
        SERIES,
        lambda k: k.layers.LSTM(5, go_backwards=True, unit_forget_bias=False),
    ),
    "Bidirectional LSTM": (SERIES, lambda k: k.layers.Bidirectional(k.layers.LSTM(5))),
    "Bidirectional GRU summed": (
        SERIES,
        lambda k: k.layers.Bidirectional(
            k.layers.GRU(5, return_sequences=True), merge_mode="sum"
        ),
    ),
    "RNN of cells": (
        SERIES,
        lambda k: k.layers.RNN([k.layers.LSTMCell(4), k.layers.GRUCell(3)]),
    ),
    "TimeDistributed": (SERIES, lambda k: k.layers.TimeDistributed(k.layers.Dense(3, "relu"))),
}
ACTIVATIONS = (*keras3_activations.NATIVE, *keras3_activations._MADE)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_the_same_function_in_tf_keras(k3: Any, name: str) -> None:
    shape, make = LAYERS[name]
    original = chain(k3, shape, make(k3))
    bridged = keras3.bridge(original, HERE)
    x = np.random.default_rng(1).standard_normal((3, *shape)).astype(np.float32)
    theirs, ours = (np.asarray(m(x, training=False)) for m in (original, bridged.model))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)
    assert bridged.max_abs_diff <= 1e-3  # inputs reach 255, so outputs reach thousands
    assert type(bridged.model).__module__.startswith("tf_keras.")


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("inside", [True, False], ids=["of a Dense", "as a layer"])
def test_activation_is_the_same_function_in_tf_keras(k3: Any, name: str, inside: bool) -> None:
    layers = [k3.layers.Dense(6, name)] if inside else [k3.layers.Activation(name)]
    original = chain(k3, ROW, *layers)
    model = keras3.bridge(original, HERE).model
    x = np.linspace(-9, 9, 40, dtype=np.float32).reshape(4, 10)
    ours, theirs = np.asarray(model(x)), np.asarray(original(x))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
