"""Pooling, SOFTMAX, PAD, CONCATENATION, the border to floating point and mere new shapes."""

from __future__ import annotations

import math

import numpy as np

from edgepack.firmware.compiler import fixed_point as fixed
from edgepack.firmware.compiler.graph import DType, Op
from edgepack.firmware.compiler.lower.convolution import spatial
from edgepack.firmware.compiler.lower.kernel_call import (
    Array,
    Step,
    activation_range,
    batch_of_one,
    factor,
    quantized,
    short,
    step_name,
)

_SOFTMAX_BITS = 5  # integer bits of the exponential's input
_SOFTMAX_DEPTH = 4095  # the sum of exponentials has twelve integer bits


def pool(op: Op) -> Step:
    """AVERAGE_POOL_2D or MAX_POOL_2D."""
    _same_scale(op)
    kernel = int(op.options["filterHeight"]), int(op.options["filterWidth"])
    if min(kernel) < 1:
        op.refuse(f"window {kernel}; wanted at least 1 by 1", op.input(0))
    low, high = activation_range(op, op.output)
    channels = batch_of_one(op, op.input(0), 4)[2]
    if op.output.shape[3] != channels:
        op.refuse(f"wanted {channels} channels", op.output)
    fields = [f for f in spatial(op, kernel) if not f[0].startswith("dilation")]
    fields += [("channels", short(op, "channels", channels, op.output))]
    fields += [("low", str(low)), ("high", str(high))]
    which = "average" if op.name.startswith("AVERAGE") else "max"
    name = step_name(op)
    call = f"ep_{which}_pool(&{name}, {{in0}}, {{out0}});"
    return Step(op, "pool", call, "ep_pool", tuple(fields))


def _same_scale(op: Op) -> tuple[float, int]:
    found = quantized(op, op.input(0))
    if quantized(op, op.output) != found:
        op.refuse("wanted the scale and zero point of the input", op.output)
    return found


