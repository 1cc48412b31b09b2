"""Keras 3 operators in a functional graph (``x + y``, ``ops.mean(x)``) in tf_keras.

Where a layer does the same it is used, because TFMOT handles layers and not operators; the
rest become tf operators, which tf_keras records as op layers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from converters.errors import quote, refusal
from converters.reading import keras3_activations

Translation = Callable[[Any, Any, Any], Any]  # (tf module, operator, call arguments) -> tensor


def call(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], source: Path) -> Any:
    """Return what ``operation`` gives on tf_keras tensors.

    Raises:
        ModelRefused: an operator without a row below, by name.
    """
    from converters.keras2 import tf

    kind = type(operation).__name__
    rule = RULES.get(kind)
    if rule is None or not type(operation).__module__.startswith("keras.src.ops."):
        raise refusal(
            source,
            wanted="operators that tf_keras has too",
            got=f"operator {quote(operation.name)} ({quote(kind)})",
            do="replace it by a Keras layer, or save the model from tf_keras",
        )
    return rule(tf, operation, [*args, *kwargs.values()])


def _merge(layer: str, operator: str) -> Translation:
    """Return a rule for two operands: a merge layer where both are tensors of one shape."""

    def rule(tf: Any, op: Any, args: Any) -> Any:
        from converters.keras2 import keras

        left, right = args
        tensors = [hasattr(side, "_keras_history") for side in args]
        if layer and all(tensors) and tuple(left.shape) == tuple(right.shape):
            return getattr(keras.layers, layer)(name=op.name)([left, right])
        return _function(tf, operator)(left, right)

    return rule


def _function(tf: Any, path: str) -> Any:
    for part in path.split("."):
        tf = getattr(tf, part)
    return tf


def _unary(path: str) -> Translation:
    return lambda tf, op, args: _function(tf, path)(args[0])


def _reduce(path: str) -> Translation:
    def rule(tf: Any, op: Any, args: Any) -> Any:
        return _function(tf, path)(args[0], axis=op.axis, keepdims=bool(op.keepdims))

    return rule


def _mean(tf: Any, op: Any, args: Any) -> Any:
    from converters.keras2 import keras

    axis = op.axis if isinstance(op.axis, (tuple, list)) else (op.axis,)
    if len(args[0].shape) == 4 and tuple(axis) in ((1, 2), (-3, -2)):
        pool = keras.layers.GlobalAveragePooling2D(keepdims=bool(op.keepdims), name=op.name)
        return pool(args[0])
    return _reduce("math.reduce_mean")(tf, op, args)


def _activation(name: str, setting: str = "", default: Any = None) -> Translation:
    def rule(tf: Any, op: Any, args: Any) -> Any:
        if setting and getattr(op, setting) != default:
            raise NotImplementedError(f"{setting}={getattr(op, setting)!r}")
        return keras3_activations.apply(name, args[0], op.name)

    return rule


def _leaky_relu(tf: Any, op: Any, args: Any) -> Any:
    from converters.keras2 import keras

    return keras.layers.LeakyReLU(alpha=op.negative_slope, name=op.name)(args[0])


def _softmax(tf: Any, op: Any, args: Any) -> Any:
    from converters.keras2 import keras

    return keras.layers.Softmax(axis=op.axis, name=op.name)(args[0])


def _reshape(tf: Any, op: Any, args: Any) -> Any:
    from converters.keras2 import keras

    shape = tuple(op.newshape)
    if shape[0] not in (-1, None):
        raise NotImplementedError(f"a reshape that fixes the batch size: {shape}")
    if -1 in shape[1:] and shape[0] == -1:
        raise NotImplementedError(f"a reshape with two free sides: {shape}")
    return keras.layers.Reshape(shape[1:], name=op.name)(args[0])


def _transpose(tf: Any, op: Any, args: Any) -> Any:
    from converters.keras2 import keras

    if not op.axes or op.axes[0] != 0:
        raise NotImplementedError(f"a transpose that moves the batch: {op.axes}")
    return keras.layers.Permute(tuple(op.axes[1:]), name=op.name)(args[0])


def _concatenate(tf: Any, op: Any, args: Any) -> Any:
    from converters.keras2 import keras

    return keras.layers.Concatenate(axis=op.axis, name=op.name)(args[0])


def _item(tf: Any, op: Any, args: Any) -> Any:
    key = args[1]
    return args[0][tuple(key) if isinstance(key, list) else key]


def _split(tf: Any, op: Any, args: Any) -> Any:
    if not isinstance(op.indices_or_sections, int):
        raise NotImplementedError("a split at given places")
    return tf.split(args[0], op.indices_or_sections, axis=op.axis)


# Operators Keras 3 writes down for masks it computes on the side; the bridge skips them.
MASKS = frozenset({"Any", "NotEqual"})

RULES: dict[str, Translation] = {
    "Abs": _unary("math.abs"),
    "Absolute": _unary("math.abs"),
    "Add": _merge("Add", "math.add"),
    "Cast": lambda tf, op, args: tf.cast(args[0], op.dtype),
    "Clip": lambda tf, op, args: tf.clip_by_value(args[0], op.x_min, op.x_max),
    "Concatenate": _concatenate,
    "Divide": _merge("", "math.divide"),
    "Einsum": lambda tf, op, args: tf.einsum(op.subscripts, *args),
    "Elu": _activation("elu", "alpha", 1.0),
    "Erf": _unary("math.erf"),
    "Exp": _unary("math.exp"),
    "ExpandDims": lambda tf, op, args: tf.expand_dims(args[0], op.axis),
    "Gelu": lambda tf, op, args: tf.nn.gelu(args[0], approximate=op.approximate),
    "GetItem": _item,
    "HardSigmoid": _activation("hard_sigmoid"),
    "HardSilu": _activation("hard_silu"),
    "HardTanh": _activation("hard_tanh"),
    "LeakyRelu": _leaky_relu,
    "Log": _unary("math.log"),
    "LogSigmoid": _activation("log_sigmoid"),
    "LogSoftmax": _activation("log_softmax", "axis", -1),
    "Matmul": _merge("", "linalg.matmul"),
    "Max": _reduce("math.reduce_max"),
    "Maximum": _merge("Maximum", "math.maximum"),
    "Mean": _mean,
    "Min": _reduce("math.reduce_min"),
    "Minimum": _merge("Minimum", "math.minimum"),
    "Multiply": _merge("Multiply", "math.multiply"),
    "Negative": _unary("math.negative"),
    "Power": _merge("", "math.pow"),
    "Reciprocal": _unary("math.reciprocal"),
    "Relu": _activation("relu"),
    "Relu6": _activation("relu6"),
    "Reshape": _reshape,
    "Rsqrt": _unary("math.rsqrt"),
    "Selu": _activation("selu"),
    "Sigmoid": _activation("sigmoid"),
    "Silu": _activation("silu"),
    "Softmax": _softmax,
    "Softplus": _activation("softplus"),
    "Softsign": _activation("softsign"),
    "Split": _split,
    "Sqrt": _unary("math.sqrt"),
    "Square": _unary("math.square"),
    "Squeeze": lambda tf, op, args: tf.squeeze(args[0], op.axis),
    "Stack": lambda tf, op, args: tf.stack(args[0], axis=op.axis),
    "Subtract": _merge("Subtract", "math.subtract"),
    "Sum": _reduce("math.reduce_sum"),
    "Tanh": _activation("tanh"),
    "Transpose": _transpose,
    "TrueDivide": _merge("", "math.divide"),
}
