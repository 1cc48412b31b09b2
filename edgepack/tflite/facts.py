"""What a .tflite holds, as frozen values; numbers that cost time are computed when asked."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.tflite.operators import CUSTOM
from edgepack.tflite.tensors import BITS, FLOATS, Tensor

__all__ = [
    "CUSTOM",
    "FLOATS",
    "Facts",
    "Feeds",
    "Kernel",
    "Op",
    "Signature",
    "Subgraph",
    "Tensor",
    "compressed_size",
]


#: Signed dtypes that share a byte.
PACKED_BITS = {"int4": 4, "int2": 2}
#: Dtypes whose constants come as arrays.
ARRAYS = (
    "int2", "int4", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64", "bool", "complex64", "complex128",
)  # fmt: skip
#: An operator's inputs, None where one is left out.
Feeds = tuple[Tensor | None, ...]


def unpacked(stored: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.int8]:
    """Return ``count`` signed numbers of so many bits, the first in the lowest ones."""
    shifts = range(8 - bits, -1, -bits)  # to the top of the byte, then down with their sign
    parts = [np.left_shift(stored, shift).view(np.int8) >> (8 - bits) for shift in shifts]
    return np.stack(parts, axis=1).reshape(-1)[:count].astype(np.int8)


def compressed_size(data: bytes) -> int:
    """Return the bytes that ``data`` takes to download: zlib (deflate), level 9.

    Deflate because it is what carries a model to a device: the entries of an APK, of a
    bundle and of a gzip-encoded response. xz would be about 10 % smaller and 20 times
    slower, and no store applies it.
    """
    return len(zlib.compress(data, 9))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operator.

    Attributes:
        index: position in its subgraph, which is the order of execution.
        name: builtin name such as ``CONV_2D``, or the custom operator's own name.
        code: builtin operator number; 32 is CUSTOM.
        version: what the converter says the runtime must understand.
        inputs, outputs, intermediates: tensor numbers of the subgraph; -1 is "left out".
        options: the builtin options that gates read, by their schema name.
        macs: multiply-accumulates of one inference; 0 where the operator multiplies nothing.
    """

    index: int
    subgraph: int
    name: str
    code: int
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    options: Mapping[str, Any]
    macs: int

    @property
    def custom(self) -> bool:
        """Whether it is not one of the builtin operators."""
        return self.code == CUSTOM


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgraph:
    """One graph: tensors, operators in order of execution, and its ends."""

    index: int
    name: str
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A named entry: (name, tensor number) of each input and output of one subgraph."""

    key: str
    subgraph: int
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything the gates know about one .tflite.

    Attributes:
        opcodes: (builtin code, custom name, version) as listed; a runtime resolves all of
            them, also those that no operator uses.
        metadata: by name; text where the bytes are printable, else their number.
        data: the file itself; not part of equality or of the printed form.
        spans: first and last byte of each buffer in ``data``.
    """

    subgraphs: tuple[Subgraph, ...]
    opcodes: tuple[tuple[int, str, int], ...]
    signatures: tuple[Signature, ...]
    description: str
    metadata: Mapping[str, str]
    offline_plan: tuple[int, ...]
    flatbuffer_bytes: int
    data: bytes = field(repr=False, compare=False)
    spans: tuple[tuple[int, int], ...] = field(repr=False, compare=False)

    @property
    def main(self) -> Subgraph:
        """Return the subgraph that an inference runs."""
        return self.subgraphs[0]

    @property
    def ops(self) -> tuple[Op, ...]:
        """Return the operators of all subgraphs."""
        return tuple(op for graph in self.subgraphs for op in graph.ops)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Return the main subgraph's input tensors."""
        return tuple(self.main.tensors[i] for i in self.main.inputs)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Return the main subgraph's output tensors."""
        return tuple(self.main.tensors[i] for i in self.main.outputs)

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of one inference of the main subgraph."""
        return sum(op.macs for op in self.main.ops)

    @property
    def min_runtime_version(self) -> str:
        """Return the TensorFlow Lite release the converter asks for; empty where unsaid."""
        return self.metadata.get("min_runtime_version", "")

    def tensor(self, op: Op, index: int) -> Tensor | None:
        """Return an operator's tensor by its number, None where it is left out (-1)."""
        return None if index < 0 else self.subgraphs[op.subgraph].tensors[index]

    def feed(self, op: Op, slot: int) -> Tensor | None:
        """Return one input of an operator; None where it is left out or there are fewer."""
        return self.tensor(op, op.inputs[slot]) if slot < len(op.inputs) else None

    def feeds(self, op: Op) -> Feeds:
        """Return an operator's inputs; None where one is left out."""
        return tuple(self.tensor(op, index) for index in op.inputs)

    def yields(self, op: Op) -> tuple[Tensor, ...]:
        """Return an operator's outputs."""
        return tuple(self.subgraphs[op.subgraph].tensors[index] for index in op.outputs)

    def values(self, tensor: Tensor) -> memoryview:
        """Return the stored bytes of a constant tensor; empty for any other."""
        first, last = self.spans[tensor.buffer]
        if tensor.dtype in BITS and not tensor.sparse:
            last = min(last, first + tensor.nbytes)  # what lies behind is read by nobody
        return memoryview(self.data)[first:last]

    def array(self, tensor: Tensor) -> NDArray[Any]:
        """Return a constant's values in its shape, read-only; int4 and int2 one a byte, int8.

        Nothing is copied but what is unpacked.

        Raises:
            ValueError: no constant, stored sparse, or of a dtype that numpy does not have.
        """
        if not tensor.constant or tensor.sparse or tensor.dtype not in ARRAYS:
            raise ValueError(f"{tensor}: wanted a dense constant of {', '.join(ARRAYS)}")
        stored = np.frombuffer(self.values(tensor), np.uint8)
        if tensor.dtype in PACKED_BITS:
            found = unpacked(stored, PACKED_BITS[tensor.dtype], tensor.elements)
        else:
            found = stored.view(np.dtype(tensor.dtype).newbyteorder("<"))
        found = found.reshape(tensor.shape)
        found.flags.writeable = False
        return found

    @cached_property
    def makers(self) -> Mapping[int, Op]:
        """Return, by tensor of the main graph, the operator that computes it."""
        return {index: op for op in self.main.ops for index in op.outputs}

    @cached_property
    def users(self) -> Mapping[int, tuple[Op, ...]]:
        """Return, by tensor of the main graph, the operators that read it."""
        found: dict[int, list[Op]] = {}
        for op in self.main.ops:
            for index in set(op.inputs):
                found.setdefault(index, []).append(op)
        return {index: tuple(ops) for index, ops in found.items()}

    @cached_property
    def download_bytes(self) -> int:
        """Return the size of the compressed file."""
        return compressed_size(self.data)

    @cached_property
    def float_ops(self) -> tuple[Op, ...]:
        """Return the operators that compute in floating point.

        QUANTIZE and DEQUANTIZE only convert between the two at the model's ends; they are
        in the list because a device without float pays for them too.
        """
        return tuple(
            op
            for op in self.ops
            if any(
                tensor is not None and tensor.dtype in FLOATS and not tensor.constant
                for tensor in (*self.feeds(op), *self.yields(op))
            )
        )

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """Return what each weight tensor of two or more dimensions holds, in file order."""
        found: dict[tuple[int, int], Kernel] = {}
        for op in self.ops:
            if op.macs == 0:
                continue
            for tensor in self.feeds(op):
                if tensor is None or not tensor.constant or len(tensor.shape) < 2:
                    continue
                kernel = _kernel(tensor, self.values(tensor))
                if kernel:
                    found.setdefault((op.subgraph, tensor.index), kernel)
        return tuple(found[key] for key in sorted(found))

    @cached_property
    def precision(self) -> str:
        """Return int8, uint8, float16 or float32: what most weights are stored as."""
        elements: dict[str, int] = {}
        for kernel in self.kernels:
            elements[kernel.dtype] = elements.get(kernel.dtype, 0) + kernel.elements
        most = max(elements, key=lambda dtype: elements[dtype], default="float32")
        return most if most in ("int8", "uint8", "float16") else "float32"


def _kernel(tensor: Tensor, raw: memoryview) -> Kernel | None:
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
