"""Functions of one byte, each as a table of 256: LOGISTIC, TANH, RELU and their kin."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgepack.firmware.compiler import fixed_point as fixed
from edgepack.firmware.compiler.graph import DType, Op, Tensor
from edgepack.firmware.compiler.lower.kernel_call import (
    Array,
    Step,
    factor,
    quantized,
    step_name,
)

_Q4_BITS = 4  # integer bits of the input of logistic and tanh


def _table(op: Op, function: Callable[[int], int]) -> Step:
    """Return the step that looks each byte up; ``function`` takes the byte's value."""
    source = op.input(0)
    if source.size != op.output.size:
        op.refuse(f"wanted {source.size} elements", op.output)
    unsigned = source.dtype is DType.UINT8
    domain = range(256) if unsigned else range(-128, 128)
    values = np.array([function(x) for x in domain], np.int64)
    array = Array(
        f"{step_name(op)}_table", "int8_t", np.clip(values, -128, 127).astype(np.int8)
    )
    flip = "0" if unsigned else "128"
    call = f"ep_lookup({array.name}, {{in0}}, {{out0}}, {op.output.size}, {flip});"
    return Step(op, "elementwise", call, arrays=(array,), overwrites=(0,))


def _squashed(op: Op, *, tanh: bool) -> Step:
    scale, zero = quantized(op, op.input(0))
    output = quantized(op, op.output)
    wanted = (1 / 128, 0) if tanh else (1 / 256, -128)
    if output != wanted:
        op.refuse(f"scale {output[0]}, zero point {output[1]}; wanted {wanted}", op.output)
    fraction, shift = math.frexp(scale * (1 << (31 - _Q4_BITS)))
    mantissa = math.floor(fraction * (1 << 31) + 0.5)
    radius = fixed.input_radius(_Q4_BITS, shift)

    def value(byte: int) -> int:
        x = byte - zero
        if abs(x) >= radius:
            return 127 if x > 0 else -128
        q4 = fixed.rescale(x, mantissa, shift)
        if tanh:
            return fixed.shift_right(fixed.tanh(q4, _Q4_BITS), 24)
        return fixed.shift_right(fixed.logistic(q4, _Q4_BITS), 23) - 128

    return _table(op, value)


def logistic(op: Op) -> Step:
    """LOGISTIC as a table."""
    return _squashed(op, tanh=False)


def tanh(op: Op) -> Step:
    """TANH as a table."""
    return _squashed(op, tanh=True)


def requantize(op: Op) -> Step:
    """QUANTIZE from bytes of one scale to bytes of another, or from unsigned ones."""
    source = op.input(0)
    kind = DType.UINT8 if source.dtype is DType.UINT8 else DType.INT8
    scale, zero = quantized(op, source, kind)
    out_scale, out_zero = quantized(op, op.output)
    mantissa, shift = factor(op, scale / out_scale, op.output)
    return _table(op, lambda x: fixed.rescale(x - zero, mantissa // 2, shift) + out_zero)


def relu(op: Op) -> Step:
    """RELU, RELU6 or LEAKY_RELU that no layer before it took in."""
    scale, zero = quantized(op, op.input(0))
    out_scale, out_zero = quantized(op, op.output)
    if op.name == "RELU6":
        return _table(op, _between(op, scale, zero))
    mantissa, shift = factor(op, scale / out_scale, op.output)

    def rescaled(x: int) -> int:
        return fixed.rescale(x - zero, mantissa // 2, shift) + out_zero

    if op.name == "RELU":
        return _table(op, lambda x: max(rescaled(x), out_zero))
    alpha = np.float32(op.options["alpha"])
    slope = float(np.float32(scale) * alpha / np.float32(out_scale))
    if slope < 0:
        op.refuse(f"slope {alpha}; wanted none below zero", op.input(0))
    low_mantissa, low_shift = fixed.multiplier(slope)

    def leaky(x: int) -> int:
        if x >= zero:
            return rescaled(x)
        return fixed.rescale(x - zero, low_mantissa, low_shift) + out_zero

    return _table(op, leaky)


def _between(op: Op, scale: float, zero: int) -> Callable[[int], int]:
    """Return what TFLM's RELU6 does: clamp, without any rescaling."""
    if quantized(op, op.output) != (scale, zero):
        op.refuse("wanted the scale and zero point of the input", op.output)
    six = min(127, zero + math.floor(float(np.float32(6.0) / np.float32(scale)) + 0.5))
    return lambda x: min(max(x, zero), six)


def hard_swish(op: Op) -> Step:
    """HARD_SWISH as a table, in the 16-bit steps of TFLM."""
    scale, zero = quantized(op, op.input(0))
    out_scale, out_zero = quantized(op, op.output)
    fine = float(np.float32(1.0 / 128.0) * np.float32(scale))
    out_mantissa, out_exponent = _half(op, fine / out_scale, op.output)
    relu_mantissa, relu_exponent = _half(
        op, fine / float(np.float32(3.0 / 32768.0)), op.input(0)
    )
    if out_exponent > 0:
        op.refuse("an output scale finer than the input's by 128", op.output)

    def value(byte: int) -> int:
        x = (byte - zero) * 128
        swished = (x * out_mantissa + (1 << 14)) >> 15
        gate = x
        if relu_exponent > 0:
            gate = _left_16(gate, relu_exponent - 1)
        gate = (gate * relu_mantissa + (1 << 14)) >> 15
        if relu_exponent > 0:
            gate = _left_16(gate, 1)
        if relu_exponent < 0:
            gate = fixed.shift_right(gate, -relu_exponent)
        gate = (gate + (1 << 15)) >> 1
        product = gate * swished
        halved = abs(product) >> 15
        y = fixed.shift_right(halved if product >= 0 else -halved, -out_exponent)
        return y + out_zero

    return _table(op, value)


def _half(op: Op, real: float, tensor: Tensor) -> tuple[int, int]:
    """Return a multiplier with its mantissa in 16 bits."""
    mantissa, shift = factor(op, real, tensor)
    return min((mantissa // 2 + (1 << 15)) >> 16, 32767), shift


def _left_16(value: int, bits: int) -> int:
    return max(-32768, min(32767, value << bits))
