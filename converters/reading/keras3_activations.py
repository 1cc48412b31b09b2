"""Keras 3 activations as tf_keras layers; two of the same name are not the same function.

tf_keras' ``hard_sigmoid`` is clip(0.2 x + 0.5), Keras 3's is relu6(x + 3) / 6, so a name is
never carried over without having been checked. Sources: tf_keras/src/activations.py 2.21
and keras/src/activations/activations.py 3.15.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# The same function under the same name in both, or the tf_keras name of it.
NATIVE = {
    "elu": "elu",
    "celu": "elu",  # with alpha = 1, the default of both
    "exponential": "exponential",
    "gelu": "gelu",
    "linear": "linear",
    "mish": "mish",
    "relu": "relu",
    "selu": "selu",
    "sigmoid": "sigmoid",
    "silu": "swish",
    "softmax": "softmax",
    "softplus": "softplus",
    "softsign": "softsign",
    "swish": "swish",
    "tanh": "tanh",
}


def apply(name: str, x: Any, layer_name: str) -> Any:
    """Return the activation ``name`` of the tf_keras tensor ``x``, made of built-in layers.

    Raises:
        NotImplementedError: an activation without a row here.
    """
    from converters.keras2 import keras

    if name in NATIVE:
        return keras.layers.Activation(NATIVE[name], name=layer_name)(x)
    if name not in _MADE:
        raise NotImplementedError(f"activation {name!r} has no counterpart")
    return _MADE[name](x, layer_name)


def _relu6(x: Any, name: str) -> Any:
    from converters.keras2 import keras

    return keras.layers.ReLU(max_value=6.0, name=name)(x)


def _leaky_relu(x: Any, name: str) -> Any:
    from converters.keras2 import keras

    return keras.layers.LeakyReLU(alpha=0.2, name=name)(x)  # Keras 3's default slope


def _hard_sigmoid(x: Any, name: str) -> Any:
    from converters.keras2 import keras

    x = keras.layers.Rescaling(1.0, offset=3.0, name=f"{name}_plus_3")(x)
    x = keras.layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x)
    return keras.layers.Rescaling(1.0 / 6.0, name=name)(x)


def _hard_silu(x: Any, name: str) -> Any:
    from converters.keras2 import keras

    return keras.layers.Multiply(name=name)([x, _hard_sigmoid(x, f"{name}_gate")])


def _log_softmax(x: Any, name: str) -> Any:
    from converters.keras2 import tf

    return tf.nn.log_softmax(x, axis=-1)


def _log_sigmoid(x: Any, name: str) -> Any:
    from converters.keras2 import tf

    return tf.math.log_sigmoid(x)


def _hard_tanh(x: Any, name: str) -> Any:
    from converters.keras2 import tf

    return tf.clip_by_value(x, -1.0, 1.0)


def _tanh_shrink(x: Any, name: str) -> Any:
    from converters.keras2 import tf

    return x - tf.math.tanh(x)


def _squareplus(x: Any, name: str) -> Any:
    from converters.keras2 import tf

    return (x + tf.math.sqrt(x * x + 4.0)) / 2.0


_MADE: dict[str, Callable[[Any, str], Any]] = {
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": _hard_silu,
    "hard_swish": _hard_silu,
    "log_softmax": _log_softmax,
    "log_sigmoid": _log_sigmoid,
    "hard_tanh": _hard_tanh,
    "tanh_shrink": _tanh_shrink,
    "squareplus": _squareplus,
}
