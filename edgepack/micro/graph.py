"""What a .tflite holds, as far as a C compiler for it needs to know.

Everything the file says is checked before use: an index out of range, a constant whose bytes
do not match its shape or a dimension left open is one line that names operator and tensor.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgepack.errors import InputError

LARGEST_TENSOR_BYTES = 1 << 28  # beyond any microcontroller; keeps products far from overflow


class UnsupportedModel(InputError):
    """The model asks for something the C compiler does not do; names op, tensor and limit."""


class DType(StrEnum):
    """Element types a microcontroller graph may carry."""

    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"

    @property
    def bytes(self) -> int:
        """Size of one element."""
        return np.dtype(self.value).itemsize


_DTYPES = {
    schema.TensorType.INT8: DType.INT8,
    schema.TensorType.UINT8: DType.UINT8,
    schema.TensorType.INT16: DType.INT16,
    schema.TensorType.INT32: DType.INT32,
    schema.TensorType.INT64: DType.INT64,
    schema.TensorType.FLOAT32: DType.FLOAT32,
}
_TYPE_NAMES = {v: k for k, v in vars(schema.TensorType).items() if not k.startswith("_")}
_OP_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One value of the graph.

    Attributes:
        index: its number in the file.
        scales: one, or one per index of ``axis``; empty where the tensor is not quantized.
        zero_points: as many as ``scales``.
        data: the constant, shaped; None for what is computed.
        variable: keeps its value from one inference to the next.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: DType
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    data: NDArray[Any] | None = None
    variable: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return self.size * self.dtype.bytes

    def __str__(self) -> str:
        return f"'{self.name}' {self.dtype}{list(self.shape)}"


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One operator: ``inputs`` hold None where an optional input is left out."""

    index: int
    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def refuse(self, why: str, tensor: Tensor | None = None) -> NoReturn:
        """Raise the one line that names this operator, the tensor and the limit."""
        where = f" at {tensor}" if tensor is not None else ""
        raise UnsupportedModel(f"op {self.index} {self.name}{where}: {why}")

    def input(self, position: int) -> Tensor:
        """Return an input that has to be there."""
        tensor = self.inputs[position] if position < len(self.inputs) else None
        if tensor is None:
            self.refuse(f"wanted an input {position}, but the model leaves it out")
        return tensor

    def optional(self, position: int) -> Tensor | None:
        """Return an input or None where the model leaves it out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def constant(self, position: int) -> NDArray[Any]:
        """Return the value of an input that has to be a constant."""
        tensor = self.input(position)
        if tensor.data is None:
            self.refuse("wanted a constant, but the model computes it at run time", tensor)
        return tensor.data

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.outputs[0]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """The one subgraph of a model, in execution order, without operators nobody reads."""

    ops: tuple[Op, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def read(model: bytes) -> Graph:
    """Return the graph of a .tflite.

    Shape arithmetic (SHAPE, STRIDED_SLICE, PACK before a RESHAPE) is left out, because every
    shape is already known.

    Raises:
        InputError: not a .tflite, or damaged.
        UnsupportedModel: several subgraphs, a dynamic shape, an unknown dtype, or a custom op.
    """
    if len(model) < 8 or model[4:8] != b"TFL3":
        raise InputError(
            f"not a .tflite: wanted the mark TFL3 at byte 4. Received: {bytes(model[4:8])!r}"
        )
    try:
        tree = schema.ModelT.InitFromPackedBuf(bytes(model), 0)
        return _graph(tree)
    except InputError:
        raise
    except (
        struct.error,
        IndexError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
        KeyError,
    ) as cause:
        raise InputError(f"the .tflite is damaged: {cause}") from cause


def _graph(tree: Any) -> Graph:
    if len(tree.subgraphs) != 1:
        raise UnsupportedModel(
            f"the model has {len(tree.subgraphs)} subgraphs; the limit is 1 (no WHILE or IF)"
        )
    sub = tree.subgraphs[0]
    tensors = [_tensor(i, t, tree) for i, t in enumerate(sub.tensors)]
    ops = tuple(_op(i, o, tree, tensors) for i, o in enumerate(sub.operators))
    inputs = tuple(tensors[_within(i, tensors)] for i in sub.inputs)
    outputs = tuple(tensors[_within(i, tensors)] for i in sub.outputs)
    graph = Graph(_read_by_someone(ops, outputs), inputs, outputs)
    _check_shapes(graph)
    return graph


def _within(index: int, tensors: list[Tensor]) -> int:
    if not 0 <= index < len(tensors):
        raise InputError(f"the .tflite is damaged: tensor {index} of {len(tensors)}")
    return int(index)


def _tensor(index: int, raw: Any, tree: Any) -> Tensor:
    name = raw.name.decode("utf-8", "replace") if raw.name else f"tensor {index}"
    if raw.type not in _DTYPES:
        kind = _TYPE_NAMES.get(raw.type, str(raw.type))
        raise UnsupportedModel(
            f"tensor {index} '{name}': dtype {kind.lower()}; supported: {', '.join(DType)}"
        )
    dtype = _DTYPES[raw.type]
    shape = () if raw.shape is None else tuple(int(n) for n in raw.shape)
    quantization = raw.quantization
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis = 0
    if quantization is not None and quantization.scale is not None:
        scales = tuple(float(s) for s in quantization.scale)
        points = quantization.zeroPoint
        zero_points = (0,) * len(scales) if points is None else tuple(int(z) for z in points)
        axis = int(quantization.quantizedDimension)
        if len(zero_points) != len(scales):
            raise InputError(
                f"the .tflite is damaged: tensor '{name}' has {len(scales)} scales and "
                f"{len(zero_points)} zero points"
            )
    stored = tree.buffers[raw.buffer].data if 0 <= raw.buffer < len(tree.buffers) else None
    data = None
    if stored is not None and len(stored):
        if raw.sparsity is not None:
            raise UnsupportedModel(
                f"tensor {index} '{name}': stored sparse; export the model without sparse "
                "tensors (a microcontroller gains nothing from them)"
            )
        wanted = math.prod(shape) * dtype.bytes
        if len(stored) != wanted:
            raise InputError(
                f"the .tflite is damaged: tensor '{name}' needs {wanted} B of data. "
                f"Received: {len(stored)} B"
            )
        data = np.frombuffer(bytes(stored), np.dtype(dtype.value).newbyteorder("<"))
        data = data.reshape(shape)
        data.flags.writeable = False
    signature = raw.shapeSignature
    if signature is not None and any(int(n) < 0 for n in signature[1:]):
        raise UnsupportedModel(
            f"tensor {index} '{name}': dynamic shape {[int(n) for n in signature]}; export "
            "the model with a fixed input shape"
        )
    return Tensor(
        index, name, shape, dtype, scales, zero_points, axis, data, bool(raw.isVariable)
    )


def _op(index: int, raw: Any, tree: Any, tensors: list[Tensor]) -> Op:
    code = tree.operatorCodes[raw.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = _OP_NAMES.get(number, f"operator {number}")
    if name == "CUSTOM":
        custom = (code.customCode or b"").decode("utf-8", "replace")
        raise UnsupportedModel(
            f"op {index} CUSTOM '{custom}': custom operators have no C kernel"
        )
    inputs = () if raw.inputs is None else raw.inputs
    outputs = () if raw.outputs is None else raw.outputs
    return Op(
        index,
        name,
        tuple(None if i == -1 else tensors[_within(i, tensors)] for i in inputs),
        tuple(tensors[_within(i, tensors)] for i in outputs),
        dict(vars(raw.builtinOptions)) if raw.builtinOptions is not None else {},
    )


def reads(op: Op) -> tuple[Tensor, ...]:
    """Return the tensors whose *values* the operator needs: RESHAPE ignores its shape input."""
    given = op.inputs[:1] if op.name in {"RESHAPE", "EXPAND_DIMS", "SQUEEZE"} else op.inputs
    return tuple(t for t in given if t is not None)


def _read_by_someone(ops: tuple[Op, ...], outputs: tuple[Tensor, ...]) -> tuple[Op, ...]:
    wanted = {t.index for t in outputs}
    kept = []
    for op in reversed(ops):
        if any(t.index in wanted for t in op.outputs):
            kept.append(op)
            wanted.update(t.index for t in reads(op))
    return tuple(reversed(kept))


def _check_shapes(graph: Graph) -> None:
    """Raise for a value that is used but has no fixed, sensible size."""
    places: list[tuple[str, Tensor]] = [("input", t) for t in graph.inputs]
    for op in graph.ops:
        places += [(f"op {op.index} {op.name}", t) for t in (*reads(op), *op.outputs)]
    for where, tensor in places:
        if any(n <= 0 for n in tensor.shape):
            raise UnsupportedModel(
                f"{where} at {tensor}: dynamic or empty shape; export the model with a fixed "
                "input shape"
            )
        if tensor.bytes > LARGEST_TENSOR_BYTES:
            raise UnsupportedModel(
                f"{where} at {tensor}: {tensor.bytes} B; the limit is {LARGEST_TENSOR_BYTES} B"
            )
    if not graph.ops or not graph.inputs or not graph.outputs:
        raise UnsupportedModel("the model computes nothing: no operator leads to an output")
