"""Rules for op layers: ``x + y``, ``tf.split`` or ``tf.reduce_mean(x)`` as Keras layers.

An operator stays as it is (None) where no layer does exactly the same. Sums and products come
first, hard-swish among them, then what takes tensors apart, then the table of them all.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import numpy as np

from converters.graph.activations import activation
from converters.graph.walk import RewriteRule, Site, feeds, is_tensor, producer

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


#: More matrix products than these make a file that no small device takes.
MOST_PRODUCTS = 16


def slice_axis(site: Site, x: Any, axis: int, ends: tuple[int, int], name: str) -> Any:
    """Return ``x`` between two ``ends`` of an axis that is not the batch.

    A Cropping layer for images cuts two axes of four, so others are laid together first.
    """
    sizes, (start, stop) = tuple(x.shape[1:]), ends
    size = sizes[axis - 1]
    square = (prod(sizes[: axis - 1]), size, prod(sizes[axis:]))
    cut = ((0, 0), (start, size - stop))
    if sizes != square:
        x = site.make("Reshape", f"{name}_flat", target_shape=square)(x)
    x = site.make("Cropping2D", f"{name}_cut", cropping=cut)(x)
    shape = (*sizes[: axis - 1], stop - start, *sizes[axis:])
    return site.make("Reshape", name, target_shape=shape)(x)


def _known(x: Any, axis: Any) -> int | None:
    """Return ``axis`` counted from the front, None if ``x`` cannot be cut there."""
    if not is_tensor(x) or not isinstance(axis, int | np.integer) or None in x.shape[1:]:
        return None
    return int(axis) % len(x.shape) or None


def split(site: Site, bound: Bound) -> Any:
    """Return the parts of tf.split, each cut out."""
    x, sizes = operands(bound)
    axis = _known(x, bound.get("axis", 0))
    wanted = number(sizes)
    if axis is None or wanted is None or (wanted < 0).any():
        return None
    if wanted.ndim == 0:
        wanted = np.full(int(wanted), x.shape[axis] // int(wanted))
    ends = [0, *accumulate(int(size) for size in wanted)]
    return [
        slice_axis(site, x, axis, pair, f"part_{at}") for at, pair in enumerate(pairwise(ends))
    ]


def unstack(site: Site, bound: Bound) -> Any:
    """Return the parts of tf.unstack, without the axis."""
    x = next(iter(bound.values()))
    axis = _known(x, bound.get("axis", 0))
    if axis is None:
        return None
    sizes = (*x.shape[1:axis], *x.shape[axis + 1 :])
    made = []
    for at in range(x.shape[axis]):
        one = slice_axis(site, x, axis, (at, at + 1), f"part_{at}")
        made.append(site.make("Reshape", f"only_{at}", target_shape=sizes)(one))
    return made


def slicing(site: Site) -> Any:
    """Return Cropping layers for ``x[...]`` without strides; a number takes its axis away."""
    x, *cuts = site.args
    sides = _sides(x, cuts[0]) if len(cuts) == 1 and is_tensor(x) else None
    if sides is None:
        return None
    rank, middle = len(x.shape), sides[1:-1]
    if rank in (3, 4) and sides[-1] == (0, 0):
        cropping = middle[0] if rank == 3 else tuple(middle)
        x = site.make(f"Cropping{rank - 2}D", cropping=cropping)(x)
    else:
        for axis, (start, end) in enumerate(sides):
            if start or end:
                x = slice_axis(site, x, axis, (start, x.shape[axis] - end), f"cut_{axis}")
    wanted = tuple(site.output.shape[1:])
    if tuple(x.shape[1:]) == wanted:
        return x
    return site.make("Reshape", "without", target_shape=wanted)(x)


def _sides(x: Any, cuts: Any) -> list[tuple[int, int]] | None:
    """Return how much each axis loses before and behind, None where that is not all."""
    cuts = list(cuts) if isinstance(cuts, list | tuple) else [cuts]
    if Ellipsis in [cut for cut in cuts if not isinstance(cut, dict)]:
        at = cuts.index(Ellipsis)
        whole = {"start": None, "stop": None, "step": None}
        cuts[at : at + 1] = [whole] * (len(x.shape) - len(cuts) + 1)
    sides = []
    for size, cut in zip(x.shape, cuts, strict=False):
        if isinstance(cut, int) and size is not None:
            sides.append((cut % size, size - 1 - cut % size))
            continue
        if not isinstance(cut, dict) or any(is_tensor(value) for value in cut.values()):
            return None
        whole_axis = cut["start"] in (None, 0) and cut["stop"] is None
        if cut["step"] not in (None, 1) or (size is None and not whole_axis):
            return None
        start, stop, _ = slice(cut["start"], cut["stop"]).indices(size or 0)
        sides.append((0, 0) if whole_axis else (start, size - max(start, stop)))
    sides += [(0, 0)] * (len(x.shape) - len(sides))
    known = None not in x.shape[1:] and len(cuts) <= len(x.shape)
    return sides if known and sides[0] == (0, 0) else None


def matmul(site: Site, bound: Bound) -> Any:
    """Return a Dense layer for a constant kernel, a Dot layer for each pair of matrices."""
    left, right = operands(bound)
    turned = [bool(bound.get(name)) for name in ("transpose_a", "transpose_b")]
    kernel = number(right)
    if kernel is not None and kernel.ndim == 2 and is_tensor(left) and not turned[0]:
        kernel = kernel.T if turned[1] else kernel
        dense = site.make("Dense", "", [kernel], units=kernel.shape[1], use_bias=False)
        return dense(left)
    if not (is_tensor(left) and is_tensor(right)) or len(left.shape) != len(right.shape):
        return None
    axes = (1 if turned[0] else 2, 2 if turned[1] else 1)
    if len(left.shape) == 3:
        return site.make("Dot", axes=axes)([left, right])
    if len(left.shape) != 4 or left.shape[1] != right.shape[1]:
        return None
    if None in (*left.shape[1:], *right.shape[1:]) or left.shape[1] > MOST_PRODUCTS:
        return None
    made = []
    for at in range(left.shape[1]):
        pair = []
        for x, name in ((left, "left"), (right, "right")):
            one = slice_axis(site, x, 1, (at, at + 1), f"{name}_{at}")
            shape = tuple(x.shape[2:])
            pair.append(site.make("Reshape", f"{name}_{at}_matrix", target_shape=shape)(one))
        product = site.make("Dot", f"product_{at}", axes=axes)(pair)
        shape = (1, *product.shape[1:])
        made.append(site.make("Reshape", f"product_{at}_row", target_shape=shape)(product))
    return site.make("Concatenate", "", axis=1)(made) if len(made) > 1 else made[0]


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
    "matmul": matmul,
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
    "split": split,
    "sqrt": _act("square_root"),
    "square": _square,
    "squeeze": _reshape,
    "stop_gradient": _nothing,
    "subtract": subtract,
    "swish": _act("swish"),
    "tanh": _act("tanh"),
    "transpose": _transpose,
    "truediv": divide,
    "unstack": unstack,
}
RULES: dict[str, RewriteRule] = {
    "Multiply": hard_swish,
    "SlicingOpLambda": slicing,
    "TFOpLambda": op_layer,
}
