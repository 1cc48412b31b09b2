"""The memory that TensorFlow Lite and LiteRT plan for a model, from the file.

Activations and what kernels ask for besides them share one arena, placed by the runtime's
own rule; variables and repacked weights persist beside it. Buffers that newer releases
share in place are counted twice here: the plan is then above the runtime's, never under.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from edgepack.planning.arena import MOST_PLACED, Buffer, align, place_as_tflite
from edgepack.tflite.facts import Facts, Feeds, Op, Subgraph
from edgepack.tflite.per_facts import per_facts
from edgepack.tflite.tensors import Tensor

#: kDefaultTensorAlignment (tensorflow/lite/util.h).
ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """What one node asks for besides its tensors, in bytes.

    Attributes:
        scratch: in the arena, while the node runs.
        kept: for as long as the interpreter lives.
    """

    scratch: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpreterMemory:
    """Planned bytes.

    Attributes:
        arena: activations and scratch.
        kept: variables, and weights that kernels repack once.
    """

    arena: int
    kept: int


@per_facts
def plan(facts: Facts, delegated: frozenset[int] = frozenset()) -> InterpreterMemory:
    """Return what builtin kernels need.

    Operators of the main graph in ``delegated`` ask for no scratch of theirs, and what they
    hand to each other inside a partition lies in the delegate's memory, not in the arena.
    """
    arena = kept = 0
    for graph in facts.subgraphs:
        buffers: list[Buffer] = []
        steps = execution_plan(graph, delegated if graph.index == 0 else frozenset())
        turn = {op.index: turn for turn, (ops, _) in enumerate(steps) for op in ops}
        for tensor, first, last in _lives(graph, steps):
            if tensor.variable:
                kept += align(tensor.nbytes, ALIGNMENT)
            elif not tensor.constant and tensor.nbytes:
                buffers.append(Buffer(tensor.nbytes, first, last))
        for op in graph.ops:
            if graph.index == 0 and op.index in delegated:
                continue
            asked = node_memory(op, facts)
            at = turn[op.index]
            buffers += [Buffer(size, at, at) for size in asked.scratch if size]
            kept += sum(align(size, ALIGNMENT) for size in asked.kept)
        # the arena aligns its start
        arena += place_as_tflite(buffers, ALIGNMENT).total_bytes + ALIGNMENT
    return InterpreterMemory(arena=arena, kept=kept)


Step = tuple[tuple[Op, ...], bool]


def execution_plan(graph: Subgraph, delegated: frozenset[int]) -> tuple[Step, ...]:
    """Return what runs one after the other: (operators, whether they are one delegate's).

    A delegate's operators are gathered into as few partitions as their order of data allows,
    taking turns with the others (tensorflow/lite/graph_info.cc,
    PartitionGraphIntoIndependentNodeSubsets).
    """
    made_later = {index for op in graph.ops for index in op.outputs}
    steps: list[Step] = []
    if len(graph.ops) > MOST_PLACED:  # gathering is quadratic: neighbours only
        for mine, group in groupby(graph.ops, lambda op: op.index in delegated):
            run = tuple(group)
            steps += [(run, True)] if mine else [((op,), False) for op in run]
        return tuple(steps)
    waiting = list(graph.ops)
    while waiting:
        kind: bool | None = None
        subset: list[Op] = []
        rest: list[Op] = []
        for op in waiting:
            ready = not any(index in made_later for index in op.inputs)
            if ready and kind in (None, op.index in delegated):
                kind = op.index in delegated
                subset.append(op)
                made_later -= set(op.outputs)
            else:
                rest.append(op)
        if not subset:  # a circle, which no runtime runs: in the order of the file
            subset, rest, kind = waiting, [], False
        waiting = rest
        steps += [(tuple(subset), True)] if kind else [((op,), False) for op in subset]
    return tuple(steps)


def _lives(graph: Subgraph, steps: tuple[Step, ...]) -> list[tuple[Tensor, int, int]]:
    """Return each tensor of the arena with its first and last step.

    Inputs and outputs outlive all; what one step alone makes and reads is not in the arena.
    """
    end = len(steps)
    first: dict[int, int] = dict.fromkeys(graph.inputs, 0)
    last: dict[int, int] = dict.fromkeys((*graph.inputs, *graph.outputs), end)
    inner: set[int] = set()
    for turn, (ops, together) in enumerate(steps):
        for op in ops:
            for index in op.outputs:
                first.setdefault(index, turn)
            for index in (*op.inputs, *op.outputs):
                if index >= 0:
                    last[index] = max(last.get(index, 0), turn)
        if together:
            inner |= {index for op in ops for index in op.outputs}
    return [
        (tensor, first.get(tensor.index, 0), last.get(tensor.index, end))
        for tensor in graph.tensors
        if tensor.variable
        or (
            tensor.index in first
            and not (tensor.index in inner and last[tensor.index] == first[tensor.index])
        )
    ]


def node_memory(op: Op, facts: Facts) -> NodeMemory:
    """Return what one node's kernel asks for (tensorflow/lite/kernels/*.cc, Prepare)."""
    ask = _ASKS.get(op.name)
    inputs, outputs = facts.feeds(op), facts.yields(op)
    if ask is None or not outputs or not inputs:
        return NodeMemory()
    if any(tensor is not None and not tensor.shape for tensor in inputs[:3]):
        return NodeMemory()  # no kernel with weights takes scalars
    return ask(op, inputs, outputs)


Yields = tuple[Tensor, ...]


def _conv(op: Op, inputs: Feeds, outputs: Yields) -> NodeMemory:
    data, weights, out = inputs[0], inputs[1] if len(inputs) > 1 else None, outputs[0]
    if data is None or weights is None or len(weights.shape) != 4 or len(out.shape) != 4:
        return NodeMemory()
    _, height, width, depth = weights.shape
    options = op.options
    dilated = options["dilation_w"] != 1 or options["dilation_h"] != 1
    moved = options["stride_w"] != 1 or options["stride_h"] != 1
    hybrid = data.dtype == "float32" and weights.dtype == "int8"
    kept: tuple[int, ...] = ()
    scratch: list[int] = []
    if height != 1 or width != 1 or moved or dilated:
        cells = out.shape[0] * out.shape[1] * out.shape[2] * height * width * depth
        scratch.append(cells * (4 if data.dtype == "float32" and not hybrid else
                                2 if data.dtype == "int16" else 1))  # fmt: skip
    if hybrid:
        channels = weights.shape[0]
        batch = out.shape[0] * out.shape[1] * out.shape[2]
        scratch += [data.elements, 4 * data.shape[0], 4 * batch * channels, 4 * data.shape[0]]
        kept = (4 * channels,)
    if weights.dtype == "int4":
        scratch.append(weights.elements)
    return NodeMemory(tuple(scratch), kept)


def _depthwise(op: Op, inputs: Feeds, outputs: Yields) -> NodeMemory:
    data, weights = inputs[0], inputs[1] if len(inputs) > 1 else None
    if data is None or weights is None:
        return NodeMemory()
    if data.dtype == "float32" and weights.dtype == "int8":
        return NodeMemory((data.elements, 4 * data.shape[0], 4 * data.shape[0]))
    return NodeMemory((weights.elements,) if weights.dtype == "int4" else ())


def _dense(op: Op, inputs: Feeds, outputs: Yields) -> NodeMemory:
    data, weights = inputs[0], inputs[1] if len(inputs) > 1 else None
    if data is None or weights is None or not weights.shape:
        return NodeMemory()
    units = weights.shape[0]
    if data.dtype == "float32" and weights.dtype in ("int8", "uint8", "int4", "int2"):
        batch = max(1, data.elements // max(1, weights.shape[-1]))
        unpacked = weights.elements if weights.dtype != "int8" else 0
        scratch = (data.elements, 4 * batch, 4 * units * batch, 4 * batch, unpacked)
        return NodeMemory(scratch, (4 * units,))
    return NodeMemory((weights.elements,) if weights.dtype in ("int4", "int2") else ())


def _transpose_conv(op: Op, inputs: Feeds, outputs: Yields) -> NodeMemory:
    weights, data = (inputs[1], inputs[2]) if len(inputs) > 2 else (None, None)
    if weights is None or data is None or len(data.shape) != 4:
        return NodeMemory()
    out = outputs[0]
    wide = 8 if out.dtype == "int16" else 4
    unit = 4 if data.dtype == "float32" else 1
    columns = 4 * data.shape[1] * data.shape[2] * weights.elements // max(1, weights.shape[3])
    scratch = [columns]
    if data.dtype != "float32":
        scratch.append(wide * out.elements)
    return NodeMemory(tuple(scratch), (unit * weights.elements,))


def _matmul(op: Op, inputs: Feeds, outputs: Yields) -> NodeMemory:
    lhs, rhs = inputs[0], inputs[1] if len(inputs) > 1 else None
    if lhs is None or rhs is None:
        return NodeMemory()
    if lhs.dtype == "float32" and rhs.dtype == "int8":
        rows = max(1, lhs.elements // max(1, lhs.shape[-1]))
        more = (lhs.elements, 4 * rows, 4 * outputs[0].elements, 4 * rows, 4 * rows)
        return NodeMemory((lhs.nbytes, *more), (rhs.nbytes,))
    turned = (rhs.nbytes,)
    return NodeMemory((lhs.nbytes,) if rhs.constant else (lhs.nbytes, *turned),
                turned if rhs.constant else ())  # fmt: skip


def _reduce(op: Op, inputs: Feeds, outputs: Yields) -> NodeMemory:
    rank = len(inputs[0].shape) if inputs[0] else 1
    axes = inputs[1].elements if len(inputs) > 1 and inputs[1] else rank
    wide = {"float32": 4, "int64": 8}.get(outputs[0].dtype, 4)
    scratch = [4 * rank, 4 * axes, wide * outputs[0].elements]
    if inputs[0]:
        scratch.append(inputs[0].nbytes)  # REDUCE_MAX, SUM … normalise their dimensions
    return NodeMemory(tuple(scratch))


def _lstm(op: Op, inputs: Feeds, outputs: Yields) -> NodeMemory:
    data = inputs[0]
    weights = inputs[2] if len(inputs) > 2 else None
    if data is None or weights is None or len(weights.shape) != 2 or not data.shape:
        return NodeMemory()
    cells = weights.shape[0]
    batch = data.shape[1] if op.options.get("time_major") else data.shape[0]
    if data.dtype == "float32":
        gates = 4 * 4 * batch * cells
        if weights.dtype == "float32":
            return NodeMemory((gates,))
        codes = (batch * data.shape[-1], batch * cells, batch * cells)
        factors = (4 * batch,) * 8
        return NodeMemory((gates, gates, 4 * cells, *codes, *factors), (4 * 12 * cells,))
    wide = 2 * batch * cells
    return NodeMemory(
        (wide, wide, wide, wide, batch * cells, 4 * batch * cells), (4 * 12 * cells,)
    )


def _add_n(op: Op, inputs: Feeds, outputs: Yields) -> NodeMemory:
    return NodeMemory((outputs[0].nbytes,))  # one partial sum a thread; one thread


def _svdf(op: Op, inputs: Feeds, outputs: Yields) -> NodeMemory:
    data, feature = inputs[0], inputs[1] if len(inputs) > 1 else None
    if data is None or feature is None or not feature.shape:
        return NodeMemory()
    batch, filters = data.shape[0], feature.shape[0]
    scratch = [4 * batch * filters]
    if data.dtype == "int8":
        scratch.append(4 * outputs[0].elements)
    elif feature.dtype == "int8":
        scratch += [data.elements, 4 * batch, 4 * filters * 16, 4 * batch, 4 * filters]
    return NodeMemory(tuple(scratch))


_ASKS = {
    "ADD_N": _add_n,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "TRANSPOSE_CONV": _transpose_conv,
    "BATCH_MATMUL": _matmul,
    "MEAN": _reduce,
    "SUM": _reduce,
    "REDUCE_MAX": _reduce,
    "REDUCE_MIN": _reduce,
    "REDUCE_PROD": _reduce,
    "REDUCE_ANY": _reduce,
    "REDUCE_ALL": _reduce,
    "LSTM": _lstm,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "SVDF": _svdf,
}
