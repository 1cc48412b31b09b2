"""Which operators the C compiler knows, and a graph as steps over one arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepack.firmware.compiler.graph import DType, Graph, Op, Tensor, UnsupportedModel, reads
from edgepack.firmware.compiler.lower import (
    convolution,
    recurrent,
    shaped,
    transposed,
    weighted,
)
from edgepack.firmware.compiler.lower import elementwise as pointwise
from edgepack.firmware.compiler.lower import lookup_tables as tables
from edgepack.firmware.compiler.lower import strided_copy as views
from edgepack.firmware.compiler.lower.kernel_call import Lowering, Step
from edgepack.firmware.compiler.plan import Block, Placement, place


def _quantize(op: Op) -> Step:
    from_float = op.input(0).dtype is DType.FLOAT32
    return shaped.quantize(op) if from_float else tables.requantize(op)


OPERATORS: Mapping[str, Lowering] = {
    "ADD": pointwise.add,
    "AVERAGE_POOL_2D": shaped.pool,
    "CONCATENATION": shaped.concatenate,
    "CONV_2D": convolution.conv,
    "DEPTHWISE_CONV_2D": convolution.depthwise,
    "DEQUANTIZE": shaped.dequantize,
    "EXPAND_DIMS": shaped.reshape,
    "FULLY_CONNECTED": weighted.dense,
    "HARD_SWISH": tables.hard_swish,
    "LEAKY_RELU": tables.relu,
    "LOGISTIC": tables.logistic,
    "MAXIMUM": pointwise.extreme,
    "MAX_POOL_2D": shaped.pool,
    "MEAN": shaped.mean,
    "MINIMUM": pointwise.extreme,
    "MUL": pointwise.multiply,
    "PAD": shaped.pad,
    "PADV2": shaped.pad,
    "PRELU": pointwise.prelu,
    "QUANTIZE": _quantize,
    "REDUCE_MAX": shaped.reduce_max,
    "RELU": tables.relu,
    "RELU6": tables.relu,
    "RESHAPE": shaped.reshape,
    "RESIZE_NEAREST_NEIGHBOR": views.enlarge,
    "REVERSE_V2": views.reverse,
    "SLICE": views.slice_,
    "SOFTMAX": shaped.softmax,
    "SQUEEZE": shaped.reshape,
    "STRIDED_SLICE": views.strided_slice,
    "SUB": pointwise.add,
    "TANH": tables.tanh,
    "TRANSPOSE": views.transpose,
    "TRANSPOSE_CONV": transposed.transpose_conv,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": recurrent.lstm,
}

SLACK_BYTES = 4  # kernels load whole words and may read up to three bytes behind a value


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Steps in order, and where each computed tensor and each step's scratch lies.

    Attributes:
        offsets: by tensor index, bytes from the arena's start.
        scratch: by step number, likewise.
        states: tensors that keep their value, cleared by a reset to their zero point.
    """

    graph: Graph
    steps: tuple[Step, ...]
    offsets: Mapping[int, int]
    scratch: Mapping[int, int]
    states: tuple[Tensor, ...]
    arena_bytes: int
    floor_bytes: int


def lower(graph: Graph) -> Program:
    """Return the program of a graph.

    Raises:
        UnsupportedModel: an operator without a C kernel, or outside a kernel's limits.
    """
    steps = tuple(_step(op) for op in graph.ops)
    for tensor in (*graph.inputs, *graph.outputs):
        if tensor.dtype not in {DType.INT8, DType.UINT8, DType.FLOAT32}:
            raise UnsupportedModel(f"{tensor}: wanted int8, uint8 or float32 at the border")
    return _arrange(graph, steps)


def _step(op: Op) -> Step:
    if op.name not in OPERATORS:
        op.refuse(f"no C kernel; the supported operators are {', '.join(OPERATORS)}", op.output)
    if len(op.outputs) != 1:
        op.refuse(f"{len(op.outputs)} outputs; the limit is 1")
    return OPERATORS[op.name](op)


def _arrange(graph: Graph, steps: Sequence[Step]) -> Program:
    """Place every value; tensors that share bytes on purpose form one group."""
    last_read = _last_reads(graph, len(steps))
    group: dict[int, int] = {}
    lives: dict[int, list[int]] = {}  # group -> [bytes, first, last]
    states: dict[int, Tensor] = {}

    def begin(tensor: Tensor, number: int, into: int | None = None) -> None:
        key = tensor.index if into is None else into
        group[tensor.index] = key
        life = lives.setdefault(key, [0, number, number])
        life[0] = max(life[0], tensor.bytes)
        life[2] = max(life[2], last_read.get(tensor.index, number))

    for tensor in graph.inputs:
        begin(tensor, -1)
    for number, step in enumerate(steps):
        for tensor in reads(step.op):
            if tensor.variable and tensor.index not in group:
                states[tensor.index] = tensor
                group[tensor.index] = tensor.index
                lives[tensor.index] = [tensor.bytes, -1, len(steps)]
            elif tensor.data is None and tensor.index not in group:
                step.op.refuse("read before anything computed it", tensor)
        begin(step.op.output, number, _shares(step, number, group, lives))
    keys = list(lives)
    blocks = [Block(*lives[k]) for k in keys]
    scratched = [n for n, step in enumerate(steps) if step.scratch_bytes]
    blocks += [Block(steps[n].scratch_bytes, n, n) for n in scratched]
    found: Placement = place(blocks)
    at = dict(zip(keys, found.offsets, strict=False))
    return Program(
        graph,
        tuple(steps),
        {index: at[key] for index, key in group.items()},
        dict(zip(scratched, found.offsets[len(keys) :], strict=True)),
        tuple(states.values()),
        found.total_bytes + SLACK_BYTES,
        found.floor_bytes + SLACK_BYTES,
    )


def _last_reads(graph: Graph, end: int) -> dict[int, int]:
    last = {t.index: n for n, op in enumerate(graph.ops) for t in reads(op)}
    return last | {t.index: end for t in graph.outputs}


def _shares(
    step: Step, number: int, group: Mapping[int, int], lives: Mapping[int, list[int]]
) -> int | None:
    """Return the group whose bytes the output may take, or None."""
    candidates = (0,) if step.alias else step.overwrites
    for position in candidates:
        tensor = step.op.input(position)
        if tensor.data is not None or tensor.variable:
            continue
        key = group[tensor.index]
        if step.alias or lives[key][2] == number:
            return key
    return None
