"""Random models that reduce, move or join: pools, means, slices, turns."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.edgepack.firmware.randoms import quantization, window
from tests.edgepack.tinymodels import Net


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
