"""A few int8 codes per kernel, fitted exactly, and the kernel put onto them. No TensorFlow.

A deployed int8 kernel is ``scale_c * code`` with one scale per output channel (per tensor
for Dense) and ``scale_c = max|w_c| / 127``. So the codebook is fitted on ``w / max|w_c|``,
with the codes 0 and +-127 always in it: zeros stay zeros, each channel's largest weight
keeps its code, and the converter finds the same scale and the same codes again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMIT = 127  # largest code of a symmetric int8 kernel (TFLite 8-bit specification)
_BINS = 2 * LIMIT + 1

Axes = tuple[int, ...]
CHANNELS: dict[str, Axes] = {
    "Conv1D": (2,),
    "Conv2D": (3,),
    "Conv2DTranspose": (2,),
    "DepthwiseConv2D": (2, 3),
    "Dense": (),  # one scale a tensor: what every runtime's FULLY_CONNECTED reads
}
OUTPUTS: dict[str, Axes] = CHANNELS | {"Dense": (1,)}  # axes of the output channels


@dataclass(frozen=True, slots=True)
class Codebook:
    """Codes in rising order, and where one gives way to the next.

    Attributes:
        codes: ``(K,) int16`` in [-127, 127], with 0 and both ends among them.
        edges: ``(K - 1,) float32`` on the scale of codes; value v takes ``codes[i]`` where
            i edges lie below v.
    """

    codes: NDArray[np.int16]
    edges: NDArray[np.float32]

    def code_of(self, value: float) -> int:
        """Return the code of one value, given on the scale of codes."""
        return int(self.codes[np.searchsorted(self.edges, value)])

    def codes_of(self, values: NDArray[np.floating]) -> NDArray[np.int16]:
        """Return the code of each value, given on the scale of codes."""
        codes: NDArray[np.int16] = self.codes[np.searchsorted(self.edges, values)]
        return codes


def scales(kernel: NDArray[np.floating], channels: Axes) -> NDArray[np.float32]:
    """Return ``max|w|`` per channel, shaped to broadcast; 1 where a channel is all zeros."""
    others = tuple(axis for axis in range(kernel.ndim) if axis not in channels)
    largest = np.abs(kernel).max(axis=others, keepdims=True)
    return np.where(largest == 0, 1, largest).astype(np.float32)


def to_codes(kernel: NDArray[np.floating], channels: Axes) -> NDArray[np.int16]:
    """Return the int8 codes that the converter gives ``kernel``, in its own shape."""
    codes: NDArray[np.int16] = np.rint(kernel / scales(kernel, channels) * LIMIT).astype(
        np.int16
    )
    return codes


def to_tflite(kernel: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return a Keras kernel in the axis order of its .tflite operator, by layer class."""
    orders = {
        "Conv1D": (2, 0, 1),
        "Conv2D": (3, 0, 1, 2),
        "Conv2DTranspose": (2, 0, 1, 3),
        "Dense": (1, 0),
    }
    return kernel.transpose(orders[kind]) if kind in orders else kernel


def fit(
    kernel: NDArray[np.floating], channels: Axes, clusters: int, bit_price: float = 0.0
) -> Codebook:
    """Return the codebook of at most ``clusters`` codes with the least squared error.

    Exact: the best split of the 255 bins into runs, by dynamic programming. ``bit_price``
    adds its price per bit of the codes' entropy to the squared error of each weight (both
    in units of one code squared), which buys a smaller download for a little error (entropy
    constrained quantization: Chou, Lookabaugh and Gray 1989).

    Raises:
        ValueError: fewer than 3 clusters leave no room for 0 and both ends.
    """
    if clusters < 3:
        raise ValueError(f"clusters: wanted 3 or more, for 0 and +-127. Received: {clusters}")
    values = (kernel / scales(kernel, channels) * LIMIT).ravel().astype(np.float64)
    bins = np.rint(values).astype(np.int64) + LIMIT
    counts = np.bincount(bins, minlength=_BINS).astype(np.float64)
    cost, centres = _runs(
        counts,
        np.bincount(bins, values, minlength=_BINS).astype(np.float64),
        np.bincount(bins, values**2, minlength=_BINS).astype(np.float64),
        bit_price,
    )
    starts = _split(cost, clusters)
    ends = np.append(starts[1:], _BINS)
    codes = np.array([centres[a, b - 1] for a, b in zip(starts, ends, strict=True)], np.int16)
    return Codebook(codes, (starts[1:] - LIMIT - 0.5).astype(np.float32))


def _runs(
    counts: NDArray[np.float64],
    sums: NDArray[np.float64],
    squares: NDArray[np.float64],
    bit_price: float,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (cost, code) of every run of bins ``[a, b]`` that shares one code."""
    n, s, q = (np.concatenate([[0.0], np.cumsum(part)]) for part in (counts, sums, squares))
    first, last = np.meshgrid(np.arange(_BINS), np.arange(_BINS), indexing="ij")
    valid = first <= last
    number, total, square = (
        np.where(valid, part[last + 1] - part[first], 0.0) for part in (n, s, q)
    )
    middle = (first + last) // 2 - LIMIT
    centre = np.rint(np.divide(total, number, out=middle.astype(float), where=number > 0))
    pinned = [(first <= LIMIT) & (last >= LIMIT), last == 2 * LIMIT, first == 0]
    for where, code in zip(pinned, (0, LIMIT, -LIMIT), strict=True):
        centre = np.where(where, code, centre)
    clash = sum(where.astype(int) for where in pinned) > 1
    error = square - 2 * centre * total + number * centre**2
    share = np.divide(number, n[-1], out=np.ones_like(number), where=number > 0)
    cost = error - bit_price * number * np.log2(share)
    return np.where(valid & ~clash, cost, np.inf), centre.astype(np.int64)


def _split(cost: NDArray[np.float64], clusters: int) -> NDArray[np.int64]:
    """Return the first bin of each run of the cheapest split into at most ``clusters``."""
    best = [cost[0]]
    back: list[NDArray[np.int64]] = []
    for _ in range(1, clusters):
        through = best[-1][:-1, np.newaxis] + cost[1:]  # last run starts at row + 1
        back.append(through.argmin(axis=0) + 1)
        best.append(through.min(axis=0))
    used = int(np.argmin([row[-1] for row in best]))
    starts, end = [], _BINS - 1
    for level in range(used, 0, -1):
        start = int(back[level - 1][end])
        starts.append(start)
        end = start - 1
    return np.array([0, *reversed(starts)])


def project(
    kernel: NDArray[np.floating], channels: Axes, book: Codebook | None
) -> NDArray[np.float32]:
    """Return ``kernel`` on its codes, as floats: on ``book``'s, or on all 255 of them."""
    scale = scales(kernel, channels)
    codes = (
        to_codes(kernel, channels) if book is None else book.codes_of(kernel / scale * LIMIT)
    )
    return (codes / np.float32(LIMIT) * scale).astype(np.float32)
