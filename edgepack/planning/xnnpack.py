"""What XNNPACK keeps besides the arena: repacked weights, and tables of pointers.

Bounds, from the layouts in XNNPACK's src/packing.cc and src/indirection.c: weights padded
to 16 output channels and 16 inputs with a bias and a scale a channel; one pointer a kernel
tap for every output pixel of a convolution.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgepack.planning.arena import align
from edgepack.tflite.facts import Facts, Op
from edgepack.tflite.tensors import Tensor


def kept_bytes(facts: Facts, taken: Iterable[int], pointer: int) -> int:
    """Return what XNNPACK allocates for the operators that it takes."""
    chosen = set(taken)
    return sum(_of(op, facts, pointer) for op in facts.main.ops if op.index in chosen)


def _of(op: Op, facts: Facts, pointer: int) -> int:
    inputs, outputs = facts.feeds(op), facts.yields(op)
    weights = inputs[1] if len(inputs) > 1 else None
    if weights is None or not weights.shape or not outputs:
        return 0
    if op.name in ("FULLY_CONNECTED", "BATCH_MATMUL"):
        channels = weights.shape[0] if op.name == "FULLY_CONNECTED" else weights.shape[-1]
        return _packed(channels, weights)
    if len(weights.shape) != 4 or len(outputs[0].shape) != 4:
        return 0
    data = inputs[0]
    depthwise = op.name == "DEPTHWISE_CONV_2D"
    if depthwise and data is not None and data.shape[-1:] != (1,):
        return _depthwise(op, weights, outputs[0], pointer)
    if depthwise or op.name in ("CONV_2D", "TRANSPOSE_CONV"):  # one group: a convolution
        packed = _packed(weights.shape[3 if depthwise else 0], weights)
        return packed + _pointers(op, weights, outputs[0], pointer)
    return 0


def _packed(channels: int, weights: Tensor) -> int:
    unit = 4 if weights.dtype == "float32" else 1
    inputs = weights.elements // max(1, channels)
    return align(channels, 16) * (align(inputs, 16) * unit + 16) + 64


def _pointers(op: Op, weights: Tensor, out: Tensor, pointer: int) -> int:
    _, height, width, _ = weights.shape
    strided = op.options.get("stride_w", 1) > 1 or op.options.get("stride_h", 1) > 1
    if height == width == 1 and not strided and op.name == "CONV_2D":
        return 0
    return pointer * height * width * (out.shape[1] * out.shape[2] + 16)


def _depthwise(op: Op, weights: Tensor, out: Tensor, pointer: int) -> int:
    _, height, width, channels = weights.shape
    unit = 4 if weights.dtype == "float32" else 1
    packed = align(channels, 32) * (align(height * width, 9) * unit + 16) + 64
    step: int = min(width, max(1, op.options["stride_w"]))
    taps = height * width + (out.shape[2] - 1) * height * step
    return packed + pointer * out.shape[1] * taps
