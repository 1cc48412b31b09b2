"""What each TFLM reference kernel keeps in the arena besides tensors.

Builtin parameters and kernel data were measured operator by operator on tflite-micro
0.dev20261023182759 (x86-64, RecordingMicroAllocator; benchmarks/check.py repeats it);
per-channel arrays and scratch buffers follow the kernels' Prepare functions
(tensorflow/lite/micro/kernels/*.cc). 32-bit builds need the same or less, because only
pointers shrink.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgepack.tflite.facts import Facts, Feeds, Op
from edgepack.tflite.tensors import Tensor


@dataclass(frozen=True, slots=True)
class KernelMemory:
    """Bytes of one node: builtin parameters, persistent buffers, scratch buffers.

    Attributes:
        measured: False where the operator was not measured and a guess stands in.
    """

    builtin: int
    persistent: tuple[int, ...]
    scratch: tuple[int, ...] = ()
    measured: bool = True


#: Operator -> (builtin parameters, kernel data), bytes.
_FIXED = {
    "ABS": (0, 28), "ADD": (8, 60), "ARG_MAX": (4, 0), "ARG_MIN": (4, 0),
    "AVERAGE_POOL_2D": (40, 32), "BATCH_TO_SPACE_ND": (0, 0), "BROADCAST_TO": (0, 0),
    "CAST": (8, 0), "CEIL": (0, 0), "CONCATENATION": (8, 80), "COS": (0, 0),
    "CUMSUM": (2, 36), "DEPTH_TO_SPACE": (4, 20), "DEQUANTIZE": (0, 32), "DIV": (4, 28),
    "DYNAMIC_UPDATE_SLICE": (0, 0), "ELU": (0, 256), "EQUAL": (0, 32), "EXP": (0, 0),
    "EXPAND_DIMS": (0, 0), "FILL": (0, 0), "FLOOR": (0, 0), "FLOOR_DIV": (0, 0),
    "FLOOR_MOD": (0, 0), "GATHER": (8, 20), "GATHER_ND": (0, 12), "GREATER": (0, 32),
    "GREATER_EQUAL": (0, 32), "HARD_SWISH": (0, 20), "L2_NORMALIZATION": (4, 4),
    "L2_POOL_2D": (40, 20), "LEAKY_RELU": (4, 24), "LESS": (0, 32), "LESS_EQUAL": (0, 32),
    "LOG": (0, 0), "LOGICAL_AND": (0, 0), "LOGICAL_NOT": (0, 0), "LOGICAL_OR": (0, 0),
    "LOGISTIC": (0, 16), "LOG_SOFTMAX": (0, 40), "MAXIMUM": (0, 0), "MAX_POOL_2D": (40, 32),
    "MINIMUM": (0, 0), "MUL": (4, 36), "NEG": (0, 0), "NOT_EQUAL": (0, 32), "PACK": (8, 0),
    "PAD": (0, 56), "PADV2": (0, 56), "PRELU": (0, 28), "QUANTIZE": (0, 32), "RELU": (0, 28),
    "RELU6": (0, 8), "RESHAPE": (36, 0), "RESIZE_BILINEAR": (2, 0),
    "RESIZE_NEAREST_NEIGHBOR": (2, 0), "REVERSE_V2": (0, 0), "ROUND": (0, 0),
    "RSQRT": (0, 28), "SELECT_V2": (0, 1), "SHAPE": (4, 0), "SIN": (0, 0), "SLICE": (0, 0),
    "SPACE_TO_BATCH_ND": (0, 4), "SPACE_TO_DEPTH": (4, 20), "SPLIT": (4, 0),
    "SPLIT_V": (4, 0), "SQRT": (0, 0), "SQUARE": (0, 0), "SQUARED_DIFFERENCE": (0, 112),
    "SQUEEZE": (36, 0), "STRIDED_SLICE": (24, 84), "SUB": (8, 52), "TANH": (0, 16),
    "TRANSPOSE": (0, 0), "UNPACK": (8, 0), "ZEROS_LIKE": (0, 0),
}  # fmt: skip
CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})
REDUCTIONS = frozenset({"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ALL"})
#: Stands in for an operator that was not measured; larger than every measured one but LSTM.
GUESS = KernelMemory(64, (512,), (), measured=False)


def kernel_memory(op: Op, facts: Facts, pointer: int) -> KernelMemory:
    """Return what one node keeps; ``pointer`` is the size of a pointer on the target."""
    inputs, outputs = facts.feeds(op), facts.yields(op)
    if not outputs or not inputs:
        return GUESS
    weights = _WEIGHTED.get(op.name)
    if weights is not None:
        return weights(op, inputs, outputs)
    if op.name in REDUCTIONS:
        return _reduction(op, inputs, outputs)
    special = _SPECIAL.get(op.name)
    if special is not None:
        return special(inputs, outputs, pointer)
    if op.name in _FIXED:
        builtin, data = _FIXED[op.name]
        return KernelMemory(builtin, (data,) if data else ())
    return GUESS


def _weights(inputs: Feeds) -> Tensor | None:
    return inputs[1] if len(inputs) > 1 else None


def _channels(tensor: Tensor | None, axis: int) -> int:
    return tensor.shape[axis] if tensor and len(tensor.shape) > axis else 1


def _nibbles(weights: Tensor | None) -> tuple[int, ...]:
    """Return the buffer that 4-bit weights are unpacked into."""
    return (weights.elements,) if weights and weights.dtype == "int4" else ()


def _conv(op: Op, inputs: Feeds, outputs: tuple[Tensor, ...]) -> KernelMemory:
    count = _channels(_weights(inputs), 3 if op.name == "DEPTHWISE_CONV_2D" else 0)
    return KernelMemory(28, (80, 4 * count, 4 * count), _nibbles(_weights(inputs)))


def _dense(op: Op, inputs: Feeds, outputs: tuple[Tensor, ...]) -> KernelMemory:
    weights = _weights(inputs)
    many = weights.quantization.per_channel if weights and weights.quantization else False
    arrays = (4 * _channels(weights, 0),) * 2 if many else ()
    return KernelMemory(32, (72, *arrays), _nibbles(weights))


def _transpose_conv(op: Op, inputs: Feeds, outputs: tuple[Tensor, ...]) -> KernelMemory:
    count = _channels(_weights(inputs), 0)
    wide = {"int8": 4, "int16": 8}.get(outputs[0].dtype, 0)
    bias = inputs[3] if len(inputs) > 3 else None
    scratch = [wide * outputs[0].elements] if wide else []
    if bias is not None and bias.dtype == "int16":
        scratch.append(8 * bias.elements)
    return KernelMemory(20, (88, 4 * count, 4 * count), tuple(scratch))


def _matmul(op: Op, inputs: Feeds, outputs: tuple[Tensor, ...]) -> KernelMemory:
    lhs, rhs = inputs[0], _weights(inputs)
    moved = [rhs.nbytes if rhs else 0]
    if op.options.get("adj_x") and lhs:
        moved.append(lhs.nbytes)
    data = (28, 28, 24, 24, 12) if outputs[0].dtype != "float32" else (28, 24, 24, 12)
    return KernelMemory(3, (*data, *moved))


def _svdf(op: Op, inputs: Feeds, outputs: tuple[Tensor, ...]) -> KernelMemory:
    batch, filters = _channels(inputs[0], 0), _channels(_weights(inputs), 0)
    scratch = [4 * batch * filters]
    if outputs[0].dtype == "int8":
        scratch.append(4 * outputs[0].elements)
    return KernelMemory(12, (36,), tuple(scratch))


def _lstm(op: Op, inputs: Feeds, outputs: tuple[Tensor, ...]) -> KernelMemory:
    cell = inputs[19] if len(inputs) > 19 else None
    return KernelMemory(20, (688,), (cell.nbytes if cell else 0,) * 4)


def _reduction(op: Op, inputs: Feeds, outputs: tuple[Tensor, ...]) -> KernelMemory:
    axes = inputs[1].elements if len(inputs) > 1 and inputs[1] else 1
    rank = len(inputs[0].shape) if inputs[0] else 4
    scratch = [4 * rank, 4 * axes]
    if op.name in ("MEAN", "SUM") and outputs[0].dtype in ("int8", "int16"):
        scratch.append(4 * outputs[0].elements)
    return KernelMemory(1, (44,), tuple(scratch))


def _add_n(inputs: Feeds, outputs: tuple[Tensor, ...], pointer: int) -> KernelMemory:
    return KernelMemory(0, (40,), (pointer * len(inputs),))


def _mirror_pad(inputs: Feeds, outputs: tuple[Tensor, ...], pointer: int) -> KernelMemory:
    rank = len(outputs[0].shape)
    return KernelMemory(4, (20,), (4 * rank, 4 * rank))


def _embedding(inputs: Feeds, outputs: tuple[Tensor, ...], pointer: int) -> KernelMemory:
    return KernelMemory(0, (12, 16))


def _softmax(inputs: Feeds, outputs: tuple[Tensor, ...], pointer: int) -> KernelMemory:
    return KernelMemory(4, (80, 1026, 1026) if outputs[0].dtype == "int16" else (80,))


_SPECIAL = {
    "ADD_N": _add_n,
    "MIRROR_PAD": _mirror_pad,
    "EMBEDDING_LOOKUP": _embedding,
    "SOFTMAX": _softmax,
}
_WEIGHTED = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _conv,
    "FULLY_CONNECTED": _dense,
    "TRANSPOSE_CONV": _transpose_conv,
    "BATCH_MATMUL": _matmul,
    "SVDF": _svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
}
