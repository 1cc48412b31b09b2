"""A quantized model as the C compiler sees it: tensors, operators, what each of them reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import InputError


class UnsupportedModel(InputError):  # noqa: N818 - reads as a state, like its parent
    """The model asks for something the C compiler does not do; names op, tensor and limit."""


class DType(StrEnum):
    """Element types a microcontroller graph may carry; constants of int4 come one a byte."""

    INT4 = "int4"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT32 = "float32"

    @property
    def bytes(self) -> int:
        """Size of one element here."""
        return 1 if self is DType.INT4 else np.dtype(self.value).itemsize


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


def reads(op: Op) -> tuple[Tensor, ...]:
    """Return the tensors whose *values* the operator needs: a given shape is none of them."""
    given = op.inputs[:1] if op.name in {"RESHAPE", "EXPAND_DIMS", "SQUEEZE"} else op.inputs
    given = given[1:] if op.name == "TRANSPOSE_CONV" else given
    return tuple(t for t in given if t is not None)


def busiest(graph: Graph) -> str:
    """Return the operator during which most bytes are needed at once, with its output.

    Inputs, outputs and what lies between them are counted, no scratch and no sharing.
    """
    last = {t.index: n for n, op in enumerate(graph.ops) for t in reads(op)}
    last |= {t.index: len(graph.ops) for t in graph.outputs}
    live = {t.index: t.bytes for t in graph.inputs}
    worst, where = -1, graph.ops[0]
    for number, op in enumerate(graph.ops):
        live |= {t.index: t.bytes for t in op.outputs}
        live |= {t.index: t.bytes for t in reads(op) if t.variable}
        if sum(live.values()) > worst:
            worst, where = sum(live.values()), op
        live = {i: size for i, size in live.items() if last.get(i, -1) > number}
    return f"op {where.index} {where.name} at {where.output} needs {worst:,} B at once"
