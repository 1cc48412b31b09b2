"""The operators with weights, in each pairing of data and weight dtype."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.edgepack.opcase import DTYPES, SHAPE, STEPS, Case, like
from tests.edgepack.tinymodels import Net

#: Real units of one input code, by dtype: what a bias scale multiplies.
UNIT = {"int16": 2**-15, "int8": 0.05, "uint8": 0.05}


def _name(data: str, weight: str) -> str:
    return data if data == weight else f"{data}+{weight}"


def _scales(data: str, weight: str, steps: Any) -> tuple[Any, Any, str]:
    """Return weight scale, bias scale and bias dtype; 0.0 leaves quantization out."""
    bias = {"float32": "float32", "int16": "int64"}.get(data, "int32")
    of_weight = 0.0 if weight == "float32" else steps
    if data == "float32":
        return of_weight, 0.0, bias
    unit = UNIT[data]
    of_bias = [unit * s for s in steps] if isinstance(steps, list) else unit * steps
    return of_weight, of_bias, bias


def convolutions() -> Iterator[Case]:
    """Yield plain, depthwise, dilated and grouped convolutions."""
    for data, weight, version in (
        ("float32", "float32", 1), ("uint8", "uint8", 1), ("int8", "int8", 3),
        ("int16", "int8", 4), ("float32", "int8", 5), ("int8", "int4", 7),
    ):  # fmt: skip
        steps = STEPS if weight in ("int8", "int4") else 0.01
        for op in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            depthwise = op != "CONV_2D"
            asked = {4: 5, 5: 6}.get(version, version) if depthwise else version
            yield _convolution(op, data, weight, asked, steps)
    yield _convolution("CONV_2D", "float32", "float32", 6, 0.01, groups=2)
    yield _convolution("CONV_2D", "int8", "int8", 6, STEPS, groups=2)
    yield _convolution("DEPTHWISE_CONV_2D", "float32", "float32", 2, 0.01, dilation=2)


def _convolution(
    op: str,
    data: str,
    weight: str,
    version: int,
    steps: Any,
    *,
    groups: int = 1,
    dilation: int = 1,
) -> Case:
    net = Net()
    depthwise = op != "CONV_2D"
    x, y = like(net, SHAPE, data), like(net, SHAPE, data)
    scale, bias_scale, bias = _scales(data, weight, steps)
    shape = (1, 3, 3, 8) if depthwise else (8, 3, 3, 8 // groups)
    axis = 3 if depthwise and isinstance(steps, list) else 0
    w = net.weights(shape, weight, scale=scale, axis=axis)
    b = net.weights((8,), bias, scale=bias_scale)
    more = {"depthMultiplier": 1} if depthwise else {}
    kind = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
    net.op(op, [x, w, b], [y], version, kind, padding=0, strideW=1, strideH=1,
           dilationWFactor=dilation, dilationHFactor=dilation, **more)  # fmt: skip
    variant = "grouped" if groups > 1 else "dilated" if dilation > 1 else ""
    return Case(op, _name(data, weight), version, net.done([x], [y]), variant)


def dense() -> Iterator[Case]:
    """Yield fully connected layers, per tensor and per channel."""
    for data, weight, version, many in (
        ("float32", "float32", 1, False), ("uint8", "uint8", 1, False),
        ("int8", "int8", 4, False), ("int8", "int8", 4, True), ("int16", "int8", 7, False),
        ("float32", "int8", 3, False), ("float32", "int8", 9, False),
        ("float32", "int8", 9, True), ("float32", "int8", 12, True),
        ("int8", "int4", 10, False), ("int8", "int8", 5, False), ("int8", "int8", 6, False),
        ("int8", "int8", 6, True), ("int8", "int4", 10, True),
    ):  # fmt: skip
        net = Net()
        x, y = like(net, (1, 16), data), like(net, (1, 8), data)
        scale, bias_scale, bias = _scales(data, weight, [0.01, 0.03] * 4 if many else 0.01)
        w = net.weights((8, 16), weight, scale=scale)
        inputs = [x, w]
        if version != 6:  # version 6 is "no bias"
            inputs.append(net.weights((8,), bias, scale=bias_scale))
        fields = {"keepNumDims": version == 5, "asymmetricQuantizeInputs": version >= 9}
        net.op("FULLY_CONNECTED", inputs, [y], version, "FullyConnectedOptions", **fields)
        variant = "per-channel" if many else ""
        yield Case("FULLY_CONNECTED", _name(data, weight), version, net.done([x], [y]), variant)


def transposed() -> Iterator[Case]:
    """Yield transposed convolutions: bare, with bias, with a fused activation."""
    for data, weight, version in (
        ("float32", "float32", 1), ("int8", "int8", 2), ("uint8", "uint8", 1),
        ("int16", "int8", 3), ("int8", "int8", 3), ("int8", "int8", 4),
    ):  # fmt: skip
        net = Net()
        x, y = like(net, SHAPE, data), like(net, (1, 8, 8, 8), data)
        scale, bias_scale, bias = _scales(data, weight, STEPS if weight == "int8" else 0.01)
        inputs = [net.ints([1, 8, 8, 8]), net.weights((8, 3, 3, 8), weight, scale=scale), x]
        if version >= 3:
            inputs.append(net.weights((8,), bias, scale=bias_scale))
        fields = {"fusedActivationFunction": 1} if version == 4 else {}
        net.op("TRANSPOSE_CONV", inputs, [y], version, "TransposeConvOptions",
               padding=0, strideW=2, strideH=2, **fields)  # fmt: skip
        yield Case("TRANSPOSE_CONV", _name(data, weight), version, net.done([x], [y]))


def products() -> Iterator[Case]:
    """Yield matrix products of two inputs, and hybrids with an int8 constant."""
    for data, version in (("float32", 1), ("int8", 2), ("int16", 3)):
        net = Net()
        a, b = like(net, (1, 4, 8), data), like(net, (1, 8, 4), data)
        y = like(net, (1, 4, 4), data)
        net.op("BATCH_MATMUL", [a, b], [y], version, "BatchMatMulOptions")
        yield Case("BATCH_MATMUL", data, version, net.done([a, b], [y]))
    for version in (1, 4):
        net = Net()
        a, b = like(net, (1, 4, 8), "float32"), net.weights((1, 8, 4), scale=0.01)
        y = like(net, (1, 4, 4), "float32")
        net.op("BATCH_MATMUL", [a, b], [y], version, "BatchMatMulOptions",
               asymmetricQuantizeInputs=version == 4)  # fmt: skip
        yield Case("BATCH_MATMUL", "float32+int8", version, net.done([a], [y]))


def pools() -> Iterator[Case]:
    """Yield poolings in every dtype."""
    for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"):
        known = {"float32": 1}
        if op != "L2_POOL_2D":
            known |= {"uint8": 1, "int8": 2, "int16": 3}
        for dtype in DTYPES:
            net = Net()
            x, y = like(net, SHAPE, dtype), like(net, (1, 2, 2, 8), dtype)
            version = known.get(dtype, 1)
            net.op(op, [x], [y], version, "Pool2DOptions", padding=1, strideW=2, strideH=2,
                   filterWidth=2, filterHeight=2)  # fmt: skip
            yield Case(op, dtype, version, net.done([x], [y]), honest=dtype in known)


def recurrent() -> Iterator[Case]:
    """Yield SVDF and LSTM cells with their state."""
    for data, weight, version in (
        ("float32", "float32", 1), ("int8", "int8", 3), ("float32", "int8", 2),
    ):  # fmt: skip
        net = Net()
        plain = data == "float32"
        x, y = like(net, (1, 8), data), like(net, (1, 4), data)
        inner, step = ("float32", 0.0) if plain else ("int16", 0.002)
        state = net.tensor((1, 16), inner, scale=step, variable=True)
        feature = net.weights((4, 8), weight, scale=0.0 if weight == "float32" else 0.02)
        time = net.weights((4, 4), inner, scale=step)
        bias = net.weights((4,), "float32" if plain else "int32", scale=step * step)
        net.op("SVDF", [x, feature, time, bias, state], [y], version, "SVDFOptions", rank=1)
        yield Case("SVDF", _name(data, weight), version, net.done([x], [y]))
    for op in ("UNIDIRECTIONAL_SEQUENCE_LSTM", "LSTM"):
        yield _lstm(op, "float32", "float32", 1)
        yield _lstm(op, "int8", "int8", 1)
        yield _lstm(op, "int16", "int8", 5)
        yield _lstm(op, "float32", "int8", 3)


def _lstm(op: str, data: str, weight: str, version: int) -> Case:
    """Return an LSTM of 8 inputs and 4 cells, without peepholes or projection."""
    net = Net()
    plain = data == "float32"
    steps = (1, 3) if op != "LSTM" else (1,)
    x, y = like(net, (*steps, 8), data), like(net, (*steps, 4), data)
    scale, bias_scale, bias = _scales(data, weight, 0.01)
    inward = [net.weights((4, 8), weight, scale=scale) for _ in range(4)]
    back = [net.weights((4, 4), weight, scale=scale) for _ in range(4)]
    biases = [net.weights((4,), bias, scale=bias_scale) for _ in range(4)]
    hidden = net.tensor((1, 4), data, scale=0.0 if plain else UNIT[data], variable=True)
    cell = net.tensor((1, 4), "float32" if plain else "int16",
                      scale=0.0 if plain else 2**-12, variable=True)  # fmt: skip
    between = [net.tensor((0,), "float32") for _ in range(4)]
    between.append(net.tensor((0,), data, scale=0.0 if plain else UNIT[data]))
    absent = [-1, -1, -1]
    inputs = [x, *inward, *back, *absent, *biases, -1, -1, hidden, cell, *absent, -1]
    kind = "LSTMOptions" if op == "LSTM" else "UnidirectionalSequenceLSTMOptions"
    net.op(op, inputs, [y], version, kind, fusedActivationFunction=4,
           intermediates=between)  # fmt: skip
    return Case(op, _name(data, weight), version, net.done([x], [y]))


def weighted() -> Iterator[Case]:
    """Yield all of them."""
    yield from convolutions()
    yield from dense()
    yield from transposed()
    yield from products()
    yield from pools()
    yield from recurrent()
