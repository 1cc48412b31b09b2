"""Which operators the C compiler knows, and a graph as steps over one arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgepack.firmware.compiler.lower import (
    activation,
    convolution,
    data_movement,
    elementwise,
    fully_connected,
    pooling,
    quantize,
    recurrent,
)
from edgepack.firmware.compiler.lower.kernel_call import KernelCall, Lowering
from edgepack.firmware.compiler.model import Node, UnsupportedModel, nodes
from edgepack.planning.arena import Buffer, place_smallest
from edgepack.tflite.facts import Facts
from edgepack.tflite.tensors import Tensor

OPERATORS: Mapping[str, Lowering] = {
    "ADD": elementwise.add,
    "AVERAGE_POOL_2D": pooling.pool,
    "CONCATENATION": data_movement.concatenate,
    "CONV_2D": convolution.conv,
    "DEPTHWISE_CONV_2D": convolution.depthwise,
    "DEQUANTIZE": quantize.dequantize,
    "EXPAND_DIMS": data_movement.reshape,
    "FULLY_CONNECTED": fully_connected.dense,
    "HARD_SWISH": activation.hard_swish,
    "LEAKY_RELU": activation.relu,
    "LOGISTIC": activation.logistic,
    "MAXIMUM": elementwise.extreme,
    "MAX_POOL_2D": pooling.pool,
    "MEAN": pooling.mean,
    "MINIMUM": elementwise.extreme,
    "MUL": elementwise.multiply,
    "PAD": data_movement.pad,
    "PADV2": data_movement.pad,
    "PRELU": elementwise.prelu,
    "QUANTIZE": quantize.quantize,
    "REDUCE_MAX": pooling.reduce_max,
    "RELU": activation.relu,
    "RELU6": activation.relu,
    "RESHAPE": data_movement.reshape,
    "RESIZE_NEAREST_NEIGHBOR": data_movement.enlarge,
    "REVERSE_V2": data_movement.reverse,
    "SLICE": data_movement.slice_,
    "SOFTMAX": activation.softmax,
    "SQUEEZE": data_movement.reshape,
    "STRIDED_SLICE": data_movement.strided_slice,
    "SUB": elementwise.add,
    "TANH": activation.tanh,
    "TRANSPOSE": data_movement.transpose,
    "TRANSPOSE_CONV": convolution.transpose_conv,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": recurrent.lstm,
}

ALIGNMENT_BYTES = 4  # words are loaded from the arena
SLACK_BYTES = 4  # kernels load whole words and may read up to three bytes behind a value


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Kernel calls in order, and where each computed tensor and each step's scratch lies.

    Attributes:
        offsets: by tensor index, bytes from the arena's start.
        scratch: by step number, likewise.
        states: tensors that keep their value, cleared by a reset to their zero point.
    """

    facts: Facts
    steps: tuple[KernelCall, ...]
    offsets: Mapping[int, int]
    scratch: Mapping[int, int]
    states: tuple[Tensor, ...]
    arena_bytes: int
    floor_bytes: int


def lower(facts: Facts) -> Program:
    """Return the program of a model.

    Raises:
        UnsupportedModel: an operator without a C kernel, or outside a kernel's limits.
    """
    found = nodes(facts)
    steps = tuple(_step(op) for op in found)
    for tensor in (*facts.inputs, *facts.outputs):
        if tensor.dtype not in {"int8", "uint8", "float32"}:
            raise UnsupportedModel(f"{tensor}: wanted int8, uint8 or float32 at the border")
    return _arrange(facts, steps)


def _step(op: Node) -> KernelCall:
    if op.name not in OPERATORS:
        op.refuse(f"no C kernel; the supported operators are {', '.join(OPERATORS)}", op.output)
    if len(op.outputs) != 1:
        op.refuse(f"{len(op.outputs)} outputs; the limit is 1")
    return OPERATORS[op.name](op)


def _arrange(facts: Facts, steps: Sequence[KernelCall]) -> Program:
    """Place every value; tensors that share bytes on purpose form one group."""
    last_read = _last_reads(facts, steps)
    group: dict[int, int] = {}
    lives: dict[int, list[int]] = {}  # group -> [bytes, first, last]
    states: dict[int, Tensor] = {}

    def begin(tensor: Tensor, number: int, into: int | None = None) -> None:
        key = tensor.index if into is None else into
        group[tensor.index] = key
        life = lives.setdefault(key, [0, number, number])
        life[0] = max(life[0], tensor.nbytes)
        life[2] = max(life[2], last_read.get(tensor.index, number))

    for tensor in facts.inputs:
        begin(tensor, -1)
    for number, step in enumerate(steps):
        for tensor in step.op.reads:
            if tensor.variable and tensor.index not in group:
                states[tensor.index] = tensor
                group[tensor.index] = tensor.index
                lives[tensor.index] = [tensor.nbytes, -1, len(steps)]
            elif not tensor.constant and tensor.index not in group:
                step.op.refuse("read before anything computed it", tensor)
        begin(step.op.output, number, _shares(step, number, group, lives))
    keys = list(lives)
    buffers = [Buffer(*lives[k]) for k in keys]
    scratched = [n for n, step in enumerate(steps) if step.scratch_bytes]
    buffers += [Buffer(steps[n].scratch_bytes, n, n) for n in scratched]
    found = place_smallest(buffers, ALIGNMENT_BYTES)
    at = dict(zip(keys, found.offsets, strict=False))
    return Program(
        facts,
        tuple(steps),
        {index: at[key] for index, key in group.items()},
        dict(zip(scratched, found.offsets[len(keys) :], strict=True)),
        tuple(states.values()),
        found.total_bytes + SLACK_BYTES,
        found.floor_bytes + SLACK_BYTES,
    )


def _last_reads(facts: Facts, steps: Sequence[KernelCall]) -> dict[int, int]:
    last = {t.index: n for n, step in enumerate(steps) for t in step.op.reads}
    return last | dict.fromkeys(facts.main.outputs, len(steps))


def _shares(
    step: KernelCall, number: int, group: Mapping[int, int], lives: Mapping[int, list[int]]
) -> int | None:
    """Return the group whose bytes the output may take, or None."""
    candidates = (0,) if step.alias else step.overwrites
    for position in candidates:
        tensor = step.op.input(position)
        if tensor.constant or tensor.variable:
            continue
        key = group[tensor.index]
        if step.alias or lives[key][2] == number:
            return key
    return None
