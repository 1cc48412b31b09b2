"""CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV, and the windows shared with pooling."""

from __future__ import annotations

import numpy as np

from edgepack.firmware.compiler.lower.fully_connected import dense_call
from edgepack.firmware.compiler.lower.kernel_call import (
    Array,
    KernelCall,
    batch_of_one,
    call_name,
    short,
)
from edgepack.firmware.compiler.lower.weights import (
    WORD_BYTES,
    QuantizedWeights,
    filled_up,
    grouped,
    layer,
    output_fields,
)
from edgepack.firmware.compiler.model import Node


def padding(op: Node, size: int, out: int, reach: int, stride: int) -> int:
    """Return how many rows or columns lie before the picture; checks ``out``."""
    same = int(op.options["padding"]) == 0
    wanted = -(-size // stride) if same else -(-(size - reach + 1) // stride)
    if out != wanted or wanted < 1:
        op.refuse(f"wanted an output of {wanted} from {size} along one side", op.output)
    return max(0, (out - 1) * stride + reach - size) // 2


def spatial(op: Node, kernel: tuple[int, int]) -> list[tuple[str, str]]:
    """Return the fields that place a window over a picture, checked."""
    height, width, _ = batch_of_one(op, op.input(0), 4)
    out_h, out_w, _ = batch_of_one(op, op.output, 4)
    numbers = {
        "in_h": height,
        "in_w": width,
        "out_h": out_h,
        "out_w": out_w,
        "kernel_h": kernel[0],
        "kernel_w": kernel[1],
    }
    for side, size, out, taps in (
        ("h", height, out_h, kernel[0]),
        ("w", width, out_w, kernel[1]),
    ):
        stride = int(op.options[f"stride_{side}"])
        dilation = int(op.options.get(f"dilation_{side}", 1))
        if stride < 1 or dilation < 1:
            op.refuse(f"stride {stride}, dilation {dilation}; wanted at least 1", op.output)
        where = {"h": "pad_top", "w": "pad_left"}[side]
        numbers[f"stride_{side}"] = stride
        numbers[f"dilation_{side}"] = dilation
        numbers[where] = padding(op, size, out, (taps - 1) * dilation + 1, stride)
    return [(k, short(op, k, v, op.output)) for k, v in numbers.items()]


def conv(op: Node) -> KernelCall:
    """CONV_2D, as a dense layer where there is only one output pixel and no padding."""
    filters = op.constant(1)
    if filters.ndim != 4:
        op.refuse("wanted weights of four dimensions", op.input(1))
    channels, kernel_h, kernel_w, depth = filters.shape
    height, width, in_c = batch_of_one(op, op.input(0), 4)
    if depth != in_c:
        op.refuse(f"{in_c} input channels in groups of {depth}; wanted one group", op.input(1))
    if batch_of_one(op, op.output, 4)[2] != channels:
        op.refuse(f"wanted {channels} output channels", op.output)
    fields = spatial(op, (kernel_h, kernel_w))
    whole = layer(op, filters.reshape(channels, -1), fold=True, per_channel=True)
    undilated = all(("dilation_" + side, "1") in fields for side in "hw")
    if op.output.shape[:3] == (1, 1, 1) and undilated and (height, width) == filters.shape[1:3]:
        return dense_call(op, whole, 1)
    return _conv(op, whole, fields, in_c)


def _conv(
    op: Node, whole: QuantizedWeights, fields: list[tuple[str, str]], in_c: int
) -> KernelCall:
    name = call_name(op)
    weights = Array(f"{name}_weights", "ep_word", grouped(whole.weights, 2))
    bias = Array(f"{name}_bias", "int32_t", filled_up(whole.bias, 2).astype(np.int32))
    output, arrays = output_fields(name, whole, 2)
    words = -(-whole.weights.shape[1] // WORD_BYTES)
    fields = [
        ("weights", weights.name),
        ("bias", bias.name),
        output,
        *fields,
        ("in_c", short(op, "channels", in_c, op.input(0))),
        ("out_c", short(op, "channels", len(whole.weights), op.output)),
        ("words", short(op, "weights of a channel, in words,", words, op.input(1))),
        ("in_zero", str(whole.input_zero)),
    ]
    return KernelCall(
        op,
        "conv",
        f"ep_conv_{whole.kind}(&{name}, {{in0}}, {{out0}}, {{scratch}});",
        "ep_conv",
        tuple(fields),
        (weights, bias, *arrays),
        scratch_bytes=(5 * words + 1) * WORD_BYTES,
    )


def depthwise(op: Node) -> KernelCall:
    """DEPTHWISE_CONV_2D; over a single input channel it is a CONV_2D."""
    filters = op.constant(1)
    if filters.ndim != 4 or filters.shape[0] != 1:
        op.refuse("wanted weights of shape (1, height, width, channels)", op.input(1))
    _, kernel_h, kernel_w, channels = filters.shape
    in_c = batch_of_one(op, op.input(0), 4)[2]
    if batch_of_one(op, op.output, 4)[2] != channels or channels % in_c:
        op.refuse(f"wanted {channels} output channels, a multiple of {in_c}", op.output)
    fields = spatial(op, (kernel_h, kernel_w))
    taps = filters.reshape(-1, channels).T  # (channels, taps)
    if in_c == 1:
        whole = layer(op, taps, fold=True, per_channel=True)
        return _conv(op, whole, fields, 1)
    whole = layer(op, taps, fold=False, per_channel=True)
    step = _depthwise3(op, whole, dict(fields)) if channels == in_c else None
    if step is not None:
        return step
    name = call_name(op)
    weights = Array(
        f"{name}_weights", "int8_t", np.ascontiguousarray(whole.weights.T).reshape(-1)
    )
    bias = Array(f"{name}_bias", "int32_t", whole.bias.astype(np.int32))
    output, arrays = output_fields(name, whole)
    return KernelCall(
        op,
        "depthwise",
        f"ep_depthwise_{whole.kind}(&{name}, {{in0}}, {{out0}});",
        "ep_depthwise",
        (
            ("weights", weights.name),
            ("bias", bias.name),
            output,
            *fields,
            ("channels", short(op, "channels", channels, op.output)),
            ("multiplier", str(channels // in_c)),
            ("in_zero", str(whole.input_zero)),
        ),
        (weights, bias, *arrays),
    )


def _depthwise3(op: Node, whole: QuantizedWeights, fields: dict[str, str]) -> KernelCall | None:
    """Return the call of the 3 by 3 kernel, or None where it does not fit."""
    stride = int(fields["stride_h"])
    fits = (
        fields["kernel_h"] == fields["kernel_w"] == "3"
        and fields["dilation_h"] == fields["dilation_w"] == "1"
        and fields["stride_h"] == fields["stride_w"]
        and stride in {1, 2}
        and int(fields["pad_left"]) in {0, 1}
    )
    if not fits:
        return None
    name = call_name(op)
    channels = len(whole.weights)
    rows = np.zeros((channels, 3, WORD_BYTES), np.int8)
    rows[:, :, :3] = whole.weights.reshape(channels, 3, 3)
    weights = Array(f"{name}_weights", "ep_word", rows.view("<u4").reshape(-1))
    bias = Array(f"{name}_bias", "int32_t", whole.bias.astype(np.int32))
    output, arrays = output_fields(name, whole)
    out_w = int(fields["out_w"])
    plane = out_w + out_w % 2 + 2 if stride == 1 else 2 * out_w + 2
    names = ("in_h", "in_w", "out_h", "out_w", "pad_top", "pad_left")
    return KernelCall(
        op,
        "depthwise3",
        f"ep_depthwise3_{whole.kind}(&{name}, {{in0}}, {{out0}}, {{scratch}});",
        "ep_depthwise3",
        (
            ("weights", weights.name),
            ("bias", bias.name),
            output,
            *((key, fields[key]) for key in names),
            ("channels", short(op, "channels", channels, op.output)),
            ("stride", str(stride)),
            ("in_zero", str(whole.input_zero)),
            ("plane", short(op, "width of a plane", plane, op.output)),
        ),
        (weights, bias, *arrays),
        scratch_bytes=3 * 4 * plane * 2,
    )


_TRANSPOSED_DATA = 2  # inputs: shape of the output, weights, data, bias


def transpose_conv(op: Node) -> KernelCall:
    """TRANSPOSE_CONV of any stride."""
    filters = op.constant(1)
    if filters.ndim != 4:
        op.refuse("wanted weights of four dimensions", op.input(1))
    channels, kernel_h, kernel_w, depth = filters.shape
    in_h, in_w, in_c = batch_of_one(op, op.input(_TRANSPOSED_DATA), 4)
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
        stride = int(op.options[f"stride_{side}"])
        same = int(op.options["padding"]) == 0
        wanted = -(-out // stride) if same else -(-(out - kernel + 1) // stride)
        if stride < 1 or size != wanted:
            op.refuse(f"wanted {wanted} from an output of {out} along one side", op.output)
        numbers[f"stride_{side}"] = stride
        numbers[pad] = max(0, (size - 1) * stride + kernel - out) // 2
    whole = layer(
        op, filters.reshape(channels, -1), fold=False, per_channel=True, source=_TRANSPOSED_DATA
    )
    name = call_name(op)
    weights = Array(f"{name}_weights", "int8_t", whole.weights.reshape(-1))
    bias = Array(f"{name}_bias", "int32_t", whole.bias.astype(np.int32))
    output, arrays = output_fields(name, whole, exact=True)
    return KernelCall(
        op,
        "transpose_conv",
        f"ep_transpose_conv_run(&{name}, {{in{_TRANSPOSED_DATA}}}, {{out0}});",
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
