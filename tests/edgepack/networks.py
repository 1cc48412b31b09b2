"""Whole int8 networks of the usual kinds, with random weights, written without a converter."""

from __future__ import annotations

from collections.abc import Callable

from tests.edgepack.tinymodels import Net


def mixed(seed: int) -> bytes:
    """Return a network with branches, of operators that XNNPACK takes and leaves."""
    net = Net(seed)
    x = net.tensor((1, 16, 16, 8))
    y = net.conv(x, 8)
    for step in range(4):
        kind = int(net.rng.integers(5))
        if kind == 0:
            y = net.add(net.conv(y, 8), y)
        elif kind == 1:
            y = net.conv(y, 8, depthwise=True)
        elif kind == 2:
            out = net.tensor((1, 16, 16, 8))
            net.op("MAXIMUM", [y, net.conv(y, 8)], [out], 2)
            y = out
        elif kind == 3:
            y = net.conv(y, 8, kernel=1, activation=3 if step % 2 else 0)
        else:
            out = net.tensor((1, 16, 16, 8), scale=1 / 256, zero=-128)
            net.op("LOGISTIC", [y], [out], 2)
            y = out
    y = net.reshape(net.pool(y, 16, average=bool(seed % 2)), (1, 8))
    return net.done([x], [net.softmax(net.dense(y, 4))])


def autoencoder(width: int, layers: int, *, per_channel: bool = False) -> bytes:
    """Return dense layers only: structures and planning outweigh the activations."""
    net = Net(width)
    x = net.tensor((1, width))
    y = x
    for layer in range(layers):
        units = 8 if layer == layers // 2 else width if layer == layers - 1 else width // 2
        y = net.dense(y, units, per_channel=per_channel)
    return net.done([x], [y])


def residual(width: int, size: int) -> bytes:
    """Return convolutions with a shortcut over each pair."""
    net = Net(size)
    x = net.tensor((1, size, size, 3))
    y = net.conv(x, width)
    for step in (1, 2, 2):
        before = y
        channels = width * step
        y = net.conv(net.conv(y, channels, stride=step), channels)
        shortcut = before if step == 1 else net.conv(before, channels, kernel=1, stride=step)
        y, width = net.add(y, shortcut), channels
    last = net.tensors[y].shape
    y = net.reshape(net.pool(y, last[1]), (1, width))
    return net.done([x], [net.softmax(net.dense(y, 10))])


def separable(width: int, size: int, blocks: int) -> bytes:
    """Return depthwise and pointwise convolutions, as MobileNet and DS-CNN have them."""
    net = Net(blocks)
    x = net.tensor((1, size, size, 1))
    y = net.conv(x, width, stride=2)
    for block in range(blocks):
        y = net.conv(y, width, stride=2 if block % 3 == 2 else 1, depthwise=True)
        if block % 3 == 2:
            width *= 2
        y = net.conv(y, width, kernel=1)
    last = net.tensors[y].shape
    y = net.reshape(net.pool(y, last[1]), (1, width))
    return net.done([x], [net.softmax(net.dense(y, 2))])


def averaged(size: int) -> bytes:
    """Return a network that ends in MEAN and joins two branches."""
    net = Net(size)
    x = net.tensor((1, size, size, 4))
    a, b = net.conv(x, 8), net.conv(x, 8, kernel=5)
    joined = net.tensor((1, size, size, 16))
    net.op("CONCATENATION", [a, b], [joined], 2, "ConcatenationOptions", axis=3)
    mean = net.tensor((1, 16))
    net.op("MEAN", [joined, net.ints([1, 2])], [mean], 2, "ReducerOptions")
    return net.done([x], [net.softmax(net.dense(mean, 5))])


def upsampled(size: int) -> bytes:
    """Return a transposed convolution, whose sums need scratch four times the output."""
    net = Net(size)
    x = net.tensor((1, size, size, 4))
    y = net.conv(x, 8)
    out = net.tensor((1, 2 * size, 2 * size, 4))
    scales = [0.01 + 0.002 * i for i in range(4)]
    weights = net.weights((4, 3, 3, 8), scale=scales)
    bias = net.weights((4,), "int32", scale=[0.05 * s for s in scales])
    shape = net.ints([1, 2 * size, 2 * size, 4])
    net.op("TRANSPOSE_CONV", [shape, weights, y, bias], [out], 3, "TransposeConvOptions",
           padding=0, strideW=2, strideH=2)  # fmt: skip
    return net.done([x], [net.conv(out, 1, kernel=1)])


NETWORKS: dict[str, Callable[[], bytes]] = {
    **{f"mixed {seed}": (lambda seed=seed: mixed(seed)) for seed in range(6)},  # type: ignore[misc]
    "autoencoder 16": lambda: autoencoder(16, 3),
    "autoencoder 128": lambda: autoencoder(128, 10),
    "autoencoder 640 per channel": lambda: autoencoder(640, 8, per_channel=True),
    "residual 8": lambda: residual(8, 32),
    "residual 16": lambda: residual(16, 32),
    "separable 8": lambda: separable(8, 48, 6),
    "separable 32": lambda: separable(32, 64, 9),
    "averaged": lambda: averaged(24),
    "upsampled": lambda: upsampled(12),
}
