"""Random models of one operator, whose answers TFLM knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from edgepack.micro.graph import DType, Graph
from tests.edgepack.tinymodels import Net

Rng = np.random.Generator
FUSING = {"AddOptions", "SubOptions", "MulOptions"}


def quantization(rng: Rng, low: float = 0.001, high: float = 0.1) -> tuple[float, int]:
    """Return a random scale, as single precision holds it, and a zero point."""
    scale = np.exp(rng.uniform(np.log(low), np.log(high)))
    return float(np.float32(scale)), int(rng.integers(-128, 128))


def scales(rng: Rng, low: float, high: float, count: int) -> list[float]:
    return [quantization(rng, low, high)[0] for _ in range(count)]


def window(rng: Rng, size: tuple[int, int], kernel: tuple[int, int], most_dilation: int) -> Any:
    """Return (padding, strides, dilations, output size) of a window that fits."""
    strides = tuple(int(v) for v in rng.integers(1, 4, 2))
    dilations = tuple(int(v) for v in rng.integers(1, most_dilation + 1, 2))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    same = bool(rng.random() < 0.5) or any(s < r for s, r in zip(size, reach, strict=True))
    out = [
        -(-s // t) if same else (s - r) // t + 1
        for s, r, t in zip(size, reach, strides, strict=True)
    ]
    return 0 if same else 1, strides, dilations, out


def convolution(seed: int, *, depthwise: bool = False) -> bytes:
    rng, net = np.random.default_rng(seed), Net(seed)
    height, width = (int(v) for v in rng.integers(1, 12, 2))
    kernel_h, kernel_w = (3, 3) if seed % 2 else (int(v) for v in rng.integers(1, 5, 2))
    most = 1 if seed % 2 else 2
    padding, strides, dilations, out = window(rng, (height, width), (kernel_h, kernel_w), most)
    if seed % 4 == 1:  # the 3 by 3 kernel of its own wants equal strides
        strides = (strides[0] % 2 + 1,) * 2
        out = [-(-s // t) for s, t in zip((height, width), strides, strict=True)]
        padding = 0
    depth = int(rng.choice([1, 2, 3, 4, 5, 8, 12]))
    channels = int(rng.integers(1, 11))
    if depthwise:
        channels = depth * int(rng.integers(1, 4)) if depth == 1 or seed % 5 == 2 else depth
    scale, zero = quantization(rng)
    out_scale, out_zero = quantization(rng, 0.01, 1.0)
    if seed % 3 == 0:
        out_scale = scale * 0.05  # shifts to the left
    x = net.tensor((1, height, width, depth), scale=scale, zero=zero)
    per_channel = scales(rng, 1e-4, 0.05, channels)
    if seed % 5 == 0:
        per_channel[0] = 1e-12  # a dead channel, whose factor vanishes
    shape = (
        (1, kernel_h, kernel_w, channels)
        if depthwise
        else (channels, kernel_h, kernel_w, depth)
    )
    weights = net.weights(shape, scale=per_channel, axis=3 if depthwise else 0)
    values = rng.integers(-3000, 3000, channels).astype(np.int32)
    bias = net.tensor((channels,), "int32", values, scale=1.0)
    y = net.tensor((1, *out, channels), scale=out_scale, zero=out_zero)
    inputs = [x, weights, bias if depthwise or rng.random() < 0.8 else -1]
    fields = {
        "padding": padding,
        "strideH": strides[0],
        "strideW": strides[1],
        "dilationHFactor": dilations[0],
        "dilationWFactor": dilations[1],
        "fusedActivationFunction": int(rng.choice([0, 1, 3])),
    }
    if depthwise:
        fields["depthMultiplier"] = channels // depth
        net.op("DEPTHWISE_CONV_2D", inputs, [y], 3, "DepthwiseConv2DOptions", **fields)
    else:
        net.op("CONV_2D", inputs, [y], 3, "Conv2DOptions", **fields)
    return net.done([x], [y])


def dense(seed: int) -> bytes:
    rng, net = np.random.default_rng(seed), Net(seed)
    inputs, outputs, rows = (int(rng.integers(1, n)) for n in (70, 30, 4))
    scale, zero = quantization(rng)
    out_scale, out_zero = quantization(rng, 0.01, 1.0)
    if seed % 3 == 0:
        out_scale = scale * 0.05
    x = net.tensor((rows, inputs), scale=scale, zero=zero)
    per_channel = scales(rng, 1e-3, 0.05, outputs if seed % 2 else 1)
    weights = net.weights((outputs, inputs), scale=per_channel)
    values = rng.integers(-3000, 3000, outputs).astype(np.int32)
    bias = net.tensor((outputs,), "int32", values, scale=[s * scale for s in per_channel])
    y = net.tensor((rows, outputs), scale=out_scale, zero=out_zero)
    net.op(
        "FULLY_CONNECTED", [x, weights, bias if rng.random() < 0.8 else -1], [y], 4,
        "FullyConnectedOptions", fusedActivationFunction=int(rng.choice([0, 1, 3])),
    )  # fmt: skip
    return net.done([x], [y])


def binary(seed: int, *, op: str, options: str) -> bytes:
    rng, net = np.random.default_rng(seed), Net(seed)
    shape = (1, *(int(v) for v in rng.integers(1, 7, 3)))
    first, second, out = (
        quantization(rng), quantization(rng), quantization(rng, 0.005, 0.3),
    )  # fmt: skip
    x = net.tensor(shape, scale=first[0], zero=first[1])
    middle = (1, shape[1], shape[2], 1)
    other: tuple[int, ...] = ((shape[-1],), shape, (1, 1, 1, 1), middle)[seed % 4]
    y = net.weights(other, scale=second[0], zero=second[1])
    if op in {"MAXIMUM", "MINIMUM"}:  # these only compare bytes
        out = first
        net.tensors[y].quantization = net.tensors[x].quantization
    made = net.tensor(shape, scale=out[0], zero=out[1])
    pair = [x, y] if op == "SUB" or seed % 2 else [y, x]
    pair = pair if op != "PRELU" else [x, y]
    fused = {"fusedActivationFunction": int(rng.choice([0, 1, 3]))}
    net.op(op, pair, [made], 2, options, **(fused if options in FUSING else {}))
    return net.done([x], [made])


def unary(seed: int, *, op: str) -> bytes:
    """All 256 bytes through one function."""
    rng, net = np.random.default_rng(seed), Net(seed)
    (scale, zero), (out_scale, out_zero) = (quantization(rng, 0.003, 0.3) for _ in range(2))
    fields: dict[str, Any] = {}
    unsigned = op == "QUANTIZE" and seed % 2 == 0
    if op in {"LOGISTIC", "SOFTMAX"}:
        out_scale, out_zero = 1 / 256, -128
    elif op == "TANH":
        out_scale, out_zero = 1 / 128, 0
    elif op == "RELU6":
        out_scale, out_zero = scale, zero
    if op == "SOFTMAX":
        fields = {"options": "SoftmaxOptions", "beta": float(rng.choice([0.5, 1.0, 2.0]))}
    elif op == "LEAKY_RELU":
        fields = {"options": "LeakyReluOptions", "alpha": float(rng.uniform(0, 0.5))}
    dtype = "uint8" if unsigned else "int8"
    x = net.tensor((1, 256), dtype, scale=scale, zero=zero + 128 * unsigned)
    y = net.tensor((1, 256), scale=out_scale, zero=out_zero)
    net.op(op, [x], [y], 2, **fields)
    return net.done([x], [y])


def pool(seed: int) -> bytes:
    rng, net = np.random.default_rng(seed), Net(seed)
    height, width, depth = (int(v) for v in rng.integers(1, 10, 3))
    kernel_h, kernel_w = (int(v) for v in rng.integers(1, 4, 2))
    padding, strides, _, out = window(rng, (height, width), (kernel_h, kernel_w), 1)
    scale, zero = quantization(rng, 0.01, 0.1)
    x = net.tensor((1, height, width, depth), scale=scale, zero=zero)
    y = net.tensor((1, *out, depth), scale=scale, zero=zero)
    net.op(
        "AVERAGE_POOL_2D" if seed % 2 else "MAX_POOL_2D", [x], [y], 2, "Pool2DOptions",
        padding=padding, strideH=strides[0], strideW=strides[1], filterHeight=kernel_h,
        filterWidth=kernel_w, fusedActivationFunction=int(rng.choice([0, 1, 3])),
    )  # fmt: skip
    return net.done([x], [y])


def pad(seed: int) -> bytes:
    rng, net = np.random.default_rng(seed), Net(seed)
    rank = int(rng.integers(2, 5))
    shape = (1, *(int(v) for v in rng.integers(1, 6, rank - 1)))
    amounts = rng.integers(0, 3, (rank, 2)).astype(np.int32)
    amounts[0] = 0
    scale, zero = quantization(rng)
    x = net.tensor(shape, scale=scale, zero=zero)
    grown = tuple(int(v) for v in np.array(shape) + amounts.sum(axis=1))
    y = net.tensor(grown, scale=scale, zero=zero)
    net.op("PAD", [x, net.ints(amounts.tolist())], [y], 2, "PadOptions")
    return net.done([x], [y])


def concatenation(seed: int) -> bytes:
    rng, net = np.random.default_rng(seed), Net(seed)
    shape = [1, *(int(v) for v in rng.integers(1, 6, 3))]
    axis = int(rng.integers(1, 4))
    scale, zero = quantization(rng)
    x = net.tensor(tuple(shape), scale=scale, zero=zero)
    other = [*shape]
    other[axis] = int(rng.integers(1, 5))
    parts = [x, net.weights(tuple(other), scale=scale, zero=zero)]
    parts = parts[:: 1 if seed % 2 else -1]
    whole = [*shape]
    whole[axis] += other[axis]
    y = net.tensor(tuple(whole), scale=scale, zero=zero)
    signed = axis if seed % 3 else axis - 4
    net.op("CONCATENATION", parts, [y], 2, "ConcatenationOptions", axis=signed)
    return net.done([x], [y])


def mean(seed: int) -> bytes:
    rng, net = np.random.default_rng(seed), Net(seed)
    shape = (1, *(int(v) for v in rng.integers(1, 9, 3)))
    axes = ([1, 2], [1], [2, 3], [-2])[seed % 4]
    (scale, zero), (out_scale, out_zero) = (quantization(rng, 0.01, 0.1) for _ in range(2))
    if seed % 3 == 0:
        out_scale, out_zero = scale, zero
    keep = bool(seed % 2)
    gone = {a % 4 for a in axes}
    left = tuple(1 if i in gone else n for i, n in enumerate(shape) if keep or i not in gone)
    x = net.tensor(shape, scale=scale, zero=zero)
    y = net.tensor(left, scale=out_scale, zero=out_zero)
    net.op("MEAN", [x, net.ints(axes)], [y], 2, "ReducerOptions", keepDims=keep)
    return net.done([x], [y])


def moved(seed: int, *, op: str) -> bytes:
    """A tensor seen otherwise: sliced, turned round, turned over, enlarged."""
    rng, net = np.random.default_rng(seed), Net(seed)
    shape = (1, *(int(v) for v in rng.integers(2, 7, 3)))
    scale, zero = quantization(rng)
    x = net.tensor(shape, scale=scale, zero=zero)
    data = np.zeros(shape, np.int8)
    if op == "TRANSPOSE":
        order = [int(v) for v in rng.permutation(4)]
        view, more = data.transpose(order), [net.ints(order)]
        options: dict[str, Any] = {"options": "TransposeOptions"}
    elif op == "REVERSE_V2":
        view, more = data, [net.ints([int(rng.integers(0, 4)) - 4 * (seed % 2)])]
        options = {"options": "ReverseV2Options"}
    elif op == "SLICE":
        begins = [int(rng.integers(0, n)) for n in shape]
        sizes = [int(rng.integers(1, n - b + 1)) for n, b in zip(shape, begins, strict=True)]
        sizes[2] = -1
        view = data[
            tuple(
                slice(b, None if z < 0 else b + z) for b, z in zip(begins, sizes, strict=True)
            )
        ]
        more, options = [net.ints(begins), net.ints(sizes)], {"options": "SliceOptions"}
    elif op == "STRIDED_SLICE":
        view = data[:, 1:-1:1, ::2, -1] if seed % 2 else data[:, 0:2, :, ::-1]
        ends = [[0, -1, 0, 0], [0, 2, 0, 0]][1 - seed % 2]
        begins = [[0, 1, 0, -1], [0, 0, 0, 0]][1 - seed % 2]
        steps = [[1, 1, 2, 1], [1, 1, 1, -1]][1 - seed % 2]
        more = [net.ints(begins), net.ints(ends), net.ints(steps)]
        masks = ((0b0101, 0b0101, 0b1000), (0b1101, 0b1101, 0))[1 - seed % 2]
        options = {"options": "StridedSliceOptions"} | dict(
            zip(("beginMask", "endMask", "shrinkAxisMask"), masks, strict=True)
        )
    else:
        times = [int(v) for v in rng.integers(1, 4, 2)]
        view = data.repeat(times[0], axis=1).repeat(times[1], axis=2)
        more = [net.ints([view.shape[1], view.shape[2]])]
        options = {
            "options": "ResizeNearestNeighborOptions",
            "halfPixelCenters": bool(seed % 2),
        }
    if view.size == 0:
        return moved(seed + 1000, op=op)
    y = net.tensor(view.shape, scale=scale, zero=zero)
    net.op(op, [x, *more], [y], 2, **options)
    return net.done([x], [y])


def largest(seed: int) -> bytes:
    rng, net = np.random.default_rng(seed), Net(seed)
    shape = (1, *(int(v) for v in rng.integers(1, 9, 3)))
    axes = ([1, 2], [1], [2, 3], [-1])[seed % 4]
    gone = {a % 4 for a in axes}
    left = tuple(n for i, n in enumerate(shape) if i not in gone)
    scale, zero = quantization(rng)
    x = net.tensor(shape, scale=scale, zero=zero)
    y = net.tensor(left, scale=scale, zero=zero)
    net.op("REDUCE_MAX", [x, net.ints(axes)], [y], 2, "ReducerOptions", keepDims=False)
    return net.done([x], [y])


def transposed(seed: int) -> bytes:
    """TRANSPOSE_CONV, whose output's size is given."""
    rng, net = np.random.default_rng(seed), Net(seed)
    height, width, depth, channels = (int(v) for v in rng.integers(1, 6, 4))
    kernel, stride = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    same = bool(seed % 2)
    out = [n * stride if same else (n - 1) * stride + kernel for n in (height, width)]
    scale, zero = quantization(rng)
    out_scale, out_zero = quantization(rng, 0.01, 1.0)
    x = net.tensor((1, height, width, depth), scale=scale, zero=zero)
    per_channel = scales(rng, 1e-3, 0.05, channels)
    weights = net.weights((channels, kernel, kernel, depth), scale=per_channel)
    y = net.tensor((1, *out, channels), scale=out_scale, zero=out_zero)
    values = rng.integers(-3000, 3000, channels).astype(np.int32)
    bias = net.tensor((channels,), "int32", values, scale=1.0)
    net.op(
        "TRANSPOSE_CONV", [net.ints([1, *out, channels]), weights, x, bias], [y], 3,
        "TransposeConvOptions", padding=0 if same else 1, strideH=stride, strideW=stride,
    )  # fmt: skip
    return net.done([x], [y])


