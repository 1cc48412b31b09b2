"""Twelve small architectures, each with what one rule of the channel graph is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _image(k: Any) -> Any:
    return k.Input((8, 8, 3))


def _norm(k: Any, x: Any) -> Any:
    return k.layers.ReLU()(k.layers.BatchNormalization()(x))


def _head(k: Any, x: Any) -> Any:
    return k.layers.Dense(4)(k.layers.GlobalAveragePooling2D()(x))


def plain(k: Any) -> Any:
    inputs = _image(k)
    x = _norm(k, k.layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs))
    x = k.layers.MaxPooling2D()(k.layers.Conv2D(24, 3, activation="relu")(x))
    return k.Model(inputs, _head(k, k.layers.Conv2D(16, 1, activation="swish")(x)))


def residual(k: Any) -> Any:
    inputs = _image(k)
    x = _norm(k, k.layers.Conv2D(16, 3, padding="same")(inputs))
    for strides in (1, 2):
        y = _norm(k, k.layers.Conv2D(24, 3, padding="same", strides=strides)(x))
        y = k.layers.BatchNormalization()(k.layers.Conv2D(16, 3, padding="same")(y))
        short = x if strides == 1 else k.layers.Conv2D(16, 1, strides=2)(x)
        x = k.layers.ReLU()(k.layers.Add()([y, short]))
    return k.Model(inputs, _head(k, x))


def dense_block(k: Any) -> Any:
    inputs = _image(k)
    x = k.layers.Conv2D(16, 3, padding="same")(inputs)
    for _ in range(3):
        y = k.layers.Conv2D(8, 3, padding="same")(_norm(k, x))
        x = k.layers.Concatenate()([x, y])
    return k.Model(inputs, _head(k, _norm(k, x)))


def mobilenet(k: Any) -> Any:
    inputs = _image(k)
    x = _norm(k, k.layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs))
    x = _norm(k, k.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x))
    x = _norm(k, k.layers.Conv2D(24, 1)(x))
    x = _norm(k, k.layers.SeparableConv2D(16, 3, padding="same")(x))
    return k.Model(inputs, _head(k, x))


def inverted_residual(k: Any) -> Any:
    inputs = _image(k)
    x = _norm(k, k.layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs))
    y = _norm(k, k.layers.Conv2D(48, 1, use_bias=False)(x))
    y = _norm(k, k.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y))
    y = k.layers.BatchNormalization()(k.layers.Conv2D(16, 1, use_bias=False)(y))
    return k.Model(inputs, _head(k, k.layers.Add()([x, y])))


def squeeze_excite(k: Any) -> Any:
    inputs = _image(k)
    x = _norm(k, k.layers.Conv2D(24, 3, padding="same")(inputs))
    gate = k.layers.Reshape((1, 1, 24))(k.layers.GlobalAveragePooling2D()(x))
    gate = k.layers.Conv2D(8, 1, activation="relu")(gate)
    gate = k.layers.Conv2D(24, 1, activation="sigmoid")(gate)
    return k.Model(inputs, _head(k, k.layers.Multiply()([x, gate])))


def transposed(k: Any) -> Any:
    inputs = _image(k)
    x = _norm(k, k.layers.Conv2D(16, 3, padding="same", strides=2)(inputs))
    x = _norm(k, k.layers.Conv2DTranspose(24, 3, strides=2, padding="same")(x))
    return k.Model(inputs, k.layers.Conv2D(3, 3, padding="same")(x))


def flatten_dense(k: Any) -> Any:
    inputs = _image(k)
    x = k.layers.Conv2D(16, 3, strides=2)(inputs)
    x = k.layers.Flatten()(k.layers.PReLU(shared_axes=[1, 2])(x))
    x = k.layers.Dense(36, activation="relu")(x)
    x = k.layers.Conv2D(8, 2)(k.layers.Reshape((3, 3, 4))(x))
    return k.Model(inputs, k.layers.Dense(4)(k.layers.Reshape((-1,))(x)))


def two_outputs(k: Any) -> Any:
    """One tensor read by two heads, and one layer used twice."""
    inputs = _image(k)
    trunk = _norm(k, k.layers.Conv2D(16, 3, padding="same")(inputs))
    shared = k.layers.Conv2D(16, 1, activation="relu")
    once = shared(trunk)
    twice = shared(once)
    far = k.layers.Dense(2)(k.layers.GlobalMaxPooling2D()(once))
    return k.Model(inputs, [_head(k, twice), far])


def conv1d(k: Any) -> Any:
    inputs = k.Input((32, 2))
    x = _norm(k, k.layers.Conv1D(16, 5, padding="causal")(inputs))
    x = k.layers.MaxPooling1D()(k.layers.Conv1D(24, 3, dilation_rate=2)(x))
    x = k.layers.Conv1DTranspose(16, 3, activation="tanh")(x)
    return k.Model(inputs, k.layers.Dense(3)(k.layers.GlobalAveragePooling1D()(x)))


def mlp(k: Any) -> Any:
    inputs = k.Input((20,))
    x = _norm(k, k.layers.Dense(40)(inputs))
    x = k.layers.Dropout(0.2)(k.layers.Dense(24, activation="relu")(x))
    return k.Model(inputs, k.layers.Dense(3)(x))


def joined_branches(k: Any) -> Any:
    """A concatenation added to one tensor: halves of that follow different branches."""
    inputs = _image(k)
    sides = [k.layers.Conv2D(16, n, padding="same", activation="relu")(inputs) for n in (1, 3)]
    x = k.layers.Add()(
        [k.layers.Concatenate()(sides), k.layers.Conv2D(32, 1, use_bias=False)(inputs)]
    )
    return k.Model(inputs, _head(k, k.layers.UpSampling2D()(x)))


ALL: tuple[Callable[[Any], Any], ...] = (
    *(plain, residual, dense_block, mobilenet, inverted_residual, squeeze_excite),
    *(transposed, flatten_dense, two_outputs, conv1d, mlp, joined_branches),
)


def trained_looking(build: Callable[[Any], Any], k: Any, seed: int = 0) -> Any:
    """Return the model with every weight drawn, BatchNormalization's statistics too."""
    model, rng = build(k), np.random.default_rng(seed)
    drawn = []
    for variable in model.variables:
        shape = tuple(variable.shape)
        value = rng.normal(0, 0.3, shape)
        if "variance" in variable.name:
            value = rng.uniform(0.5, 2, shape)
        elif "gamma" in variable.name:
            value = rng.uniform(0.5, 1.5, shape)
        drawn.append(value.astype(np.float32))
    for variable, value in zip(model.variables, drawn, strict=True):
        variable.assign(value)
    return model
