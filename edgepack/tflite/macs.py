"""Multiply-accumulates of one operator, from its shapes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from edgepack.tflite.tensors import Tensor


def macs(
    name: str,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
    options: Mapping[str, Any],
) -> int:
    """Return the multiply-accumulates of one inference; 0 for operators without a product.

    Zeros are counted too: no dense kernel skips them. A dynamic dimension counts as 1.
    """
    count = _COUNTERS.get(name)
    shapes = [tensor.shape if tensor else () for tensor in inputs]
    if count is None or not outputs or not shapes or not shapes[0]:
        return 0
    return count(shapes, outputs[0].shape, options)


def _conv(shapes: list[tuple[int, ...]], out: tuple[int, ...], _: Mapping[str, Any]) -> int:
    # filter (OC, kh, kw, IC/groups): each output value sums one filter
    return prod(out) * prod(shapes[1][1:]) if len(shapes) > 1 else 0


def _depthwise(
    shapes: list[tuple[int, ...]], out: tuple[int, ...], _: Mapping[str, Any]
) -> int:
    # filter (1, kh, kw, OC): each output value sums kh * kw products
    return prod(out) * prod(shapes[1][1:3]) if len(shapes) > 1 else 0


def _dense(shapes: list[tuple[int, ...]], out: tuple[int, ...], _: Mapping[str, Any]) -> int:
    # weights (OC, IC)
    return prod(out) * shapes[1][-1] if len(shapes) > 1 and shapes[1] else 0


def _matmul(
    shapes: list[tuple[int, ...]], out: tuple[int, ...], options: Mapping[str, Any]
) -> int:
    if len(shapes[0]) < 2:
        return 0
    return prod(out) * shapes[0][-2 if options.get("adj_x") else -1]


def _transpose_conv(
    shapes: list[tuple[int, ...]], out: tuple[int, ...], _: Mapping[str, Any]
) -> int:
    # inputs: output shape, filter (OC, kh, kw, IC), activations (N, h, w, IC)
    return prod(shapes[2]) * prod(shapes[1][:-1]) if len(shapes) > 2 else 0


def _conv3d(shapes: list[tuple[int, ...]], out: tuple[int, ...], _: Mapping[str, Any]) -> int:
    # filter (kd, kh, kw, IC, OC)
    return prod(out) * prod(shapes[1][:-1]) if len(shapes) > 1 else 0


def _svdf(shapes: list[tuple[int, ...]], out: tuple[int, ...], _: Mapping[str, Any]) -> int:
    # feature weights (filters, features), time weights (filters, memory)
    batch = shapes[0][0]
    return batch * sum(prod(shape) for shape in shapes[1:3])


def _lstm(shapes: list[tuple[int, ...]], out: tuple[int, ...], _: Mapping[str, Any]) -> int:
    # inputs 1-8 are the gates' matrices; each is used once a time step and a batch row
    steps = prod(shapes[0][:-1])
    return steps * sum(prod(shape) for shape in shapes[1:9] if len(shape) == 2)


_COUNTERS = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "BATCH_MATMUL": _matmul,
    "TRANSPOSE_CONV": _transpose_conv,
    "CONV_3D": _conv3d,
    "SVDF": _svdf,
    "LSTM": _lstm,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
}
