"""Activation functions as tables: LOGISTIC, TANH, RELU and their kin, SOFTMAX's exponential."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgepack.firmware.compiler import fixed_point
from edgepack.firmware.compiler.lower.kernel_call import (
    Array,
    KernelCall,
    call_name,
    factor,
    quantized,
)
from edgepack.firmware.compiler.model import Node
from edgepack.tflite.tensors import Tensor

_Q4_BITS = 4  # integer bits of the input of logistic and tanh
_SOFTMAX_BITS = 5  # integer bits of the exponential's input
_SOFTMAX_DEPTH = 4095  # the sum of exponentials has twelve integer bits


def lookup(op: Node, function: Callable[[int], int]) -> KernelCall:
    """Return the step that looks each byte up; ``function`` takes the byte's value."""
    source = op.input(0)
    if source.elements != op.output.elements:
        op.refuse(f"wanted {source.elements} elements", op.output)
    unsigned = source.dtype == "uint8"
    domain = range(256) if unsigned else range(-128, 128)
    values = np.array([function(x) for x in domain], np.int64)
    array = Array(
        f"{call_name(op)}_table", "int8_t", np.clip(values, -128, 127).astype(np.int8)
    )
    flip = "0" if unsigned else "128"
    call = f"ep_lookup({array.name}, {{in0}}, {{out0}}, {op.output.elements}, {flip});"
    return KernelCall(op, "elementwise", call, arrays=(array,), overwrites=(0,))


def _squashed(op: Node, *, tanh: bool) -> KernelCall:
    scale, zero = quantized(op, op.input(0))
    output = quantized(op, op.output)
    wanted = (1 / 128, 0) if tanh else (1 / 256, -128)
    if output != wanted:
        op.refuse(f"scale {output[0]}, zero point {output[1]}; wanted {wanted}", op.output)
    fraction, shift = math.frexp(scale * (1 << (31 - _Q4_BITS)))
    mantissa = math.floor(fraction * (1 << 31) + 0.5)
    radius = fixed_point.input_radius(_Q4_BITS, shift)

    def value(byte: int) -> int:
        x = byte - zero
        if abs(x) >= radius:
            return 127 if x > 0 else -128
        q4 = fixed_point.rescale(x, mantissa, shift)
        if tanh:
            return fixed_point.shift_right(fixed_point.tanh(q4, _Q4_BITS), 24)
        return fixed_point.shift_right(fixed_point.logistic(q4, _Q4_BITS), 23) - 128

    return lookup(op, value)


def logistic(op: Node) -> KernelCall:
    """LOGISTIC as a table."""
    return _squashed(op, tanh=False)


def tanh(op: Node) -> KernelCall:
    """TANH as a table."""
    return _squashed(op, tanh=True)


def relu(op: Node) -> KernelCall:
    """RELU, RELU6 or LEAKY_RELU that no layer before it took in."""
    scale, zero = quantized(op, op.input(0))
    out_scale, out_zero = quantized(op, op.output)
    if op.name == "RELU6":
        return lookup(op, _between(op, scale, zero))
    mantissa, shift = factor(op, scale / out_scale, op.output)

    def rescaled(x: int) -> int:
        return fixed_point.rescale(x - zero, mantissa // 2, shift) + out_zero

    if op.name == "RELU":
        return lookup(op, lambda x: max(rescaled(x), out_zero))
    alpha = np.float32(op.options["alpha"])
    slope = float(np.float32(scale) * alpha / np.float32(out_scale))
    if slope < 0:
        op.refuse(f"slope {alpha}; wanted none below zero", op.input(0))
    low_mantissa, low_shift = fixed_point.multiplier(slope)

    def leaky(x: int) -> int:
        if x >= zero:
            return rescaled(x)
        return fixed_point.rescale(x - zero, low_mantissa, low_shift) + out_zero

    return lookup(op, leaky)


def _between(op: Node, scale: float, zero: int) -> Callable[[int], int]:
    """Return what TFLM's RELU6 does: clamp, without any rescaling."""
    if quantized(op, op.output) != (scale, zero):
        op.refuse("wanted the scale and zero point of the input", op.output)
    six = min(127, zero + math.floor(float(np.float32(6.0) / np.float32(scale)) + 0.5))
    return lambda x: min(max(x, zero), six)


def hard_swish(op: Node) -> KernelCall:
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
            gate = fixed_point.shift_right(gate, -relu_exponent)
        gate = (gate + (1 << 15)) >> 1
        product = gate * swished
        halved = abs(product) >> 15
        y = fixed_point.shift_right(halved if product >= 0 else -halved, -out_exponent)
        return y + out_zero

    return lookup(op, value)


def _half(op: Node, real: float, tensor: Tensor) -> tuple[int, int]:
    """Return a multiplier with its mantissa in 16 bits."""
    mantissa, shift = factor(op, real, tensor)
    return min((mantissa // 2 + (1 << 15)) >> 16, 32767), shift


def _left_16(value: int, bits: int) -> int:
    return max(-32768, min(32767, value << bits))


def softmax(op: Node) -> KernelCall:
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
    steps = min(256, fixed_point.input_radius(_SOFTMAX_BITS, shift) + 1)
    table = [
        fixed_point.exp_of_negative(
            fixed_point.high_product(fixed_point.wrap(-i << shift), mantissa), _SOFTMAX_BITS
        )
        for i in range(steps)
    ]
    name = call_name(op)
    array = Array(f"{name}_exp", "int32_t", np.array(table, np.int32))
    fields = (
        ("exp", array.name),
        ("steps", str(steps)),
        ("rows", str(op.input(0).elements // depth)),
        ("depth", str(depth)),
    )
    call = f"ep_softmax_rows(&{name}, {{in0}}, {{out0}});"
    return KernelCall(op, "softmax", call, "ep_softmax", fields, (array,), overwrites=(0,))
