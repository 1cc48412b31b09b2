"""int4 weights where they cost least: a rewrite of a full-int8 .tflite, kernel by kernel.

The int8 file comes from calibration or from quantization-aware training; its activations,
zeros and order of operators stay as they are. A kernel that is narrowed keeps one scale per
channel and 15 values, -7 to 7, two of them in a byte, so flash and storage shrink, not only
the download. See docs/adr/0015.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters.errors import ModelRefused
from converters.tflite import tflite_edit
from converters.tflite.tflite_edit import code_of, hold, operator_name, pack, parse, readers

LIMIT = 7  # largest code of a symmetric int4 kernel
#: Operator -> the version whose kernels read int4 (TensorFlow's op_version.cc).
#: Depthwise kernels stay: a few bytes, and LiteRT's reference kernels read none in int4.
VERSIONS = {"CONV_2D": 7, "FULLY_CONNECTED": 10}
_CLIPS = np.linspace(0.5, 1.0, 26)  # shares of a channel's largest weight that are tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrow:
    """Store the weights of as many kernels in int4 as the outputs allow.

    Each kernel is tried alone on calibration rows. They are then narrowed in the order of
    bytes saved per harm done, as long as the outputs of all together stay close.

    Attributes:
        weights: bits of a narrowed weight; 4 is the only width that the kernels read.
        max_error: largest root mean square change of the outputs on calibration rows, as a
            share of the outputs' own root mean square about their mean.
    """

    weights: int = 4
    max_error: float = 0.1

    def __post_init__(self) -> None:
        """Refuse settings that no file can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        if self.weights != 4:
            raise ValueError(f"weights: wanted 4. Received: {self.weights}")
        if not 0 < self.max_error < 1:
            raise ValueError(f"max_error: wanted a share in (0, 1). Received: {self.max_error}")

    def __call__(self, tflite: bytes, rows: NDArray[Any]) -> tuple[bytes, tuple[str, ...]]:
        """Return the narrowed file, and what was narrowed in words.

        Args:
            tflite: full int8, of our own converter.
            rows: ``(N, *input_shape)`` calibration rows in the units of the float model.

        Raises:
            ModelRefused: no kernel can be narrowed without more than ``max_error``.
        """
        model = parse(tflite)
        found = candidates(model)
        before = tflite_edit.outputs(tflite, rows)
        spread = float(np.sqrt(np.mean((before - before.mean(0)) ** 2))) or 1.0

        def error(chosen: Iterable[int]) -> float:
            after = tflite_edit.outputs(narrowed(tflite, chosen), rows)
            return float(np.sqrt(np.mean((after - before) ** 2))) / spread

        alone = {index: error([index]) for index in found}
        cheapest = sorted(found, key=lambda index: (alone[index] / found[index], index))
        chosen: list[int] = []
        harm = 0.0
        for index in cheapest:
            together = error([*chosen, index]) if chosen else alone[index]
            if together <= self.max_error:
                chosen.append(index)
                harm = together
        if not chosen:
            raise ModelRefused(
                f"narrow: none of {len(found)} kernels can be stored in int4 with the outputs "
                f"changing by at most {self.max_error:g} of their spread (the best changes "
                f"them by {min(alone.values(), default=float('nan')):.3g}); raise max_error "
                "or leave [narrow] out of the recipe"
            )
        saved = sum(found[index] for index in chosen)
        note = (
            f"int4 weights in {len(chosen)} of {len(found)} kernels, {saved:,} B less; on "
            f"{len(rows)} calibration rows the outputs change by {harm:.1%} of their "
            "spread"
        )
        return narrowed(tflite, chosen), (note,)


