"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED as kernel calls, weights arranged for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.micro import fixed
from edgepack.micro.graph import DType, Op, Tensor
from edgepack.micro.step import (
    Array,
    Step,
    activation_range,
    batch_of_one,
    quantized,
    short,
    step_name,
)

WORD_BYTES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Weights as ``(channels, taps)`` int8 with everything that turns sums into bytes."""

    weights: NDArray[np.int8]
    bias: NDArray[np.int64]
    mantissas: NDArray[np.uint32]
    shifts: NDArray[np.int8]
    input_zero: int
    output_zero: int
    low: int
    high: int

    @property
    def fast(self) -> bool:
        """Whether each channel only shifts right and the full int8 range is kept."""
        return bool((self.shifts < 0).all()) and (self.low, self.high) == (-128, 127)

    @property
    def kind(self) -> str:
        """Suffix of the kernel that fits."""
        return "fast" if self.fast else "exact"


def grouped(weights: NDArray[np.int8], group: int) -> NDArray[np.uint32]:
    """Return ``(channels, taps)`` as the words of ep_dot.h, ``group`` channels in turn.

    Channels left over form a last group of four where there are three, else of two.
    """
    channels = len(weights)
    whole = channels - channels % group
    rest = channels - whole
    parts = [_in_turn(weights[:whole], group)] if whole else []
    parts += [_in_turn(weights[whole:], 4 if rest > 2 else 2)] if rest else []
    return np.concatenate(parts)


def _in_turn(weights: NDArray[np.int8], group: int) -> NDArray[np.uint32]:
    channels, taps = weights.shape
    rows, words = -(-channels // group) * group, -(-taps // WORD_BYTES)
    padded = np.zeros((rows, words * WORD_BYTES), np.int8)
    padded[:channels, :taps] = weights
    blocks = padded.reshape(-1, group, words, WORD_BYTES).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(blocks).view("<u4").reshape(-1)


def filled_up(values: NDArray[Any], group: int) -> NDArray[Any]:
    """Return ``values`` with zeros behind them up to a multiple of ``group``."""
    return np.concatenate([values, np.zeros(-len(values) % group, values.dtype)])


def read_bias(op: Op, position: int, channels: int) -> NDArray[np.int64]:
    """Return the bias, zeros where the model has none."""
    tensor = op.optional(position)
    if tensor is None:
        return np.zeros(channels, np.int64)
    if tensor.dtype is not DType.INT32 or tensor.size != channels:
        op.refuse(f"wanted a bias of {channels} int32", tensor)
    return op.constant(position).reshape(-1).astype(np.int64)


def layer(op: Op, weights: NDArray[np.int8], *, fold: bool, per_tensor_float: bool) -> Layer:
    """Return the numbers of a weighted operator whose sums run over ``weights[c]``.

    ``fold`` takes the input's zero point into the bias. ``per_tensor_float``: a single scale
    is multiplied in single precision, as TFLM's fully-connected does.
    """
    channels = len(weights)
    filters = op.input(1)
    input_scale, input_zero = quantized(op, op.input(0))
    output_scale, output_zero = quantized(op, op.output)
    if filters.dtype is not DType.INT8:
        op.refuse(f"weights of dtype {filters.dtype}; wanted int8", filters)
    if any(filters.zero_points):
        op.refuse("weights with a zero point; wanted symmetric int8", filters)
    if len(filters.scales) not in {1, channels}:
        op.refuse(f"{len(filters.scales)} scales for {channels} channels", filters)
    if not all(0 < s < float("inf") for s in filters.scales):
        op.refuse("a scale that is not a positive number", filters)
    if len(filters.scales) == 1 and per_tensor_float:
        product = float(np.float32(input_scale) * np.float32(filters.scales[0]))
        factors = [product / output_scale]
    else:
        factors = [input_scale * scale / output_scale for scale in filters.scales]
    if not per_tensor_float:
        factors = factors * (channels // len(factors))
    mantissas, shifts = _multipliers(op, factors, filters)
    bias = read_bias(op, 2, channels)
    dead = np.broadcast_to(mantissas == 0, (channels,))
    weights = np.where(dead[:, None], np.int8(0), weights)  # TFLM gives the zero point there
    bias = np.where(dead, 0, bias)
    shifts = np.where(mantissas == 0, -1, shifts).astype(np.int8)
    mantissas = np.where(mantissas == 0, 1 << 31, mantissas).astype(np.uint32)
    largest = np.abs(weights.astype(np.int64)).sum(axis=1)
    if fold:
        bias = bias - input_zero * weights.astype(np.int64).sum(axis=1)
    reach = int((np.abs(bias) + largest * (128 if fold else 255)).max())
    if reach > fixed.INT32_MAX:
        op.refuse(f"sums may reach {reach}; the limit is {fixed.INT32_MAX}", filters)
    low, high = activation_range(op, op.output)
    return Layer(weights, bias, mantissas, shifts, input_zero, output_zero, low, high)


def _multipliers(
    op: Op, factors: list[float], tensor: Tensor
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    try:
        found = [fixed.multiplier(f) for f in factors]
    except ValueError as cause:
        op.refuse(str(cause), tensor)
    return (
        np.array([2 * m for m, _ in found], np.int64),
        np.array([s for _, s in found], np.int64),
    )


def output_fields(
    name: str, layer: Layer, group: int = 1
) -> tuple[tuple[str, str], tuple[Array, ...]]:
    """Return the ``ep_output`` of a layer and its two arrays."""
    shifts = -layer.shifts - 1 if layer.fast else layer.shifts
    arrays = (
        Array(f"{name}_multiplier", "uint32_t", filled_up(layer.mantissas, group)),
        Array(f"{name}_shift", "int8_t", filled_up(shifts.astype(np.int8), group)),
    )
    text = (
        f"{{{arrays[0].name}, {arrays[1].name}, "
        f"{layer.output_zero}, {layer.low}, {layer.high}}}"
    )
    return ("output", text), arrays


def padding(op: Op, size: int, out: int, kernel: int, stride: int, dilation: int) -> int:
    """Return how many rows or columns lie before the picture; checks ``out``."""
    reach = (kernel - 1) * dilation + 1
    same = int(op.options["padding"]) == 0
    wanted = -(-size // stride) if same else -(-(size - reach + 1) // stride)
    if out != wanted or wanted < 1:
        op.refuse(f"wanted an output of {wanted} from {size} along one side", op.output)
    return max(0, (out - 1) * stride + reach - size) // 2


def spatial(op: Op, kernel: tuple[int, int]) -> list[tuple[str, str]]:
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
        stride = int(op.options[f"stride{side.upper()}"])
        dilation = int(op.options.get(f"dilation{side.upper()}Factor", 1))
        if stride < 1 or dilation < 1:
            op.refuse(f"stride {stride}, dilation {dilation}; wanted at least 1", op.output)
        where = {"h": "pad_top", "w": "pad_left"}[side]
        numbers[f"stride_{side}"] = stride
        numbers[f"dilation_{side}"] = dilation
        numbers[where] = padding(op, size, out, taps, stride, dilation)
    return [(k, short(op, k, v, op.output)) for k, v in numbers.items()]


def conv(op: Op) -> Step:
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
    whole = layer(op, filters.reshape(channels, -1), fold=True, per_tensor_float=False)
    undilated = all(("dilation_" + side, "1") in fields for side in "hw")
    if op.output.shape[:3] == (1, 1, 1) and undilated and (height, width) == filters.shape[1:3]:
        return _dense(op, whole, 1)
    return _conv(op, whole, fields, in_c)


def _conv(op: Op, whole: Layer, fields: list[tuple[str, str]], in_c: int) -> Step:
    name = step_name(op)
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
    return Step(
        op,
        "conv",
        f"ep_conv_{whole.kind}(&{name}, {{in0}}, {{out0}}, {{scratch}});",
        "ep_conv",
        tuple(fields),
        (weights, bias, *arrays),
        scratch_bytes=(5 * words + 1) * WORD_BYTES,
    )


def depthwise(op: Op) -> Step:
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
        whole = layer(op, taps, fold=True, per_tensor_float=False)
        return _conv(op, whole, fields, 1)
    if channels != in_c:
        op.refuse(
            f"{channels // in_c} filters a channel; the limit is 1 for more than one input "
            "channel",
            op.input(1),
        )
    whole = layer(op, taps, fold=False, per_tensor_float=False)
    if (step := _depthwise3(op, whole, dict(fields))) is not None:
        return step
    name = step_name(op)
    weights = Array(
        f"{name}_weights", "int8_t", np.ascontiguousarray(whole.weights.T).reshape(-1)
    )
    bias = Array(f"{name}_bias", "int32_t", whole.bias.astype(np.int32))
    output, arrays = output_fields(name, whole)
    return Step(
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
            ("in_zero", str(whole.input_zero)),
        ),
        (weights, bias, *arrays),
    )


def _depthwise3(op: Op, whole: Layer, fields: dict[str, str]) -> Step | None:
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
    name = step_name(op)
    channels = len(whole.weights)
    rows = np.zeros((channels, 3, WORD_BYTES), np.int8)
    rows[:, :, :3] = whole.weights.reshape(channels, 3, 3)
    weights = Array(f"{name}_weights", "ep_word", rows.view("<u4").reshape(-1))
    bias = Array(f"{name}_bias", "int32_t", whole.bias.astype(np.int32))
    output, arrays = output_fields(name, whole)
    out_w = int(fields["out_w"])
    plane = out_w + out_w % 2 + 2 if stride == 1 else 2 * out_w + 2
    names = ("in_h", "in_w", "out_h", "out_w", "pad_top", "pad_left")
    return Step(
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


def dense(op: Op) -> Step:
    """FULLY_CONNECTED over any number of rows."""
    filters = op.constant(1)
    if int(op.options.get("weightsFormat", 0)) != 0:
        op.refuse("shuffled weights; wanted the default format", op.input(1))
    if filters.ndim != 2:
        op.refuse("wanted weights of two dimensions", op.input(1))
    channels, inputs = filters.shape
    rows, rest = divmod(op.input(0).size, inputs)
    if rest or rows * channels != op.output.size:
        op.refuse(f"weights are {inputs} to {channels}", op.input(0))
    return _dense(op, layer(op, filters, fold=True, per_tensor_float=True), rows)


def _dense(op: Op, whole: Layer, rows: int) -> Step:
    name = step_name(op)
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
    return Step(
        op,
        "dense",
        f"ep_dense_{whole.kind}(&{name}, {{in0}}, {{out0}});",
        "ep_dense",
        fields,
        (weights, bias, *arrays),
    )
