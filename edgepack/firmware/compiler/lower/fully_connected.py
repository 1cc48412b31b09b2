"""FULLY_CONNECTED as a kernel call, also for convolutions of one output pixel."""

from __future__ import annotations

import numpy as np

from edgepack.firmware.compiler.lower.kernel_call import (
    Array,
    KernelCall,
    call_name,
    short,
)
from edgepack.firmware.compiler.lower.weights import (
    QuantizedWeights,
    filled_up,
    grouped,
    layer,
    output_fields,
)
from edgepack.firmware.compiler.model import Node


def dense(op: Node) -> KernelCall:
    """FULLY_CONNECTED over any number of rows."""
    filters = op.constant(1)
    if int(op.options.get("weights_format", 0)) != 0:
        op.refuse("shuffled weights; wanted the default format", op.input(1))
    if filters.ndim != 2:
        op.refuse("wanted weights of two dimensions", op.input(1))
    channels, inputs = filters.shape
    rows, rest = divmod(op.input(0).elements, inputs)
    if rest or rows * channels != op.output.elements:
        op.refuse(f"weights are {inputs} to {channels}", op.input(0))
    return dense_call(op, layer(op, filters, fold=True, per_channel=False), rows)


def dense_call(op: Node, whole: QuantizedWeights, rows: int) -> KernelCall:
    """Return the call that multiplies ``rows`` rows with the weights of a layer."""
    name = call_name(op)
    channels, inputs = whole.weights.shape
    weights = Array(f"{name}_weights", "ep_word", grouped(whole.weights, 4))
    bias = Array(f"{name}_bias", "int32_t", filled_up(whole.bias, 4).astype(np.int32))
    output, arrays = output_fields(name, whole)
    fields = (
        ("weights", weights.name),
        ("bias", bias.name),
        output,
        ("rows", short(op, "rows", rows, op.input(0))),
        ("inputs", short(op, "inputs", inputs, op.input(0))),
        ("channels", short(op, "channels", channels, op.output)),
        ("step", "1" if len(whole.mantissas) > 1 else "0"),
    )
    return KernelCall(
        op,
        "dense",
        f"ep_dense_{whole.kind}(&{name}, {{in0}}, {{out0}});",
        "ep_dense",
        fields,
        (weights, bias, *arrays),
    )
