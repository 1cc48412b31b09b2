"""Weights and biases as the kernels want them, with what turns sums into bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.firmware.compiler import fixed_point
from edgepack.firmware.compiler.lower.kernel_call import (
    Array,
    activation_range,
    quantized,
)
from edgepack.firmware.compiler.model import Node
from edgepack.tflite.tensors import Tensor

WORD_BYTES = 4


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedWeights:
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


def read_bias(op: Node, position: int, channels: int) -> NDArray[np.int64]:
    """Return the bias, zeros where the model has none."""
    tensor = op.optional(position)
    if tensor is None:
        return np.zeros(channels, np.int64)
    if tensor.dtype != "int32" or tensor.elements != channels:
        op.refuse(f"wanted a bias of {channels} int32", tensor)
    return op.constant(position).reshape(-1).astype(np.int64)


def layer(
    op: Node, weights: NDArray[np.int8], *, fold: bool, per_channel: bool, source: int = 0
) -> QuantizedWeights:
    """Return the numbers of a weighted operator whose sums run over ``weights[c]``.

    Args:
        fold: takes the input's zero point into the bias.
        per_channel: repeats a single scale for every channel.
        source: position of the data among the inputs.
    """
    channels = len(weights)
    filters = op.input(1)
    input_scale, input_zero = quantized(op, op.input(source))
    output_scale, output_zero = quantized(op, op.output)
    if filters.dtype != "int8":
        op.refuse(f"weights of dtype {filters.dtype}; wanted int8", filters)
    if any(filters.zero_points):
        op.refuse("weights with a zero point; wanted symmetric int8", filters)
    if len(filters.scales) not in {1, channels}:
        op.refuse(f"{len(filters.scales)} scales for {channels} channels", filters)
    if not all(0 < s < float("inf") for s in filters.scales):
        op.refuse("a scale that is not a positive number", filters)
    factors = [input_scale * scale / output_scale for scale in filters.scales]
    if per_channel:
        factors = factors * (channels // len(factors))
    doubled, powers = _multipliers(op, factors, filters)
    bias = read_bias(op, 3 if source else 2, channels)
    dead = np.broadcast_to(doubled == 0, (channels,))
    weights = np.where(dead[:, None], np.int8(0), weights)  # TFLM gives the zero point there
    bias = np.where(dead, 0, bias)
    shifts = np.where(doubled == 0, -1, powers).astype(np.int8)
    mantissas = np.where(doubled == 0, 1 << 31, doubled).astype(np.uint32)
    largest = np.abs(weights.astype(np.int64)).sum(axis=1)
    if fold:
        bias = bias - input_zero * weights.astype(np.int64).sum(axis=1)
    reach = int((np.abs(bias) + largest * (128 if fold else 255)).max())
    if reach > fixed_point.INT32_MAX:
        op.refuse(f"sums may reach {reach}; the limit is {fixed_point.INT32_MAX}", filters)
    low, high = activation_range(op, op.output)
    return QuantizedWeights(
        weights, bias, mantissas, shifts, input_zero, output_zero, low, high
    )


def _multipliers(
    op: Node, factors: list[float], tensor: Tensor
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    try:
        found = [fixed_point.multiplier(f) for f in factors]
    except ValueError as cause:
        op.refuse(str(cause), tensor)
    return (
        np.array([2 * m for m, _ in found], np.int64),
        np.array([s for _, s in found], np.int64),
    )


def output_fields(
    name: str, layer: QuantizedWeights, group: int = 1, *, exact: bool = False
) -> tuple[tuple[str, str], tuple[Array, ...]]:
    """Return the ``ep_output`` of a layer and its two arrays; ``exact`` keeps TFLM's shifts."""
    shifts = -layer.shifts - 1 if layer.fast and not exact else layer.shifts
    arrays = (
        Array(f"{name}_multiplier", "uint32_t", filled_up(layer.mantissas, group)),
        Array(f"{name}_shift", "int8_t", filled_up(shifts.astype(np.int8), group)),
    )
    text = (
        f"{{{arrays[0].name}, {arrays[1].name}, "
        f"{layer.output_zero}, {layer.low}, {layer.high}}}"
    )
    return ("output", text), arrays
