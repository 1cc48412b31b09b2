"""UNIDIRECTIONAL_SEQUENCE_LSTM as a kernel call."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgepack.firmware.compiler import fixed_point
from edgepack.firmware.compiler.lower.kernel_call import (
    Array,
    KernelCall,
    call_name,
    factor,
    quantized,
    short,
)
from edgepack.firmware.compiler.lower.weights import filled_up, grouped, read_bias
from edgepack.firmware.compiler.model import Node

# Inputs of the operator (tensorflow/lite/kernels/lstm_shared.h). The gates' order is the
# operator's own: input, forget, cell, output.
_GATES = ("input", "forget", "cell", "output")
_INPUT_WEIGHTS, _STATE_WEIGHTS, _BIAS = 1, 5, 12
_STATE, _CELL = 18, 19
_LEFT_OUT = {
    **dict.fromkeys((9, 10, 11), "a peephole"),
    **dict.fromkeys((16, 17), "a projection"),
    **dict.fromkeys((20, 21, 22, 23), "layer normalization"),
}
_TANH = 4  # the only fused activation TFLM's converter gives an LSTM
_GATE_SCALE, _ONE_SCALE = 2.0**-12, 2.0**-15


def sigmoid_table() -> NDArray[np.uint16]:
    """Return the logistic function at 0, 1/24, 2/24 …, with 16 bits after the point.

    Each point lies half the sagitta of its chords too high, so that straight lines between
    them err as much above as below; the last is saturated. A test holds it against TFLM's
    16-bit LOGISTIC and TANH for every input.
    """
    step = 1 / 24
    value = 1 / (1 + np.exp(-step * np.arange(256)))
    bend = value * (1 - value) * np.abs(1 - 2 * value)
    table: NDArray[np.float64] = np.floor(65536 * (value + step**2 / 16 * bend) + 0.5)
    table[-1] = 65535
    return table.astype(np.uint16)


def lstm(op: Node) -> KernelCall:
    """An LSTM without peepholes, projection or layer normalization, batch 1."""
    for position, what in _LEFT_OUT.items():
        if (tensor := op.optional(position)) is not None:
            op.refuse(f"{what} has no C kernel", tensor)
    code = int(op.options.get("activation", _TANH))
    if code != _TANH:
        op.refuse(f"fused activation {code}; wanted tanh ({_TANH})")
    _, input_zero = quantized(op, op.input(0))
    state_scale, state_zero = quantized(op, op.input(_STATE))
    cell_scale, cell_zero = quantized(op, op.input(_CELL), "int16")
    quantized(op, op.output)  # TFLM copies the state's bytes, whatever scale the output has
    if cell_zero:
        op.refuse(f"zero point {cell_zero}; wanted 0", op.input(_CELL))
    steps, inputs, units = _sizes(op)
    power = math.log2(cell_scale)
    if abs(power - round(power)) > 1e-3:
        op.refuse(f"scale {cell_scale}; wanted a power of two", op.input(_CELL))
    name = call_name(op)
    table = Array(f"{name}_sigmoid", "uint16_t", sigmoid_table())
    arrays = [table]
    fields = []
    for number, gate in enumerate(_GATES):
        text, made = _gate(op, number, gate, (inputs, units), (input_zero, state_zero))
        fields.append((gate, text))
        arrays += made
    products = [
        factor(op, _ONE_SCALE * cell_scale / cell_scale, op.input(_CELL)),
        factor(op, _ONE_SCALE * _ONE_SCALE / cell_scale, op.input(_CELL)),
        factor(op, _ONE_SCALE * _ONE_SCALE / state_scale, op.output),
    ]
    clip = float(np.float32(op.options.get("cell_clip", 0.0)))
    left = 12 + round(power)
    fields += [
        ("sigmoid", table.name),
        ("multiplier", "{" + ", ".join(f"{m}u" for m, _ in products) + "}"),
        ("shift", "{" + ", ".join(str(s) for _, s in products) + "}"),
        ("tanh_multiplier", short(op, "tanh multiplier", 3 << max(left, 0), op.input(_CELL))),
        ("tanh_shift", str(max(-left, 0))),
        ("clip", str(int(min(clip / cell_scale, 32767.0)))),
        ("zero", str(state_zero)),
        ("steps", short(op, "time steps", steps, op.input(0))),
        ("inputs", short(op, "inputs", inputs, op.input(0))),
        ("units", short(op, "units", units, op.output)),
    ]
    call = (
        f"ep_lstm_run(&{name}, {{in0}}, {{in{_STATE}}}, {{in{_CELL}}}, {{out0}}, "
        "(ep_half *){scratch});"
    )
    return KernelCall(
        op, "lstm", call, "ep_lstm", tuple(fields), tuple(arrays), scratch_bytes=8 * units
    )


def _sizes(op: Node) -> tuple[int, int, int]:
    shape = op.input(0).shape
    if len(shape) != 3:
        op.refuse("wanted (batch, steps, features)", op.input(0))
    batch, steps, inputs = shape
    if op.options.get("time_major"):
        batch, steps = steps, batch
    if batch != 1:
        op.refuse(f"batch {batch}; the limit is 1", op.input(0))
    units = op.input(_STATE).elements
    for position in (_STATE, _CELL):
        if not op.input(position).variable or op.input(position).elements != units:
            op.refuse(f"wanted a variable of {units} values", op.input(position))
    if op.output.elements != steps * units:
        op.refuse(f"wanted {steps} by {units} values", op.output)
    return steps, inputs, units


def _gate(
    op: Node, number: int, gate: str, sizes: tuple[int, int], zeros: tuple[int, int]
) -> tuple[str, list[Array]]:
    """Return the ``ep_gate`` of one gate and its arrays; products of input, then of state."""
    units = sizes[1]
    name = f"{call_name(op)}_{gate}"
    sources = (op.input(0), op.input(_STATE))
    arrays, factors = [], []
    for part, first in enumerate((_INPUT_WEIGHTS, _STATE_WEIGHTS)):
        tensor = op.input(first + number)
        weights = op.constant(first + number)
        if weights.dtype != np.int8 or weights.shape != (units, sizes[part]):
            op.refuse(f"wanted int8 weights of {[units, sizes[part]]}", tensor)
        scale, zero = quantized(op, tensor)
        if zero:
            op.refuse("weights with a zero point; wanted symmetric int8", tensor)
        bias = read_bias(op, _BIAS + number, units) if part == 0 else np.zeros(units, np.int64)
        total = weights.astype(np.int64)
        bias = bias - zeros[part] * total.sum(axis=1)
        reach = int((np.abs(bias) + 128 * np.abs(total).sum(axis=1)).max())
        if reach > fixed_point.INT32_MAX:
            op.refuse(f"sums may reach {reach}; the limit is {fixed_point.INT32_MAX}", tensor)
        label = ("input", "state")[part]
        arrays += [
            Array(f"{name}_{label}_weights", "ep_word", grouped(weights, 2)),
            Array(f"{name}_{label}_bias", "int32_t", filled_up(bias, 2).astype(np.int32)),
        ]
        product = sources[part].scales[0] * scale
        factors.append(factor(op, product / _GATE_SCALE, tensor))
    text = (
        f"{{{{{arrays[0].name}, {arrays[2].name}}}, {{{arrays[1].name}, {arrays[3].name}}}, "
        f"{{{factors[0][0]}u, {factors[1][0]}u}}, {{{factors[0][1]}, {factors[1][1]}}}}}"
    )
    return text, arrays
