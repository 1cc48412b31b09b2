"""Sums and products of tensors and numbers as Keras layers, hard-swish among them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from converters.graph.walk import Site, feeds, is_tensor, producer

Bound = dict[str, Any]  # an operator's arguments by name
OpRule = Callable[[Site, Bound], Any]


def first(bound: Bound) -> Any:
    """Return the operand that comes first."""
    return next(iter(bound.values()))


def number(value: Any) -> Any:
    """Return a constant operand as a float or an array, None if it is no constant."""
    if is_tensor(value) or value is None or isinstance(value, str):
        return None
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind in "fiu" else None


def operands(bound: Bound) -> tuple[Any, Any]:
    """Return the first two operands."""
    left, right = list(bound.values())[:2]
    return left, right


def _scalar(left: Any, right: Any) -> tuple[Any, float | None]:
    """Return (tensor, number) where the right side is one number."""
    value = number(right)
    one = value is not None and value.size == 1 and is_tensor(left)
    return left, float(value.item()) if one else None


def add(site: Site, bound: Bound) -> Any:
    """Return ``left + right`` as a layer."""
    left, right = operands(bound)
    for x, other in ((left, right), (right, left)):
        _, value = _scalar(x, other)
        if value is not None:
            return site.make("Rescaling", scale=1.0, offset=value)(x)
    return _merge("Add", left, right, site)


def subtract(site: Site, bound: Bound) -> Any:
    """Return ``left - right`` as a layer."""
    left, right = operands(bound)
    x, value = _scalar(left, right)
    if value is not None:
        return site.make("Rescaling", scale=1.0, offset=-value)(x)
    x, value = _scalar(right, left)
    if value is not None:
        return site.make("Rescaling", scale=-1.0, offset=value)(x)
    return _merge("Subtract", left, right, site)


def multiply(site: Site, bound: Bound) -> Any:
    """Return ``left * right`` as a layer."""
    left, right = operands(bound)
    for x, other in ((left, right), (right, left)):
        _, value = _scalar(x, other)
        if value is not None:
            return _scaled(site, x, value)
    return _merge("Multiply", left, right, site)


def divide(site: Site, bound: Bound) -> Any:
    """Return ``x / number`` as a layer; nothing divides by a tensor in int8."""
    x, value = _scalar(*operands(bound))
    if not value:
        return None
    return _scaled(site, x, 1 / value)


def _scaled(site: Site, x: Any, scale: float) -> Any:
    made = _hard_swish_scaled(site, x, scale)
    return site.make("Rescaling", scale=scale)(x) if made is None else made


def _merge(kind: str, left: Any, right: Any, site: Site) -> Any:
    if not (is_tensor(left) and is_tensor(right)) or len(left.shape) != len(right.shape):
        return None
    return site.make(kind)([left, right])


def merged(kind: str) -> OpRule:
    """Return the rule for a layer that merges two tensors of one rank."""
    return lambda site, bound: _merge(kind, *operands(bound), site)


def hard_swish(site: Site) -> Any:
    """Return one hard-swish where a Multiply joins ``x`` and ``relu6(x + 3) / 6``."""
    pair = site.args[0]
    for x, gate in (pair, pair[::-1]) if len(pair) == 2 else ():
        if _is_line(gate, 1 / 6, 0.0) and _is_gate(feeds(gate)[0], x):
            return site.make("Activation", activation="hard_swish")(x)
    return None


def _hard_swish_scaled(site: Site, product: Any, scale: float) -> Any:
    """Return one hard-swish for ``(x * relu6(x + 3)) / 6``."""
    if not math.isclose(scale, 1 / 6, rel_tol=1e-6):
        return None
    if type(producer(product)).__name__ != "Multiply":
        return None
    pair = feeds(product)
    for x, gate in (pair, pair[::-1]) if len(pair) == 2 else ():
        if _is_gate(gate, x):
            return site.make("Activation", activation="hard_swish")(x)
    return None


def _is_gate(tensor: Any, x: Any) -> bool:
    """Tell whether ``tensor`` is ``relu6(x + 3)``."""
    relu = producer(tensor)
    if type(relu).__name__ != "ReLU" or relu.max_value is None:
        return False
    plain = float(relu.max_value) == 6 and not float(relu.negative_slope)
    moved = feeds(tensor)[0]
    return plain and _is_line(moved, 1.0, 3.0) and feeds(moved)[0] is x


def _is_line(tensor: Any, scale: float, offset: float) -> bool:
    layer = producer(tensor)
    if type(layer).__name__ != "Rescaling" or np.size(layer.scale) * np.size(layer.offset) != 1:
        return False
    near = np.isclose(np.float64(layer.scale), scale, rtol=1e-6)
    return bool(near and float(layer.offset) == offset)
