"""Which operators an inference needs, and where most memory is needed at once."""

from __future__ import annotations

from edgepack.tflite.facts import Facts, Op
from edgepack.tflite.operators import inputs_of
from edgepack.tflite.tensors import Tensor


def values_read(facts: Facts, op: Op) -> tuple[Tensor, ...]:
    """Return the tensors whose *values* the operator needs: a given shape is none of them."""
    shapes = inputs_of(op.name).shapes
    return tuple(
        tensor
        for slot, tensor in enumerate(facts.feeds(op))
        if tensor is not None and slot not in shapes
    )


def live_operators(facts: Facts) -> tuple[Op, ...]:
    """Return the main graph's operators that an output depends on, in order of execution.

    Left out are dead ones and the arithmetic of shapes (SHAPE, STRIDED_SLICE, PACK before a
    RESHAPE): every shape is in the file.
    """
    wanted = set(facts.main.outputs)
    kept = []
    for op in reversed(facts.main.ops):
        if any(index in wanted for index in op.outputs):
            kept.append(op)
            wanted.update(tensor.index for tensor in values_read(facts, op))
    return tuple(reversed(kept))


def busiest_operator(facts: Facts) -> str:
    """Return the operator during which most bytes are needed at once, with its output.

    Inputs, outputs and what lies between them are counted, no scratch and no sharing.
    """
    ops = live_operators(facts)
    if not ops:
        return ""
    last = {t.index: n for n, op in enumerate(ops) for t in values_read(facts, op)}
    last |= dict.fromkeys(facts.main.outputs, len(ops))
    live = {t.index: t.nbytes for t in facts.inputs}
    worst, where = -1, ops[0]
    for number, op in enumerate(ops):
        live |= {t.index: t.nbytes for t in facts.yields(op)}
        live |= {t.index: t.nbytes for t in values_read(facts, op) if t.variable}
        if sum(live.values()) > worst:
            worst, where = sum(live.values()), op
        live = {i: size for i, size in live.items() if last.get(i, -1) > number}
    output = facts.yields(where)[0]
    return f"op {where.index} {where.name} at {output} needs {worst:,} B at once"