def softmax(op: Op) -> Step:
    """SOFTMAX over the last dimension; the exponentials of all 256 distances are a table."""
    scale, _ = quantized(op, op.input(0))
    if quantized(op, op.output) != (1 / 256, -128):
        op.refuse("wanted scale 1/256 and zero point -128", op.output)
    depth = op.input(0).shape[-1]
    if depth > _SOFTMAX_DEPTH:
        op.refuse(f"{depth} classes; the limit is {_SOFTMAX_DEPTH}", op.input(0))
    beta = float(np.float32(op.options["beta"]))
    real = min(beta * scale * (1 << (31 - _SOFTMAX_BITS)), (1 << 31) - 1.0)
    if real <= 1:
        op.refuse(f"beta {beta} with scale {scale}: too flat to compute", op.input(0))
    fraction, shift = math.frexp(real)
    mantissa = math.floor(fraction * (1 << 31) + 0.5)
    if mantissa == 1 << 31:
        mantissa, shift = mantissa // 2, shift + 1
    steps = min(256, fixed.input_radius(_SOFTMAX_BITS, shift) + 1)
    table = [
        fixed.exp_of_negative(
            fixed.high_product(fixed.wrap(-i << shift), mantissa), _SOFTMAX_BITS
        )
        for i in range(steps)
    ]
    name = step_name(op)
    array = Array(f"{name}_exp", "int32_t", np.array(table, np.int32))
    fields = (
        ("exp", array.name),
        ("steps", str(steps)),
        ("rows", str(op.input(0).size // depth)),
        ("depth", str(depth)),
    )
    call = f"ep_softmax_rows(&{name}, {{in0}}, {{out0}});"
    return Step(op, "softmax", call, "ep_softmax", fields, (array,), overwrites=(0,))


def reshape(op: Op) -> Step:
    """RESHAPE, EXPAND_DIMS or SQUEEZE: the same bytes under another shape."""
    if op.input(0).size != op.output.size or op.input(0).dtype is not op.output.dtype:
        op.refuse(f"wanted {op.input(0).size} elements of {op.input(0).dtype}", op.output)
    return Step(op, "", "", alias=True)


def quantize(op: Op) -> Step:
    """QUANTIZE from single precision to int8."""
    scale, zero = quantized(op, op.output)
    if op.input(0).size != op.output.size:
        op.refuse(f"wanted {op.input(0).size} elements", op.output)
    call = f"ep_quantize({{in0}}, {{out0}}, {op.output.size}, {float_literal(scale)}, {zero});"
    return Step(op, "move", call)


def dequantize(op: Op) -> Step:
    """DEQUANTIZE from int8 to single precision."""
    scale, zero = quantized(op, op.input(0))
    if op.output.dtype is not DType.FLOAT32 or op.input(0).size != op.output.size:
        op.refuse(f"wanted {op.input(0).size} elements of float32", op.output)
    call = (
        f"ep_dequantize({{in0}}, {{out0}}, {op.output.size}, {float_literal(scale)}, {zero});"
    )
    return Step(op, "move", call)


def float_literal(value: float) -> str:
    """Return ``value`` as a C literal that reads back to the same single precision bits."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if any(c in text for c in ".e") else f"{text}.0f"


def pad(op: Op) -> Step:
    """PAD or PADV2 of up to four dimensions."""
    _, zero = _same_scale(op)
    value = int(op.constant(2).reshape(-1)[0]) if op.name == "PADV2" else zero
    shape = op.input(0).shape
    amounts = op.constant(1).reshape(-1, 2)
    if len(shape) > 4 or len(amounts) != len(shape) or (amounts < 0).any():
        op.refuse(f"padding {amounts.tolist()} of {list(shape)}; the limit is 4 dimensions")
    grown = tuple(int(n + a + b) for n, (a, b) in zip(shape, amounts, strict=True))
    if grown != op.output.shape:
        op.refuse(f"wanted the shape {list(grown)}", op.output)
    missing = 4 - len(shape)
    name = step_name(op)
    fields = (
        ("in", _dims(op, (1,) * missing + shape)),
        ("before", _dims(op, (0,) * missing + tuple(int(a) for a, _ in amounts))),
        ("out", _dims(op, (1,) * missing + grown)),
        ("value", str(value)),
    )
    return Step(op, "move", f"ep_pad(&{name}, {{in0}}, {{out0}});", "ep_padding", fields)


def _dims(op: Op, values: tuple[int, ...]) -> str:
    return "{" + ", ".join(short(op, "dimension", v, op.input(0)) for v in values) + "}"


def concatenate(op: Op) -> Step:
    """CONCATENATION of tensors of one scale."""
    target = quantized(op, op.output)
    rank = len(op.output.shape)
    axis = int(op.options["axis"])
    axis += rank if axis < 0 else 0
    if not 0 <= axis < rank or int(op.options.get("fusedActivationFunction", 0)):
        op.refuse(f"axis {axis} or a fused activation; wanted neither odd", op.output)
    blocks = math.prod(op.output.shape[:axis])
    stride = math.prod(op.output.shape[axis:])
    offset, lines = 0, []
    for position in range(len(op.inputs)):
        tensor = op.input(position)
        if quantized(op, tensor) != target:
            op.refuse("wanted the scale and zero point of the output", tensor)
        run, rest = divmod(tensor.size, blocks)
        if rest or len(tensor.shape) != rank:
            op.refuse(f"does not fit {op.output} along axis {axis}", tensor)
        lines.append(
            f"ep_scatter({{in{position}}}, {{out0}} + {offset}, {blocks}, {run}, {stride});"
        )
        offset += run
    if offset != stride:
        op.refuse(f"the inputs fill {offset} of {stride} bytes", op.output)
    return Step(op, "move", "\n".join(lines))


def _middle(op: Op) -> tuple[int, int, int]:
    """Return a reduction's sizes before, within and after the dimensions it is over."""
    shape = op.input(0).shape
    axes = sorted({int(a) + (len(shape) if a < 0 else 0) for a in op.constant(1).reshape(-1)})
    if not axes or axes != list(range(axes[0], axes[-1] + 1)) or not 0 <= axes[-1] < len(shape):
        op.refuse(f"over dimensions {axes}; wanted neighbouring ones", op.input(0))
    outer, count = math.prod(shape[: axes[0]]), math.prod(shape[axes[0] : axes[-1] + 1])
    inner = math.prod(shape[axes[-1] + 1 :])
    if op.output.size != outer * inner:
        op.refuse(f"wanted {outer * inner} elements", op.output)
    return outer, count, inner


def reduce_max(op: Op) -> Step:
    """REDUCE_MAX over neighbouring dimensions."""
    _same_scale(op)
    outer, count, inner = _middle(op)
    return Step(op, "pool", f"ep_reduce_max({{in0}}, {{out0}}, {outer}, {count}, {inner});")


def mean(op: Op) -> Step:
    """MEAN over neighbouring dimensions, such as height and width."""
    scale, zero = quantized(op, op.input(0))
    out_scale, out_zero = quantized(op, op.output)
    outer, count, inner = _middle(op)
    doubled, shift = factor(op, scale / out_scale, op.output)
    spare = min(count.bit_length() - 1, 31 + shift)
    name = step_name(op)
    fields = (
        ("outer", str(outer)),
        ("count", str(count)),
        ("inner", str(inner)),
        ("in_zero", str(zero * count)),
        ("multiplier", str((doubled // 2 << spare) // count)),
        ("shift", str(shift - spare)),
        ("zero", str(out_zero)),
    )
    return Step(op, "pool", f"ep_mean(&{name}, {{in0}}, {{out0}});", "ep_average", fields)
