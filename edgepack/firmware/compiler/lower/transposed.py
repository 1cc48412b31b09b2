"""TRANSPOSE_CONV as a kernel call."""

from __future__ import annotations

import numpy as np

from edgepack.firmware.compiler.graph import Op
from edgepack.firmware.compiler.lower.kernel_call import (
    Array,
    Step,
    batch_of_one,
    short,
    step_name,
)
from edgepack.firmware.compiler.lower.weighted import layer, output_fields

_SOURCE = 2  # inputs: shape of the output, weights, data, bias


def transpose_conv(op: Op) -> Step:
    """TRANSPOSE_CONV of any stride."""
    filters = op.constant(1)
    if filters.ndim != 4:
        op.refuse("wanted weights of four dimensions", op.input(1))
    channels, kernel_h, kernel_w, depth = filters.shape
    in_h, in_w, in_c = batch_of_one(op, op.input(_SOURCE), 4)
    out_h, out_w, out_c = batch_of_one(op, op.output, 4)
    if (depth, channels) != (in_c, out_c):
        op.refuse(f"wanted {in_c} to {out_c} channels", op.input(1))
    numbers = {
        "in_h": in_h, "in_w": in_w, "in_c": in_c,
        "out_h": out_h, "out_w": out_w, "out_c": out_c,
        "kernel_h": kernel_h, "kernel_w": kernel_w,
    }  # fmt: skip
    sides = (
        ("h", in_h, out_h, kernel_h, "pad_top"), ("w", in_w, out_w, kernel_w, "pad_left")
    )  # fmt: skip
    for side, size, out, kernel, pad in sides:
        stride = int(op.options[f"stride{side.upper()}"])
        same = int(op.options["padding"]) == 0
        wanted = -(-out // stride) if same else -(-(out - kernel + 1) // stride)
        if stride < 1 or size != wanted:
            op.refuse(f"wanted {wanted} from an output of {out} along one side", op.output)
        numbers[f"stride_{side}"] = stride
        numbers[pad] = max(0, (size - 1) * stride + kernel - out) // 2
    whole = layer(
        op, filters.reshape(channels, -1), fold=False, per_channel=True, source=_SOURCE
    )
    name = step_name(op)
    weights = Array(f"{name}_weights", "int8_t", whole.weights.reshape(-1))
    bias = Array(f"{name}_bias", "int32_t", whole.bias.astype(np.int32))
    output, arrays = output_fields(name, whole, exact=True)
    return Step(
        op,
        "transpose_conv",
        f"ep_transpose_conv_run(&{name}, {{in{_SOURCE}}}, {{out0}});",
        "ep_transpose_conv",
        (
            ("weights", weights.name),
            ("bias", bias.name),
            output,
            *((k, short(op, k, v, op.output)) for k, v in numbers.items()),
            ("in_zero", str(whole.input_zero)),
        ),
        (weights, bias, *arrays),
    )