def candidates(model: Any) -> dict[int, int]:
    """Return the tensors of the main graph that may be narrowed, and the bytes each saves.

    A kernel qualifies if every operator that reads it has int4 kernels and reads it as its
    weights, and it holds int8 data.
    """
    graph = model.subgraphs[0]
    found = {}
    for index, read in readers(model).items():
        if index < 0 or any(name not in VERSIONS or slot != 1 for name, slot in read):
            continue
        tensor = graph.tensors[index]
        data = model.buffers[tensor.buffer].data
        plain = tensor.type == schema.TensorType.INT8 and tensor.sparsity is None
        if ("FULLY_CONNECTED", 1) in read and len(tensor.quantization.scale) > 1:
            continue  # TFLM and older TensorFlow Lite read dense int4 with one scale only
        if plain and data is not None and len(data) > 1:
            found[index] = len(data) // 2
    return found


def narrowed(tflite: bytes, chosen: Iterable[int]) -> bytes:
    """Return the file with the ``chosen`` tensors of the main graph in int4."""
    model = parse(tflite)
    graph = model.subgraphs[0]
    wanted = set(chosen)
    factors = {index: _narrow_tensor(model, graph.tensors[index]) for index in sorted(wanted)}
    biases: set[int] = set()
    for operator in graph.operators:
        if len(operator.inputs) < 2 or int(operator.inputs[1]) not in wanted:
            continue
        name = operator_name(model, operator)
        operator.opcodeIndex = code_of(model, operator.opcodeIndex, VERSIONS[name])
        if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
            bias = int(operator.inputs[2])
            if bias not in biases:  # two operators may share kernel and bias
                biases.add(bias)
                _rescale(model, graph.tensors[bias], factors[int(operator.inputs[1])])
    return pack(model)


def to_codes(
    codes: NDArray[np.int8], axis: int | None
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return int4 codes for int8 ``codes``, and by what factor each channel's scale grows.

    Of each channel the clip with the least squared error is taken; a zero stays a zero.
    """
    flat = codes.reshape(1, -1) if axis is None else np.moveaxis(codes, axis, 0)
    rows = flat.reshape(flat.shape[0], -1).astype(np.float64)
    largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1.0)
    best = np.full(len(rows), np.inf)
    factor = np.ones(len(rows))
    for clip in _CLIPS:
        steps = np.maximum(largest * clip / LIMIT, 1.0)  # finer than int8 there is nothing
        kept = np.clip(np.rint(rows / steps), -LIMIT, LIMIT) * steps
        harm = ((kept - rows) ** 2).sum(axis=1)
        better = harm < best
        best, factor = np.where(better, harm, best), np.where(better, steps[:, 0], factor)
    narrow = np.clip(np.rint(rows / factor[:, None]), -LIMIT, LIMIT).astype(np.int8)
    if axis is None:
        return narrow.reshape(codes.shape), factor
    return np.moveaxis(narrow.reshape(flat.shape), 0, axis), factor


def packed(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return two codes a byte, the first in the low half."""
    low = np.pad(codes.reshape(-1), (0, codes.size % 2)).astype(np.uint8) & np.uint8(15)
    both: NDArray[np.uint8] = low[0::2] | (low[1::2] << np.uint8(4))
    return both


def _narrow_tensor(model: Any, tensor: Any) -> NDArray[np.float64]:
    """Put a tensor's data into int4 and return the factors of its scales."""
    codes = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int8)
    scale = np.asarray(tensor.quantization.scale, np.float64)
    axis = int(tensor.quantization.quantizedDimension) if scale.size > 1 else None
    narrow, factor = to_codes(codes.reshape(tensor.shape), axis)
    hold(model, tensor, packed(narrow))
    tensor.type = schema.TensorType.INT4
    tensor.quantization.scale = (scale * factor).astype(np.float32)
    return factor


def _rescale(model: Any, tensor: Any, factor: NDArray[np.float64]) -> None:
    """Give a bias the scale of its narrowed kernel; its values stay what they were."""
    codes = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int32)
    narrow = np.rint(codes / factor).astype(np.int32)
    hold(model, tensor, np.frombuffer(narrow.tobytes(), np.uint8))
    scale = np.asarray(tensor.quantization.scale, np.float64)
    tensor.quantization.scale = (scale * factor).astype(np.float32)
