"""Rules for op layers: what ``x + y`` or ``tf.reduce_mean(x)`` is as a Keras layer.

An operator stays as it is (None) where no layer does exactly the same.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from converters.graph import parts
from converters.graph.activations import activation
from converters.graph.arithmetic import (
    Bound,
    OpRule,
    add,
    divide,
    first,
    hard_swish,
    merged,
    multiply,
    number,
    subtract,
)
from converters.graph.walk import Rule, Site, is_tensor


def op_layer(site: Site) -> Any:
    """Return the layers that do what a TFOpLambda does, None where there are none."""
    rule = OPS.get(str(site.layer.symbol).rpartition(".")[2])
    if rule is None:
        return None
    try:
        bound = inspect.signature(site.layer.function).bind(*site.args, **site.kwargs)
    except TypeError:
        return None
    return rule(site, dict(bound.arguments))


def _act(name: str) -> OpRule:
    def rule(site: Site, bound: Bound) -> Any:
        return activation(site, name, first(bound))

    return rule


def _relu6(site: Site, bound: Bound) -> Any:
    return site.make("ReLU", max_value=6.0)(first(bound))


def _leaky(site: Site, bound: Bound) -> Any:
    return site.make("LeakyReLU", alpha=float(bound.get("alpha", 0.2)))(first(bound))


def _gelu(site: Site, bound: Bound) -> Any:
    return None if bound.get("approximate") else activation(site, "gelu", first(bound))


def _softmax(site: Site, bound: Bound) -> Any:
    axis = bound.get("axis")
    return site.make("Softmax", axis=-1 if axis is None else axis)(first(bound))


def _clip(site: Site, bound: Bound) -> Any:
    x, low, high = list(bound.values())[:3]
    low, high = number(low), number(high)
    if low is None or high is None or low.size * high.size != 1 or not low < high:
        return None
    bottom, top = float(low), float(high)
    if bottom:
        x = site.make("Rescaling", "from_zero", scale=1.0, offset=-bottom)(x)
    x = site.make("ReLU", "" if not bottom else "clip", max_value=top - bottom)(x)
    return site.make("Rescaling", "back", scale=1.0, offset=bottom)(x) if bottom else x


def _reduced(layer: str, suffix: str = "") -> OpRule:
    def rule(site: Site, bound: Bound) -> Any:
        x = first(bound)
        axes, rank = bound.get("axis"), len(x.shape)
        if axes is None:
            return None
        listed = sorted(int(axis) % rank for axis in np.ravel(np.asarray(axes)))
        if (rank, listed) not in ((4, [1, 2]), (3, [1])):
            return None
        kind = f"Global{layer}Pooling{rank - 2}D"
        return site.make(kind, suffix, keepdims=bool(bound.get("keepdims")))(x)

    return rule


def _sum(site: Site, bound: Bound) -> Any:
    mean = _reduced("Average", "mean")(site, bound)
    if mean is None:
        return None
    sides = first(bound).shape[1:-1]
    return site.make("Rescaling", scale=float(math.prod(sides)))(mean)


def _reshape(site: Site, bound: Bound) -> Any:
    """Return a Reshape where the batch stays the batch."""
    x, wanted = first(bound), tuple(site.output.shape)
    if wanted[0] is not None or None in wanted[1:] or None in tuple(x.shape)[1:]:
        return None
    if math.prod(wanted[1:]) != math.prod(x.shape[1:]):
        return None
    return site.make("Reshape", target_shape=wanted[1:])(x)


def _transpose(site: Site, bound: Bound) -> Any:
    order = bound.get("perm")
    if order is None or is_tensor(order) or int(np.asarray(order)[0]) != 0:
        return None
    return site.make("Permute", dims=tuple(int(axis) for axis in order[1:]))(first(bound))


def _concat(site: Site, bound: Bound) -> Any:
    parts, axis = bound.get("values", ()), bound.get("axis")
    if not isinstance(axis, int) or axis == 0 or not all(map(is_tensor, parts)):
        return None
    return site.make("Concatenate", axis=axis)(list(parts))


def _pad(site: Site, bound: Bound) -> Any:
    x, pads = first(bound), number(bound.get("paddings"))
    mode, value = str(bound.get("mode", "CONSTANT")), bound.get("constant_values", 0)
    if pads is None or mode.upper() != "CONSTANT" or value != 0 or pads[[0, -1]].any():
        return None
    sides = tuple((int(before), int(after)) for before, after in pads[1:-1])
    if len(sides) not in (1, 2):
        return None
    padding = sides[0] if len(sides) == 1 else sides
    return site.make(f"ZeroPadding{len(sides)}D", padding=padding)(x)


def _square(site: Site, bound: Bound) -> Any:
    return site.make("Multiply")([first(bound)] * 2)


def _negative(site: Site, bound: Bound) -> Any:
    return site.make("Rescaling", scale=-1.0)(first(bound))


def _nothing(site: Site, bound: Bound) -> Any:
    return first(bound)


def _cast(site: Site, bound: Bound) -> Any:
    x = first(bound)
    return x if x.dtype == site.output.dtype else None


def _unit(site: Site, bound: Bound) -> Any:
    if bound.get("epsilon", 1e-12) != 1e-12:  # the layer's
        return None
    axis = bound.get("axis")
    return None if axis is None else site.make("UnitNormalization", axis=axis)(first(bound))


OPS: dict[str, OpRule] = {
    "abs": _act("absolute"),
    "add": add,
    "cast": _cast,
    "clip_by_value": _clip,
    "concat": _concat,
    "divide": divide,
    "elu": _act("elu"),
    "exp": _act("exponential"),
    "expand_dims": _reshape,
    "gelu": _gelu,
    "identity": _nothing,
    "leaky_relu": _leaky,
    "l2_normalize": _unit,
    "matmul": parts.matmul,
    "maximum": merged("Maximum"),
    "minimum": merged("Minimum"),
    "multiply": multiply,
    "negative": _negative,
    "pad": _pad,
    "reduce_max": _reduced("Max"),
    "reduce_mean": _reduced("Average"),
    "reduce_sum": _sum,
    "relu": _act("relu"),
    "relu6": _relu6,
    "reshape": _reshape,
    "selu": _act("selu"),
    "sigmoid": _act("sigmoid"),
    "silu": _act("swish"),
    "softmax": _softmax,
    "softplus": _act("softplus"),
    "softsign": _act("softsign"),
    "split": parts.split,
    "sqrt": _act("square_root"),
    "square": _square,
    "squeeze": _reshape,
    "stop_gradient": _nothing,
    "subtract": subtract,
    "swish": _act("swish"),
    "tanh": _act("tanh"),
    "transpose": _transpose,
    "truediv": divide,
    "unstack": parts.unstack,
}
RULES: dict[str, Rule] = {
    "Multiply": hard_swish,
    "SlicingOpLambda": parts.slicing,
    "TFOpLambda": op_layer,
}
