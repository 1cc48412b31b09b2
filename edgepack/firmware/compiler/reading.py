"""A .tflite as a graph, without trusting it.

Everything the file says is checked before use: an index out of range, a constant whose bytes
do not match its shape or a dimension left open is one line that names operator and tensor.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgepack.errors import InputError
from edgepack.firmware.compiler.graph import DType, Graph, Op, Tensor, UnsupportedModel, reads

LARGEST_TENSOR_BYTES = 1 << 28  # beyond any microcontroller; keeps products far from overflow

ETHOS_U = "ethos-u"  # the custom operator that Vela makes
_DAMAGE = (
    struct.error,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    KeyError,
)
_DTYPES = {
    schema.TensorType.INT4: DType.INT4,
    schema.TensorType.INT8: DType.INT8,
    schema.TensorType.UINT8: DType.UINT8,
    schema.TensorType.INT16: DType.INT16,
    schema.TensorType.INT32: DType.INT32,
    schema.TensorType.INT64: DType.INT64,
    schema.TensorType.FLOAT32: DType.FLOAT32,
}
_TYPE_NAMES = {v: k for k, v in vars(schema.TensorType).items() if not k.startswith("_")}
_OP_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}


def read(model: bytes) -> Graph:
    """Return the graph of a .tflite.

    Shape arithmetic (SHAPE, STRIDED_SLICE, PACK before a RESHAPE) is left out, because every
    shape is already known.

    Raises:
        InputError: not a .tflite, or damaged.
        UnsupportedModel: several subgraphs, a dynamic shape, an unknown dtype, or a custom op.
    """
    tree = _tree(model)
    try:
        return _graph(tree)
    except _DAMAGE as cause:
        raise InputError(f"the .tflite is damaged: {cause}") from cause


def _tree(model: bytes) -> Any:
    """Return the file's tables as objects, nothing in them checked."""
    if len(model) < 8 or model[4:8] != b"TFL3":
        raise InputError(
            f"not a .tflite: wanted the mark TFL3 at byte 4. Received: {bytes(model[4:8])!r}"
        )
    try:
        return schema.ModelT.InitFromPackedBuf(bytes(model), 0)
    except _DAMAGE as cause:
        raise InputError(f"the .tflite is damaged: {cause}") from cause


def operator_names(model: bytes) -> tuple[str, ...]:
    """Return the builtin operators of a .tflite in order, each once; Ethos-U's is ETHOS_U.

    Raises:
        InputError: not a .tflite, or damaged.
        UnsupportedModel: another custom operator.
    """
    tree = _tree(model)
    names = set()
    for code in tree.operatorCodes:
        name = _OP_NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "")
        if name == "CUSTOM":
            custom = (code.customCode or b"").decode("utf-8", "replace")
            if custom != ETHOS_U:
                raise UnsupportedModel(f"custom operator '{custom}' is none of TFLM's")
            name = "ETHOS_U"
        names.add(name)
    return tuple(sorted(names))


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
        if dtype is DType.INT4:
            stored = _one_a_byte(bytes(stored), math.prod(shape))
        wanted = math.prod(shape) * dtype.bytes
        if len(stored) != wanted:
            raise InputError(
                f"the .tflite is damaged: tensor '{name}' needs {wanted} B of data. "
                f"Received: {len(stored)} B"
            )
        data = np.frombuffer(bytes(stored), _held(dtype))
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


def _one_a_byte(stored: bytes, size: int) -> bytes:
    """Return int4 values as int8; all that is stored where that is another number of bytes."""
    if len(stored) != (size + 1) // 2:
        return stored
    pairs = np.frombuffer(stored, np.int8)
    both = np.stack([np.left_shift(pairs, 4) >> 4, pairs >> 4], axis=1)
    return both.reshape(-1)[:size].astype(np.int8).tobytes()


def _held(dtype: DType) -> np.dtype[Any]:
    name = "int8" if dtype is DType.INT4 else dtype.value
    return np.dtype(name).newbyteorder("<")


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
