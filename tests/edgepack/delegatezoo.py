"""Variations of single operators that a delegate may take or leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.edgepack.opcase import STEPS, like
from tests.edgepack.tinymodels import Net

BOTH = ("float32", "int8")
DENSE = ("plain", "no-bias", "batch4", "keep", "rank3", "open", "fed", "act1", "act4",
         "fed-bias", "per-channel")  # fmt: skip
STEPPED: tuple[tuple[str, list[int], dict[str, int], tuple[int, ...]], ...] = (
    ("step1", [1, 1, 1, 1], {}, (1, 2, 3, 8)),
    ("step2", [1, 2, 1, 1], {}, (1, 1, 3, 8)),
    ("masked", [1, 1, 1, 1], {"beginMask": 1, "endMask": 9}, (1, 2, 3, 8)),
    ("shrunk", [1, 1, 1, 1], {"shrinkAxisMask": 1}, (2, 3, 8)),
)
Variant = tuple[str, bytes]


def _conv(dtype: str, **how: Any) -> bytes:
    net = Net()
    batch, size, depth = how.get("batch", 1), 8, how.get("depth", 8)
    stride, dilation, same = how.get("stride", 1), how.get("dilation", 1), how.get("same", True)
    kernel = how.get("kernel", 3)
    open_batch = how.get("open", False)
    shape = (batch, size, size, depth)
    x = like(net, shape, dtype)
    if open_batch:
        net.tensors[x].shapeSignature = [-1, size, size, depth]
    reach = dilation * (kernel - 1) + 1
    rows = -(-size // stride) if same else (size - reach) // stride + 1
    depthwise = how.get("depthwise", 0)
    out = depth * depthwise if depthwise else how.get("channels", 8)
    y = like(net, (batch, rows, rows, out), dtype)
    if open_batch:
        net.tensors[y].shapeSignature = [-1, rows, rows, out]
    scales: Any = how.get("scales") or [0.01 + 0.001 * (i % 7) for i in range(out)]
    if dtype == "float32":
        scales = 0.0
    form = (1, kernel, kernel, out) if depthwise else (out, kernel, kernel, depth)
    inputs = [x]
    if how.get("fed_weights"):
        w = net.tensor(form, dtype, scale=scales, axis=3 if depthwise else 0)
    else:
        w = net.weights(form, dtype, scale=scales, axis=3 if depthwise else 0)
    inputs.append(w)
    if how.get("bias", True):
        wide = "float32" if dtype == "float32" else "int32"
        scale: Any = 0.0 if dtype == "float32" else [0.05 * s for s in scales]
        inputs.append(net.weights((out,), wide, scale=scale))
    kind, more = "Conv2DOptions", {}
    if depthwise:
        kind, more = "DepthwiseConv2DOptions", {"depthMultiplier": depthwise}
    net.op(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", inputs, [y], 3, kind,
        padding=0 if same else 1, strideW=stride, strideH=stride, dilationWFactor=dilation,
        dilationHFactor=dilation, fusedActivationFunction=how.get("activation", 0), **more,
    )  # fmt: skip
    return net.done([x, w] if how.get("fed_weights") else [x], [y])


def convolutions() -> Iterator[Variant]:
    """Yield convolutions: strides, padding, activations, batches, weights that are fed."""
    hows: dict[str, dict[str, Any]] = {
        "plain": {}, "stride2": {"stride": 2}, "valid": {"same": False},
        "dilated": {"dilation": 2}, "no-bias": {"bias": False}, "batch3": {"batch": 3},
        "open-batch": {"open": True}, "1x1": {"kernel": 1}, "fed": {"fed_weights": True},
        "one-channel": {"depth": 1},
        **{f"activation{a}": {"activation": a} for a in (1, 2, 3, 4, 5)},
    }  # fmt: skip
    for dtype in BOTH:
        for name, how in hows.items():
            yield f"CONV_2D {dtype} {name}", _conv(dtype, **how)
            yield f"DEPTHWISE_CONV_2D {dtype} {name}", _conv(dtype, depthwise=1, **how)
        yield f"DEPTHWISE_CONV_2D {dtype} multiplier2", _conv(dtype, depthwise=2)
        yield f"DEPTHWISE_CONV_2D {dtype} 1x8", _conv(dtype, depthwise=8, depth=1)
    yield "CONV_2D int8 huge-scale", _conv("int8", scales=[300.0] * 8)
    yield "CONV_2D int8 one-scale", _conv("int8", scales=[0.01] * 8)


def dense() -> Iterator[Variant]:
    """Yield fully connected layers."""
    for dtype in BOTH:
        for name in DENSE:
            net = Net()
            batch = 4 if name == "batch4" else 1
            shape = (batch, 2, 16) if name in ("keep", "rank3") else (batch, 16)
            x = like(net, shape, dtype)
            out = (
                (batch, 2, 8)
                if name == "keep"
                else (2 * batch if name == "rank3" else batch, 8)
            )
            y = like(net, out, dtype)
            if name == "open":
                net.tensors[x].shapeSignature = [-1, 16]
                net.tensors[y].shapeSignature = [-1, 8]
            scale: Any = 0.0 if dtype == "float32" else 0.01
            if name == "per-channel" and dtype == "int8":
                scale = STEPS
            w = (net.tensor if name == "fed" else net.weights)((8, 16), dtype, scale=scale)
            inputs, fed = [x, w], [x, w] if name == "fed" else [x]
            wide = "float32" if dtype == "float32" else "int32"
            bias_scale: Any = (
                [0.05 * s for s in scale] if isinstance(scale, list) else 0.05 * scale
            )
            if name == "fed-bias":
                inputs.append(net.tensor((8,), wide, scale=bias_scale))
                fed.append(inputs[-1])
            elif name != "no-bias":
                inputs.append(net.weights((8,), wide, scale=bias_scale))
            net.op("FULLY_CONNECTED", inputs, [y], 5, "FullyConnectedOptions",
                   keepNumDims=name == "keep",
                   fusedActivationFunction={"act1": 1, "act4": 4}.get(name, 0))  # fmt: skip
            yield f"FULLY_CONNECTED {dtype} {name}", net.done(fed, [y])


def pools() -> Iterator[Variant]:
    """Yield poolings: windows, strides, activations."""
    for dtype in BOTH:
        for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            for name, size, stride, act in (
                ("plain", 2, 2, 0), ("1x1", 1, 1, 0), ("1x1s2", 1, 2, 0), ("3s2", 3, 2, 0),
                ("global", 8, 8, 0), ("2s1", 2, 1, 0), ("act1", 2, 2, 1), ("act4", 2, 2, 4),
                ("2s3", 2, 3, 0),
            ):  # fmt: skip
                net = Net()
                rows = (8 - size) // stride + 1
                x, y = like(net, (1, 8, 8, 8), dtype), like(net, (1, rows, rows, 8), dtype)
                net.op(op, [x], [y], 2, "Pool2DOptions", padding=1, strideW=stride,
                       strideH=stride, filterWidth=size, filterHeight=size,
                       fusedActivationFunction=act)  # fmt: skip
                yield f"{op} {dtype} {name}", net.done([x], [y])


def sums() -> Iterator[Variant]:
    """Yield element-wise operators of two inputs: broadcasts, ranks, scales, activations."""
    for dtype in BOTH:
        for op, kind in (("ADD", "AddOptions"), ("SUB", "SubOptions"), ("MUL", "MulOptions"),
                         ("DIV", "DivOptions"), ("MAXIMUM", ""),
                         ("SQUARED_DIFFERENCE", "")):  # fmt: skip
            for name in ("plain", "const", "scalar", "rank5", "rank7", "act1", "act4", "far",
                         "near", "two-consts", "rank1"):  # fmt: skip
                net = Net()
                shape = {"rank5": (1, 2, 2, 2, 4), "rank7": (1, 1, 1, 2, 2, 2, 4),
                         "rank1": (8,)}.get(name, (1, 4, 4, 8))  # fmt: skip
                x = like(net, shape, dtype)
                scale = 0.0 if dtype == "float32" else 0.05
                if name == "const":
                    b = net.weights((8,), dtype, scale=scale)
                elif name == "scalar":
                    b = net.weights((), dtype, scale=scale)
                elif name == "far" and dtype == "int8":
                    b = net.tensor(shape, dtype, scale=0.05 * 3000)
                elif name == "near" and dtype == "int8":
                    b = net.tensor(shape, dtype, scale=0.05 / 3000)
                else:
                    b = like(net, shape, dtype)
                y = like(net, shape, dtype)
                fields = {}
                if kind:
                    fields["fusedActivationFunction"] = {"act1": 1, "act4": 4}.get(name, 0)
                net.op(op, [x, b], [y], 2, kind, **fields)
                fed = [x] if name in ("const", "scalar") else [x, b]
                yield f"{op} {dtype} {name}", net.done(fed, [y])


def reductions() -> Iterator[Variant]:
    """Yield means and sums over various axes."""
    for dtype in BOTH:
        for op in ("MEAN", "SUM", "REDUCE_MAX"):
            for axes in ([1, 2], [2, 1], [2], [1], [3], [1, 2, 3], [0, 1, 2, 3], [-2, -3]):
                for keep in (True, False):
                    net = Net()
                    x = like(net, (1, 4, 4, 8), dtype)
                    gone = {a % 4 for a in axes}
                    shape = tuple(
                        1 if i in gone else n
                        for i, n in enumerate((1, 4, 4, 8))
                        if keep or i not in gone
                    )
                    y = like(net, shape, dtype)
                    net.op(op, [x, net.ints(axes)], [y], 2, "ReducerOptions", keepDims=keep)
                    name = "".join(map(str, axes)) + ("-keep" if keep else "")
                    yield f"{op} {dtype} {name}", net.done([x], [y])


def shapes() -> Iterator[Variant]:
    """Yield operators that move values, with the shapes that matter to a delegate."""
    for dtype in BOTH:
        for count in (2, 3, 4, 5, 6):
            net = Net()
            xs = [like(net, (1, 4, 4, 8), dtype) for _ in range(count)]
            y = like(net, (1, 4, 4, 8 * count), dtype)
            net.op("CONCATENATION", xs, [y], 2, "ConcatenationOptions", axis=-1)
            yield f"CONCATENATION {dtype} {count}", net.done(xs, [y])
            net = Net()
            x = like(net, (1, 4, 4, 60), dtype)
            ys = [like(net, (1, 4, 4, 60 // count), dtype) for _ in range(count)]
            axis = net.ints([3])
            net.tensors[axis].shape = []
            net.op("SPLIT", [axis, x], ys, 2, "SplitOptions", numSplits=count)
            yield f"SPLIT {dtype} {count}", net.done([x], ys)
        net = Net()
        a, b = like(net, (1, 4, 4, 8), dtype), like(net, (1, 4, 4, 8), dtype)
        if dtype == "int8":
            b = net.tensor((1, 4, 4, 8), dtype, scale=0.07)
        y = like(net, (1, 4, 4, 16), dtype)
        net.op("CONCATENATION", [a, b], [y], 2, "ConcatenationOptions", axis=3)
        yield f"CONCATENATION {dtype} other-scale", net.done([a, b], [y])
        for name, pads in (("batch", [[1, 0], [0, 0], [0, 0], [0, 0]]),
                           ("space", [[0, 0], [1, 2], [1, 2], [0, 0]])):  # fmt: skip
            net = Net()
            shape = (1 + pads[0][0], 4 + sum(pads[1]), 4 + sum(pads[2]), 8)
            x, y = like(net, (1, 4, 4, 8), dtype), like(net, shape, dtype)
            net.op("PAD", [x, net.ints(pads)], [y], 2, "PadOptions")
            yield f"PAD {dtype} {name}", net.done([x], [y])
        for name, with_shape in (("const", True), ("option", False)):
            net = Net()
            x, y = like(net, (1, 4, 4, 8), dtype), like(net, (1, 128), dtype)
            inputs = [x, net.ints([1, 128])] if with_shape else [x]
            net.op("RESHAPE", inputs, [y], 1, "ReshapeOptions", newShape=[1, 128])
            yield f"RESHAPE {dtype} {name}", net.done([x], [y])
        net = Net()
        x, to, y = like(net, (1, 4, 4, 8), dtype), net.tensor((2,), "int32"), 0
        y = like(net, (1, 128), dtype)
        net.op("RESHAPE", [x, to], [y], 1, "ReshapeOptions")
        yield f"RESHAPE {dtype} fed", net.done([x, to], [y])


def bounds() -> Iterator[Variant]:
    """Yield softmax, slices, transpositions and resizes with their parameters."""
    for dtype in BOTH:
        for beta in (1.0, 2.0):
            for rank in (2, 4, 1):
                net = Net()
                shape = {1: (8,), 2: (1, 8), 4: (1, 4, 4, 8)}[rank]
                x = like(net, shape, dtype)
                y = (net.tensor(shape, dtype, scale=1 / 256, zero=-128)
                     if dtype == "int8" else like(net, shape, dtype))  # fmt: skip
                net.op("SOFTMAX", [x], [y], 2, "SoftmaxOptions", beta=beta)
                yield f"SOFTMAX {dtype} beta{beta}-rank{rank}", net.done([x], [y])
        for name, size, sizes in (("to-end", [-1, 2, -1, -1], (1, 2, 3, 8)),
                                  ("exact", [1, 2, 3, 8], (1, 2, 3, 8))):  # fmt: skip
            net = Net()
            x, y = like(net, (1, 4, 4, 8), dtype), like(net, sizes, dtype)
            net.op("SLICE", [x, net.ints([0, 1, 1, 0]), net.ints(size)], [y], 2, "SliceOptions")
            yield f"SLICE {dtype} {name}", net.done([x], [y])
        for name, step, mask, sizes in STEPPED:
            net = Net()
            x, y = like(net, (1, 4, 4, 8), dtype), like(net, sizes, dtype)
            ends = [net.ints([0, 1, 1, 0]), net.ints([1, 3, 4, 8]), net.ints(step)]
            net.op("STRIDED_SLICE", [x, *ends], [y], 2, "StridedSliceOptions", **mask)
            yield f"STRIDED_SLICE {dtype} {name}", net.done([x], [y])
        for rank in (2, 3, 5, 6, 7):
            net = Net()
            shape = tuple(range(2, 2 + rank))
            x, y = like(net, shape, dtype), like(net, shape[::-1], dtype)
            order = list(range(rank))[::-1]
            net.op("TRANSPOSE", [x, net.ints(order)], [y], 2, "TransposeOptions")
            yield f"TRANSPOSE {dtype} rank{rank}", net.done([x], [y])
        for name, flags in (("plain", {}), ("align", {"alignCorners": True}),
                            ("half", {"halfPixelCenters": True})):  # fmt: skip
            net = Net()
            x, y = like(net, (1, 4, 4, 8), dtype), like(net, (1, 8, 8, 8), dtype)
            net.op("RESIZE_BILINEAR", [x, net.ints([8, 8])], [y], 3, "ResizeBilinearOptions",
                   **flags)  # fmt: skip
            yield f"RESIZE_BILINEAR {dtype} {name}", net.done([x], [y])


def others() -> Iterator[Variant]:
    """Yield activations with parameters, transposed convolutions, products, half weights."""
    for dtype in BOTH:
        for alpha in (0.1, -0.5, 2.0, 0.0):
            net = Net()
            x, y = like(net, (1, 4, 4, 8), dtype), like(net, (1, 4, 4, 8), dtype)
            net.op("LEAKY_RELU", [x], [y], 1, "LeakyReluOptions", alpha=alpha)
            yield f"LEAKY_RELU {dtype} {alpha}", net.done([x], [y])
        for name, same, act, bias in (("same", 0, 0, True), ("valid", 1, 0, True),
                                      ("act1", 0, 1, True), ("bare", 0, 0, False)):  # fmt: skip
            net = Net()
            out = 8 if same == 0 else 9
            x, y = like(net, (1, 4, 4, 8), dtype), like(net, (1, out, out, 8), dtype)
            scale: Any = 0.0 if dtype == "float32" else STEPS
            w = net.weights((8, 3, 3, 8), dtype, scale=scale)
            inputs = [net.ints([1, out, out, 8]), w, x]
            if bias:
                wide = "float32" if dtype == "float32" else "int32"
                of_bias: Any = 0.0 if dtype == "float32" else [0.05 * s for s in STEPS]
                inputs.append(net.weights((8,), wide, scale=of_bias))
            net.op("TRANSPOSE_CONV", inputs, [y], 4, "TransposeConvOptions", padding=same,
                   strideW=2, strideH=2, fusedActivationFunction=act)  # fmt: skip
            yield f"TRANSPOSE_CONV {dtype} {name}", net.done([x], [y])
        for name, adj_x, adj_y, const in (("plain", 0, 0, 0), ("adj-y", 0, 1, 0),
                                          ("adj-x", 1, 0, 0), ("const", 0, 0, 1),
                                          ("const-adj-y", 0, 1, 1)):  # fmt: skip
            net = Net()
            a = like(net, (1, 8, 4) if adj_x else (1, 4, 8), dtype)
            form = (1, 4, 8) if adj_y else (1, 8, 4)
            scale = 0.0 if dtype == "float32" else 0.05
            b = net.weights(form, dtype, scale=scale) if const else like(net, form, dtype)
            y = like(net, (1, 4, 4), dtype)
            net.op("BATCH_MATMUL", [a, b], [y], 2, "BatchMatMulOptions", adjX=bool(adj_x),
                   adjY=bool(adj_y))  # fmt: skip
            yield f"BATCH_MATMUL {dtype} {name}", net.done([a] if const else [a, b], [y])
    net = Net()
    x, y = like(net, (1, 16), "float32"), like(net, (1, 8), "float32")
    half = net.weights((8, 16), "float16", scale=0.0)
    full = net.tensor((8, 16), "float32")
    net.op("DEQUANTIZE", [half], [full], 3, "DequantizeOptions")
    net.op("FULLY_CONNECTED", [x, full, -1], [y], 1, "FullyConnectedOptions")
    yield "FULLY_CONNECTED float32 half-weights", net.done([x], [y])
    net = Net()
    x = net.tensor((1, 4), "int32")
    y = net.tensor((1, 4), "int32")
    net.op("ADD", [x, net.tensor((1, 4), "int32", np.ones((1, 4), "i4"))], [y], 1, "AddOptions")
    yield "ADD int32 plain", net.done([x], [y])


def variants() -> Iterator[Variant]:
    """Yield every variation as (name, model)."""
    yield from convolutions()
    yield from dense()
    yield from pools()
    yield from sums()
    yield from reductions()
    yield from shapes()
    yield from bounds()
    yield from others()
