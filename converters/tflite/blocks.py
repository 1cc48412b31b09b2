"""Dense kernels stored as blocks of 1x16 with the empty blocks left out.

TensorFlow Lite's builtin int8 kernel of FULLY_CONNECTED reads this form (version 8) and
skips the empty blocks, so storage falls with the share of empty blocks. No weight changes;
an output may by one step, as the dense kernel rounds otherwise. See docs/adr/0015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters import settings
from converters.errors import ModelRefused
from converters.tflite.tflite_edit import code_of, hold, pack, parse, readers

BLOCK = 16  # inputs of one output that are stored or left out together
VERSION = 8  # of FULLY_CONNECTED with sparse weights (TensorFlow's op_version.cc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Store each dense kernel by its blocks that are not empty, where that is smaller.

    Attributes:
        min_empty: smallest share of empty blocks of a kernel that is stored so, in [0, 1).
    """

    min_empty: float = 0.25

    def __post_init__(self) -> None:
        """Refuse settings that no file can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        settings.half_open_share(self, "min_empty")

    def __call__(
        self, tflite: bytes, rows: NDArray[Any] | None = None
    ) -> tuple[bytes, tuple[str, ...]]:
        """Return the file with its dense kernels in blocks, and what was done in words.

        The weights alone decide; ``rows`` are there for other rewrites.

        Raises:
            ModelRefused: no dense kernel has enough empty blocks, or none could be read.
        """
        model = parse(tflite)
        graph = model.subgraphs[0]
        found = {index: _empty(model, graph.tensors[index]) for index in _kernels(model)}
        chosen = [
            index
            for index, empty in found.items()
            if empty >= self.min_empty
            and _stored_bytes(graph.tensors[index].shape, empty)
            < len(model.buffers[graph.tensors[index].buffer].data)
        ]
        if not chosen:
            best = f"the emptiest has {max(found.values()):.0%}" if found else "there is none"
            raise ModelRefused(
                f"blocks: wanted an int8 dense kernel with at least {self.min_empty:.0%} empty "
                f"blocks of 1x{BLOCK}; {best}. Prune with block = {BLOCK} first, or leave "
                "[blocks] out of the recipe"
            )
        for index in chosen:
            encode(model, graph.tensors[index], BLOCK)
        for operator in graph.operators:
            if len(operator.inputs) > 1 and int(operator.inputs[1]) in chosen:
                operator.opcodeIndex = code_of(model, operator.opcodeIndex, VERSION)
        done = pack(model)
        shares = ", ".join(f"{found[index]:.0%}" for index in chosen)
        note = (
            f"{len(chosen)} of {len(found)} dense kernels stored without their empty blocks "
            f"of 1x{BLOCK} ({shares} empty), {len(tflite) - len(done):,} B less"
        )
        return done, (note,)


def _kernels(model: Any) -> list[int]:
    """Return the int8 kernels with one scale that only dense operators read, by number."""
    graph = model.subgraphs[0]
    found = []
    for index, read in sorted(readers(model).items()):
        if read != {("FULLY_CONNECTED", 1)}:
            continue
        tensor = graph.tensors[index]
        data = model.buffers[tensor.buffer].data
        fits = len(tensor.shape) == 2 and tensor.shape[1] % BLOCK == 0
        plain = tensor.type == schema.TensorType.INT8 and tensor.sparsity is None
        if fits and plain and data is not None and len(tensor.quantization.scale) == 1:
            found.append(index)
    return found


def _blocks(model: Any, tensor: Any, size: int) -> NDArray[np.int8]:
    """Return a kernel as ``(outputs, blocks, size)``."""
    codes = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int8)
    return codes.reshape(tensor.shape[0], -1, size)


def _empty(model: Any, tensor: Any) -> float:
    return float((_blocks(model, tensor, BLOCK) == 0).all(-1).mean())


def _stored_bytes(shape: Any, empty: float) -> float:
    """Return about how many bytes the blocks and the lists that place them take."""
    outputs, inputs = (int(size) for size in shape)
    blocks = outputs * inputs / BLOCK * (1 - empty)
    return blocks * (BLOCK + (1 if inputs // BLOCK <= 256 else 2)) + 4 * (outputs + 1)


def encode(model: Any, tensor: Any, size: int) -> None:
    """Put a kernel into compressed rows of blocks (TACO's format, as the schema tells it).

    ``size`` is there to ask runtimes: of int8 blocks they read 1x16 only.
    """
    blocks = _blocks(model, tensor, size)
    kept = (blocks != 0).any(-1)
    segments = np.concatenate([[0], np.cumsum(kept.sum(1))])
    made = schema.SparsityParametersT()
    made.traversalOrder, made.blockMap = [0, 1, 2], [1]
    made.dimMetadata = [
        _dense(blocks.shape[0]),
        _rows(segments, np.nonzero(kept)[1]),
        _dense(size),
    ]
    tensor.sparsity = made
    hold(model, tensor, blocks[kept].reshape(-1).view(np.uint8))


def _dense(size: int) -> Any:
    made = schema.DimensionMetadataT()
    made.format, made.denseSize = schema.DimensionType.DENSE, size
    return made


def _rows(segments: NDArray[np.int64], indices: NDArray[np.int64]) -> Any:
    made = schema.DimensionMetadataT()
    made.format = schema.DimensionType.SPARSE_CSR
    made.arraySegmentsType, made.arraySegments = _vector(segments)
    made.arrayIndicesType, made.arrayIndices = _vector(indices)
    return made


def _vector(values: NDArray[np.int64]) -> tuple[int, Any]:
    """Return whole numbers in the narrowest vector of the schema that holds them."""
    largest = int(values.max(initial=0))
    for limit, name in ((256, "Uint8Vector"), (65536, "Uint16Vector"), (2**31, "Int32Vector")):
        if largest < limit:
            made = getattr(schema, f"{name}T")()
            made.values = values.tolist()
            return int(getattr(schema.SparseIndexVector, name)), made
    raise ModelRefused(f"blocks: wanted fewer than 2^31 blocks. Received: {largest}")
