"""What a check on a finished .tflite asks of a reader, and what it makes of the answers.

The reader is handed in with ``Training``: the bytes are read by whoever owns the model of a
.tflite (``edgepack.tflite.inspection``), and no tables of operators or tensors are kept here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Int8Kernel(Protocol):
    """An int8 weight tensor that an operator multiplies with."""

    @property
    def operator(self) -> str:
        """Its kind, ``CONV_2D`` for example."""

    @property
    def name(self) -> str:
        """Of the tensor: the names of all Keras layers merged into it, by ``;``."""

    @property
    def codes(self) -> NDArray[np.int8]:
        """In the tensor's own shape."""

    @property
    def channel_axis(self) -> int | None:
        """Along which it has a scale each; None with one scale."""


class TfliteInspector(Protocol):
    """Reads finished .tflite bytes."""

    def float_accesses(self, tflite: bytes) -> Sequence[str]:
        """Return each float tensor of an operator, as ``OPERATOR reads float32 'tensor'``."""

    def int8_kernels(self, tflite: bytes) -> Sequence[Int8Kernel]:
        """Return every constant int8 kernel, in the order of its operators."""


def belongs_to(kernel: Int8Kernel, layer: str) -> bool:
    """Tell whether the Keras layer ``layer`` is among those merged into a kernel."""
    paths = [f"/{path}/" for path in kernel.name.split(";")]  # a name may hold slashes
    return any(f"/{own}/" in path for path in paths for own in (layer, f"quant_{layer}"))


def distinct_codes(kernel: Int8Kernel) -> int:
    """Return how many codes the tensor uses."""
    return len(np.unique(kernel.codes))


def distinct_per_channel(kernel: Int8Kernel) -> int:
    """Return the most codes that any one channel uses; of the tensor with one scale."""
    if kernel.channel_axis is None:
        return distinct_codes(kernel)
    rows = np.moveaxis(kernel.codes, kernel.channel_axis, 0)
    return max(len(np.unique(row)) for row in rows)
