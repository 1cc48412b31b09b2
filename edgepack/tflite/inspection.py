"""A finished .tflite as the checks of a conversion ask about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepack.tflite.facts import FLOATS
from edgepack.tflite.flatbuffer import read
from edgepack.tflite.operators import inputs_of


@dataclass(frozen=True, slots=True, eq=False)
class KernelCodes:
    """An int8 weight tensor that an operator multiplies with.

    Attributes:
        operator: its kind, ``CONV_2D`` for example.
        name: of the tensor.
        codes: ``int8`` in the tensor's own shape, read-only.
        channel_axis: along which it has a scale each; None with one scale.
    """

    operator: str
    name: str
    codes: NDArray[np.int8]
    channel_axis: int | None


@dataclass(frozen=True, slots=True)
class FactsInspector:
    """The reader that conversions are given (``converters.inspection``).

    Both methods raise InputError for bytes that are no .tflite.
    """

    def float_accesses(self, tflite: bytes) -> tuple[str, ...]:
        """Return each float tensor of an operator, as ``OPERATOR reads float32 'tensor'``."""
        facts = read(tflite)
        return tuple(
            f"{op.name} {verb} {tensor.dtype} {tensor.name!r}"
            for op in facts.ops
            for verb, tensors in (("reads", facts.feeds(op)), ("writes", facts.yields(op)))
            for tensor in tensors
            if tensor is not None and tensor.dtype in FLOATS
        )

    def int8_kernels(self, tflite: bytes) -> tuple[KernelCodes, ...]:
        """Return every constant int8 kernel, in the order of its operators."""
        facts = read(tflite)
        found = []
        for op in facts.ops:
            slot = inputs_of(op.name).kernel
            tensor = None if slot is None else facts.feed(op, slot)
            if tensor is None or tensor.dtype != "int8" or not tensor.constant:
                continue
            per_channel = tensor.quantization if len(tensor.scales) > 1 else None
            axis = None if per_channel is None else per_channel.axis
            found.append(KernelCodes(op.name, tensor.name, facts.array(tensor), axis))
        return tuple(found)
