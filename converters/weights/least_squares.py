"""Zeros and codes chosen by what they do to a layer's outputs, not by size. No TensorFlow.

A layer is linear in its kernel, so the squared error of one output channel over some rows is
a quadratic in that channel's weights: ``w'Hw - 2 w'b``, with ``H`` the mean of ``x x'`` and
``b`` the mean of ``x y``. Removing or rounding a weight then has a known price, and the
weights that are left can take most of it back: Optimal Brain Surgeon (Hassibi and Stork
1993), a layer at a time as in Optimal Brain Compression (Frantar, Singh and Alistarh 2022,
arXiv:2208.11580); rounding one weight after another as in GPTQ (arXiv:2210.17323).

Every matrix here is ``(inputs, channels) float64`` with the bias as its last row, which is
neither removed nor rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from converters.weights.choice import Mask, least_salient

Matrix = NDArray[np.float64]

_PULL = 1e-3  # towards the start, in mean squared inputs: what the rows do not show stays
_ROUNDS = 4  # of removing a part and solving again; 8 removed no better set on ResNet-8


@dataclass(frozen=True, slots=True)
class Quadratic:
    """The squared error of a layer's outputs, and where its weights come from.

    Attributes:
        second: ``(D, D)`` mean of ``x x'`` over rows, the constant 1 of the bias last.
        cross: ``(D, C)`` mean of ``x y'`` with the outputs wanted.
        start: ``(D, C)`` weights that the solution is pulled to.
        weight: ``(C,)`` what an error in each channel counts.
    """

    second: Matrix
    cross: Matrix
    start: Matrix
    weight: Matrix

    @property
    def pull(self) -> float:
        """The strength of the pull to ``start``."""
        return float(_PULL * np.trace(self.second) / len(self.second))

    def inverse(self, kept: Mask) -> Matrix:
        """Return the inverse of the Hessian among the weights of one channel kept."""
        inner = self.second[np.ix_(kept, kept)]
        return np.asarray(np.linalg.inv(inner + self.pull * np.eye(len(inner))))

    def best(self, channel: int, kept: Mask, inverse: Matrix) -> Matrix:
        """Return the best values of the weights of one channel that are kept."""
        wanted = self.cross[kept, channel] + self.pull * self.start[kept, channel]
        return np.asarray(inverse @ wanted)


def solve(problem: Quadratic, mask: Mask, block: int = 1) -> tuple[Matrix, Matrix]:
    """Return (weights, price) of the best weights that are zero outside of ``mask``.

    The price is what removing each weight, together with the others of its block of
    ``block`` rows, would add to the error, after the rest have taken back what they can; it
    is infinite for the bias and for what is removed already. ``mask`` holds whole blocks.
    """
    weights, price = np.zeros(mask.shape), np.full(mask.shape, np.inf)
    inverse = problem.inverse(mask[:, 0])
    for channel in range(mask.shape[1]):
        kept = mask[:, channel]
        if channel and (kept != mask[:, channel - 1]).any():  # else the inverse is the same
            inverse = problem.inverse(kept)
        values = problem.best(channel, kept, inverse)
        weights[kept, channel] = values
        price[kept, channel] = problem.weight[channel] * _rise(values, inverse, block)
    price[-1] = np.inf
    return weights, price


def _rise(values: Matrix, inverse: Matrix, block: int) -> Matrix:
    """Return ``w_B' (H^-1_BB)^-1 w_B`` of the block B that each of the kept rows is in.

    Optimal Brain Compression, equation 5; of single weights ``w^2 / H^-1_ii``. Nothing is
    told of the bias, which is alone behind the blocks.
    """
    if block == 1:
        return np.asarray(values**2 / np.diag(inverse))
    count = len(values) // block
    body, rows = count * block, np.arange(count)
    inner = inverse[:body, :body].reshape(count, block, count, block)[rows, :, rows, :]
    parts = values[:body].reshape(count, block, 1)
    each = (parts * np.linalg.solve(inner, parts)).sum(axis=(1, 2))
    return np.append(each.repeat(block), np.full(len(values) - body, np.inf))


def prune(problem: Quadratic, mask: Mask, share: float, block: int = 1) -> tuple[Matrix, Mask]:
    """Return (weights, mask) with ``share`` of all weights but the bias removed, rounded up.

    ``mask`` is where to start. The cheapest go first, a part a round; the rest is solved
    anew in between. With a ``block`` of several rows whole blocks go, and each channel
    keeps one.
    """
    units = mask[:-1].size // block
    weights, price = solve(problem, mask, block)
    for number in range(1, _ROUNDS + 1):
        part = 1 - (1 - number / _ROUNDS) ** 2
        removed = int(np.ceil(part * share * units))
        ranked = np.where(mask, price, -1.0)[:-1:block]
        gone = least_salient(ranked, removed, spare=block > 1)
        mask = mask.copy()
        mask[:-1] &= ~gone.repeat(block, axis=0)
        weights, price = solve(problem, mask, block)
    return weights, mask


def round_to_codes(
    problem: Quadratic, mask: Mask, sizes: Matrix, code_of: Callable[[float], int], limit: int
) -> Matrix:
    """Return the weights, each but the bias on a code, the others making up for it in turn.

    ``sizes`` is ``(C,)``, the size of one code in each channel; ``code_of`` rounds a value
    on the scale of codes. The largest weights go first, so that a channel keeps its
    ``limit`` and the small ones make up for them; the bias takes what is left.
    """
    weights = np.zeros(mask.shape)
    for channel in range(mask.shape[1]):
        kept = mask[:, channel]
        inverse = problem.inverse(kept)
        values = problem.best(channel, kept, inverse)
        rows = np.flatnonzero(kept)
        rounded = len(rows) - int(kept[-1])
        order = np.argsort(-np.abs(values[:rounded]), kind="stable")
        order = np.append(order, np.arange(rounded, len(rows)))
        # Column i of the upper factor holds how the weights after i answer a change of i.
        factor = np.linalg.cholesky(inverse[np.ix_(order, order)]).T
        left, size = values[order], sizes[channel]
        for at in range(rounded):
            code = code_of(float(np.clip(left[at] / size, -limit, limit)))
            moved = (left[at] - code * size) / factor[at, at]
            left[at] = code * size
            left[at + 1 :] -= moved * factor[at, at + 1 :]
        weights[rows[order], channel] = left
    return weights
