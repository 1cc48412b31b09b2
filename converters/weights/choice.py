"""Which weights of a kernel go: one by one or a block at a time, by size. No TensorFlow.

What goes together is a *unit*; a kernel is seen as its units by output channel, ``(U, C)``.
Where outputs have few units each, a choice over the whole kernel could take all of one
output's, so here each keeps its dearest.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Saliency = NDArray[np.float64]
Mask = NDArray[np.bool_]


def blocks_fit(inputs: int, share: float, block: int) -> bool:
    """Tell whether a dense kernel can lose ``share`` of its blocks, each output keeping one.

    A block is ``block`` consecutive inputs of one output.
    """
    return inputs % block == 0 and each_keeps_one(inputs // block, share)


def each_keeps_one(units: int, share: float) -> bool:
    """Tell whether ``share`` of all units can go while each output keeps one of ``units``."""
    return units * (1 - share) >= 1


def dense_saliency(kernel: NDArray[Any], block: int) -> Saliency:
    """Return the sum of squares of each block of ``(inputs, outputs)``, ``(blocks, outputs)``.

    That is what removing the block costs where inputs are of one size and independent.
    """
    squares = np.square(kernel, dtype=np.float64).reshape(-1, block, kernel.shape[-1])
    return np.asarray(squares.sum(axis=1))


def depthwise_saliency(kernel: NDArray[Any]) -> Saliency:
    """Return each weight over its channel's largest, ``(h * w, channels)``.

    Channels are normalized after a depthwise convolution, so their sizes tell nothing of
    what they are worth; by plain size whole channels would go.
    """
    flat = np.abs(kernel, dtype=np.float64).reshape(math.prod(kernel.shape[:2]), -1)
    largest = flat.max(axis=0)
    return np.asarray(flat / np.where(largest == 0, 1, largest))


def least_salient(saliency: Saliency, count: int, *, spare: bool) -> Mask:
    """Return where the ``count`` cheapest of ``(U, C)`` are; ties go to the first.

    With ``spare`` the dearest of each column is never among them, even if fewer go then.
    """
    ranked = saliency
    if spare:
        columns = saliency.shape[1]
        ranked = saliency.copy()
        ranked[saliency.argmax(axis=0), np.arange(columns)] = np.inf
        count = min(count, saliency.size - columns)
    gone = np.zeros(saliency.size, bool)
    gone[np.argsort(ranked, axis=None, kind="stable")[:count]] = True
    return gone.reshape(saliency.shape)


def kept(kernel: NDArray[Any], share: float, block: int) -> Mask:
    """Return where ``kernel`` stays when ``share`` of its units goes, in its own shape.

    A dense kernel, ``(inputs, outputs)``, loses blocks; a depthwise one, ``(h, w, channels,
    multiplier)``, single weights. The share is rounded up.
    """
    dense = kernel.ndim == 2
    saliency = dense_saliency(kernel, block) if dense else depthwise_saliency(kernel)
    stays = ~least_salient(saliency, math.ceil(share * saliency.size), spare=True)
    return (stays.repeat(block, axis=0) if dense else stays).reshape(kernel.shape)


def empty_blocks(kernel: NDArray[Any], block: int) -> int:
    """Return how many blocks of ``(inputs, outputs)`` hold nothing but zeros."""
    found = (kernel == 0).reshape(-1, block, kernel.shape[-1]).all(axis=1)
    return int(np.count_nonzero(found))
