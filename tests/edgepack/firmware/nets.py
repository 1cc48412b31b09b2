"""Random models of one operator, whose answers TFLM knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from edgepack.tflite.facts import Facts
from tests.edgepack.firmware.nets_shapes import concatenation, largest, mean, moved, pad, pool
from tests.edgepack.firmware.randoms import quantization, scales, window
from tests.edgepack.tinymodels import Net

FUSING = {"AddOptions", "SubOptions", "MulOptions"}


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


def inputs(facts: Facts, rows: int, seed: int = 0) -> np.ndarray:
    """Return random rows for a model of one input; the first of 256 bytes holds them all."""
    tensor = facts.inputs[0]
    rng = np.random.default_rng(seed)
    if tensor.dtype == "float32":
        return rng.normal(0, 2, (rows, *tensor.shape)).astype(np.float32)
    info = np.iinfo(tensor.dtype)
    made = rng.integers(info.min, info.max, (rows, *tensor.shape), endpoint=True)
    if tensor.elements == 256:
        made[0] = np.arange(info.min, info.max + 1).reshape(tensor.shape)
    return made.astype(tensor.dtype)
