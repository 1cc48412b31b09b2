"""What the C compiler takes of a .tflite: operators as nodes; the rest is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from numpy.typing import NDArray

from edgepack.errors import InputError
from edgepack.tflite.facts import Facts, Op
from edgepack.tflite.liveness import live_operators, values_read
from edgepack.tflite.tensors import Tensor

#: Beyond any microcontroller; keeps products far from overflow.
LARGEST_TENSOR_BYTES = 1 << 28
#: Element types that a microcontroller's model may carry.
DTYPES = ("int4", "int8", "uint8", "int16", "int32", "int64", "float32")


class UnsupportedModel(InputError):  # noqa: N818 - reads as a state, like its parent
    """The model asks for something the C compiler does not do; names op, tensor and limit."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """An operator with its tensors at hand, as a lowering asks for them.

    Attributes:
        inputs: None where an optional input is left out.
    """

    facts: Facts
    op: Op
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]

    @property
    def name(self) -> str:
        """Builtin name, such as ``CONV_2D``."""
        return self.op.name

    @property
    def index(self) -> int:
        """Its number in the file."""
        return self.op.index

    @property
    def options(self) -> Mapping[str, Any]:
        """The builtin options, by their schema name."""
        return self.op.options

    def refuse(self, why: str, tensor: Tensor | None = None) -> NoReturn:
        """Raise the one line that names this operator, the tensor and the limit."""
        where = f" at {tensor}" if tensor is not None else ""
        raise UnsupportedModel(f"op {self.index} {self.name}{where}: {why}")

    def input(self, position: int) -> Tensor:
        """Return an input that has to be there."""
        tensor = self.optional(position)
        if tensor is None:
            self.refuse(f"wanted an input {position}, but the model leaves it out")
        return tensor

    def optional(self, position: int) -> Tensor | None:
        """Return an input or None where the model leaves it out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def constant(self, position: int) -> NDArray[Any]:
        """Return the value of an input that has to be a constant."""
        tensor = self.input(position)
        if not tensor.constant:
            self.refuse("wanted a constant, but the model computes it at run time", tensor)
        return self.facts.array(tensor)

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    @property
    def reads(self) -> tuple[Tensor, ...]:
        """The tensors whose values it needs."""
        return values_read(self.facts, self.op)


def nodes(facts: Facts) -> tuple[Node, ...]:
    """Return the operators that lead to an output, in order of execution.

    Raises:
        UnsupportedModel: several subgraphs, a dynamic shape, a dtype or a custom operator that
            no microcontroller kernel here takes, or nothing to compute.
    """
    if len(facts.subgraphs) != 1:
        raise UnsupportedModel(
            f"the model has {len(facts.subgraphs)} subgraphs; the limit is 1 (no WHILE or IF)"
        )
    for tensor in facts.main.tensors:
        _check_tensor(tensor)
    for op in facts.main.ops:
        if op.custom:
            raise UnsupportedModel(
                f"op {op.index} CUSTOM '{op.name}': custom operators have no C kernel"
            )
    found = tuple(
        Node(facts, op, facts.feeds(op), facts.yields(op)) for op in live_operators(facts)
    )
    _check_sizes(facts, found)
    return found


def _check_tensor(tensor: Tensor) -> None:
    where = f"tensor {tensor.index} '{tensor.label}'"
    if tensor.dtype not in DTYPES:
        raise UnsupportedModel(f"{where}: dtype {tensor.dtype}; supported: {', '.join(DTYPES)}")
    if tensor.constant and tensor.sparse:
        raise UnsupportedModel(
            f"{where}: stored sparse; export the model without sparse "
            "tensors (a microcontroller gains nothing from them)"
        )
    if any(size < 0 for size in tensor.signature[1:]):
        raise UnsupportedModel(
            f"{where}: dynamic shape {list(tensor.signature)}; export "
            "the model with a fixed input shape"
        )


def _check_sizes(facts: Facts, found: tuple[Node, ...]) -> None:
    """Raise for a value that is used but has no fixed, sensible size."""
    places: list[tuple[str, Tensor]] = [("input", tensor) for tensor in facts.inputs]
    for node in found:
        where = f"op {node.index} {node.name}"
        places += [(where, tensor) for tensor in (*node.reads, *node.outputs)]
    for where, tensor in places:
        if any(size <= 0 for size in tensor.shape):
            raise UnsupportedModel(
                f"{where} at {tensor}: dynamic or empty shape; export the model with a fixed "
                "input shape"
            )
        if tensor.nbytes > LARGEST_TENSOR_BYTES:
            raise UnsupportedModel(
                f"{where} at {tensor}: {tensor.nbytes} B; the limit is {LARGEST_TENSOR_BYTES} B"
            )
    if not found or not facts.inputs or not facts.outputs:
        raise UnsupportedModel("the model computes nothing: no operator leads to an output")
