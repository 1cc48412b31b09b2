"""ADD, SUB, MUL, MAXIMUM, MINIMUM and PRELU: two tensors, the smaller one repeated."""

from __future__ import annotations

import math

from edgepack.firmware.compiler.lower.kernel_call import (
    KernelCall,
    activation_range,
    call_name,
    factor,
    quantized,
)
from edgepack.firmware.compiler.model import Node

_ADD_BITS = 20  # more bits for the sum, as TFLM's int8 ADD has


def _repetition(op: Node) -> tuple[tuple[tuple[str, str], ...], tuple[str, str]]:
    """Return the fields that say how the smaller input repeats, and the inputs' order."""
    first, second = op.input(0), op.input(1)
    order = ("{in0}", "{in1}")
    if first.elements < second.elements:
        first, second, order = second, first, ("{in1}", "{in0}")
    if first.shape != op.output.shape:
        op.refuse("wanted the shape of the larger input", op.output)
    shape = (1,) * (len(first.shape) - len(second.shape)) + second.shape
    kept = [i for i, n in enumerate(shape) if n != 1]
    start, end = (kept[0], kept[-1] + 1) if kept else (len(shape), len(shape))
    if len(shape) != len(first.shape) or shape[start:end] != first.shape[start:end]:
        op.refuse(f"cannot repeat {list(second.shape)} along {list(first.shape)}", second)
    fields = (
        ("count", str(first.elements)),
        ("repeat", str(second.elements)),
        ("hold", str(math.prod(first.shape[end:]))),
    )
    return fields, order


def _numbers(values: tuple[int, ...]) -> str:
    return "{" + ", ".join(str(v) for v in values) + "}"


def _words(values: tuple[int, ...]) -> str:
    return "{" + ", ".join(f"{v}u" for v in values) + "}"


def add(op: Node) -> KernelCall:
    """ADD or SUB of two tensors, or of a tensor and one that repeats along it."""
    repetition, order = _repetition(op)
    swapped = order[0] == "{in1}"
    if swapped and op.name == "SUB":
        op.refuse("the larger tensor has to come first", op.input(0))
    tensors = (op.input(1), op.input(0)) if swapped else (op.input(0), op.input(1))
    (scale_a, zero_a), (scale_b, zero_b) = (quantized(op, t) for t in tensors)
    scale_out, zero_out = quantized(op, op.output)
    widest = 2 * max(scale_a, scale_b)
    factors = [
        factor(op, scale_a / widest, tensors[0]),
        factor(op, scale_b / widest, tensors[1]),
        factor(op, widest / ((1 << _ADD_BITS) * scale_out), op.output),
    ]
    if any(shift > 0 for _, shift in factors):
        op.refuse(f"scale {scale_out}; the limit is 2**-19 of the inputs'", op.output)
    low, high = activation_range(op, op.output)
    name = call_name(op)
    fields = (
        ("multiplier", _words(tuple(m for m, _ in factors))),
        ("right", _numbers(tuple(-s for _, s in factors))),
        ("zero", _numbers((zero_a, zero_b, zero_out))),
        ("low", str(low)),
        ("high", str(high)),
        ("sign", "-1" if op.name == "SUB" else "1"),
        *repetition,
    )
    call = f"ep_add(&{name}, {order[0]}, {order[1]}, {{out0}});"
    return KernelCall(op, "elementwise", call, "ep_sum", fields, overwrites=_overwrites(op))


def multiply(op: Node) -> KernelCall:
    """MUL of two tensors, or of a tensor and one that repeats along it."""
    repetition, order = _repetition(op)
    tensors = (op.input(0), op.input(1))
    if order[0] == "{in1}":
        tensors = tensors[::-1]
    (scale_a, zero_a), (scale_b, zero_b) = (quantized(op, t) for t in tensors)
    scale_out, zero_out = quantized(op, op.output)
    mantissa, shift = factor(op, scale_a * scale_b / scale_out, op.output)
    low, high = activation_range(op, op.output)
    name = call_name(op)
    fields = (
        ("multiplier", f"{mantissa}u"),
        ("shift", str(shift)),
        ("zero", _numbers((zero_a, zero_b, zero_out))),
        ("low", str(low)),
        ("high", str(high)),
        *repetition,
    )
    call = f"ep_multiply(&{name}, {order[0]}, {order[1]}, {{out0}});"
    return KernelCall(op, "elementwise", call, "ep_product", fields, overwrites=_overwrites(op))


def extreme(op: Node) -> KernelCall:
    """MAXIMUM or MINIMUM of two tensors of one scale."""
    repetition, order = _repetition(op)
    target = quantized(op, op.output)
    for position in (0, 1):
        if quantized(op, op.input(position)) != target:
            op.refuse("wanted the scale and zero point of the output", op.input(position))
    numbers = ", ".join(value for _, value in repetition)
    sign = 1 if op.name == "MAXIMUM" else -1
    call = f"ep_extreme({order[0]}, {order[1]}, {{out0}}, {numbers}, {sign});"
    return KernelCall(op, "elementwise", call, overwrites=_overwrites(op))


def prelu(op: Node) -> KernelCall:
    """PRELU with a slope a channel, or any that repeats along the input."""
    repetition, order = _repetition(op)
    if order[0] != "{in0}":
        op.refuse("more slopes than inputs", op.input(1))
    (scale, zero), (slope_scale, slope_zero) = (quantized(op, op.input(i)) for i in (0, 1))
    out_scale, out_zero = quantized(op, op.output)
    factors = (
        factor(op, scale / out_scale, op.output),
        factor(op, scale * slope_scale / out_scale, op.output),
    )
    fields = (
        ("multiplier", _words(tuple(m for m, _ in factors))),
        ("shift", _numbers(tuple(s for _, s in factors))),
        ("zero", _numbers((zero, slope_zero, out_zero))),
        *repetition,
    )
    call = f"ep_prelu(&{call_name(op)}, {{in0}}, {{in1}}, {{out0}});"
    return KernelCall(op, "elementwise", call, "ep_slope", fields, overwrites=(0,))


def _overwrites(op: Node) -> tuple[int, ...]:
    """Inputs as large as the output: each byte is read before it is written."""
    return tuple(i for i in (0, 1) if op.input(i).nbytes == op.output.nbytes)
