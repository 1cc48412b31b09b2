"""What the values of one weight tensor look like: zeros and distinct codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgepack.tflite.tensors import Tensor


@dataclass(frozen=True, slots=True)
class Kernel:
    """The values of one constant weight tensor.

    Attributes:
        zeros_share: share of values that stand for zero (the zero point, if quantized).
        distinct: different stored values in the whole tensor.
    """

    tensor: int
    name: str
    dtype: str
    elements: int
    zeros_share: float
    distinct: int


def look(tensor: Tensor, raw: memoryview) -> Kernel | None:
    """Return zeros and distinct values of a constant tensor's stored bytes.

    None where bytes are no values: stored sparse, or of a dtype without zeros of its own.
    """
    points = tensor.quantization.zero_points if tensor.quantization else ()
    stored = np.frombuffer(raw, np.uint8)
    if tensor.sparse:
        return None
    if tensor.dtype in ("int8", "uint8"):
        counts = np.bincount(stored, minlength=256)
        zero = (points[0] if len(set(points)) == 1 else 0) % 256
        zeros, distinct = int(counts[zero]), int(np.count_nonzero(counts))
    elif tensor.dtype == "int4":  # two a byte, the first in the low half
        halves = np.stack([stored & 15, stored >> 4], axis=1).reshape(-1)[: tensor.elements]
        counts = np.bincount(halves, minlength=16)
        zeros, distinct = int(counts[0]), int(np.count_nonzero(counts))
    elif tensor.dtype in ("float32", "float16", "int16"):
        values = stored.view(tensor.dtype)
        zeros, distinct = int((values == 0).sum()), len(np.unique(values))
    else:
        return None
    share = zeros / tensor.elements if tensor.elements else 0.0
    return Kernel(tensor.index, tensor.name, tensor.dtype, tensor.elements, share, distinct)