def floating_border(seed: int) -> bytes:
    """QUANTIZE, FULLY_CONNECTED, DEQUANTIZE."""
    rng, net = np.random.default_rng(seed), Net(seed)
    scale, zero = quantization(rng, 0.01, 0.1)
    x = net.tensor((1, 33), "float32")
    q = net.tensor((1, 33), scale=scale, zero=zero)
    net.op("QUANTIZE", [x], [q], 1)
    y = net.dense(q, 7)
    out = net.tensor((1, 7), "float32")
    net.op("DEQUANTIZE", [y], [out], 2)
    return net.done([x], [out])


def residual(seed: int) -> bytes:
    """A small picture network: two branches, a sum, pooling, a classifier."""
    net = Net(seed)
    x = net.tensor((1, 9, 9, 3))
    first = net.conv(x, 8, 3)
    both = net.add(first, net.conv(first, 8, 1, activation=0))
    deep = net.conv(net.conv(both, 8, 3, 2, depthwise=True), 12, 1)
    pooled = net.pool(deep, 5)
    return net.done([x], [net.softmax(net.dense(net.reshape(pooled, (1, 12)), 5))])


KINDS: Mapping[str, Callable[[int], bytes]] = {
    "add": partial(binary, op="ADD", options="AddOptions"),
    "concatenation": concatenation,
    "convolution": convolution,
    "dense": dense,
    "largest": largest,
    "maximum": partial(binary, op="MAXIMUM", options="MaximumMinimumOptions"),
    "minimum": partial(binary, op="MINIMUM", options="MaximumMinimumOptions"),
    "prelu": partial(binary, op="PRELU", options=""),
    "transposed": transposed,
    "depthwise": partial(convolution, depthwise=True),
    "float_border": floating_border,
    "mean": mean,
    "mul": partial(binary, op="MUL", options="MulOptions"),
    "pad": pad,
    "pool": pool,
    "residual": residual,
    "sub": partial(binary, op="SUB", options="SubOptions"),
    **{
        op.lower(): partial(moved, op=op)
        for op in (
            "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "SLICE", "STRIDED_SLICE", "TRANSPOSE",
        )
    },
    **{
        op.lower(): partial(unary, op=op)
        for op in (
            "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "QUANTIZE", "RELU", "RELU6", "SOFTMAX",
            "TANH",
        )
    },
}  # fmt: skip


def inputs(graph: Graph, rows: int, seed: int = 0) -> np.ndarray:
    """Return random rows for a model of one input; the first of 256 bytes holds them all."""
    tensor = graph.inputs[0]
    rng = np.random.default_rng(seed)
    if tensor.dtype is DType.FLOAT32:
        return rng.normal(0, 2, (rows, *tensor.shape)).astype(np.float32)
    info = np.iinfo(tensor.dtype.value)
    made = rng.integers(info.min, info.max, (rows, *tensor.shape), endpoint=True)
    if tensor.size == 256:
        made[0] = np.arange(info.min, info.max + 1).reshape(tensor.shape)
    return made.astype(tensor.dtype.value)
