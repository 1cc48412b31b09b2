"""QUANTIZE and DEQUANTIZE: the border to floating point, and from one scale to another."""

from __future__ import annotations

from edgepack.firmware.compiler import fixed_point
from edgepack.firmware.compiler.lower.activation import lookup
from edgepack.firmware.compiler.lower.kernel_call import (
    KernelCall,
    factor,
    float_literal,
    quantized,
)
from edgepack.firmware.compiler.model import Node


def quantize(op: Node) -> KernelCall:
    """QUANTIZE from single precision, or from bytes of another scale or without sign."""
    return _from_float(op) if op.input(0).dtype == "float32" else _requantize(op)


def _from_float(op: Node) -> KernelCall:
    scale, zero = quantized(op, op.output)
    if op.input(0).elements != op.output.elements:
        op.refuse(f"wanted {op.input(0).elements} elements", op.output)
    call = (
        f"ep_quantize({{in0}}, {{out0}}, {op.output.elements}, {float_literal(scale)}, {zero});"
    )
    return KernelCall(op, "move", call)


def _requantize(op: Node) -> KernelCall:
    source = op.input(0)
    kind = "uint8" if source.dtype == "uint8" else "int8"
    scale, zero = quantized(op, source, kind)
    out_scale, out_zero = quantized(op, op.output)
    mantissa, shift = factor(op, scale / out_scale, op.output)
    return lookup(op, lambda x: fixed_point.rescale(x - zero, mantissa // 2, shift) + out_zero)


def dequantize(op: Node) -> KernelCall:
    """DEQUANTIZE from int8 to single precision."""
    scale, zero = quantized(op, op.input(0))
    if op.output.dtype != "float32" or op.input(0).elements != op.output.elements:
        op.refuse(f"wanted {op.input(0).elements} elements of float32", op.output)
    numbers = f"{op.output.elements}, {float_literal(scale)}, {zero}"
    call = f"ep_dequantize({{in0}}, {{out0}}, {numbers});"
    return KernelCall(op, "move", call)
