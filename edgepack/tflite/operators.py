"""The builtin operators: their names and numbers, and what their inputs are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

CUSTOM = 32

_NAMES: dict[int, str] = {
    number: name
    for name, number in vars(schema.BuiltinOperator).items()
    if isinstance(number, int)
}


def operator_name(code: int) -> str:
    """Return a builtin operator's name; a number this schema does not know keeps its number."""
    return _NAMES.get(code, f"BUILTIN_{code}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Which input of an operator is what (tensorflow/lite/kernels/*.cc, the constants on top).

    Attributes:
        data: the activations.
        kernel: the weights that it multiplies with; None for none.
        bias: None for none.
        shapes: inputs that only say a shape, which the output has anyway.
        channel_axis: dimension of the kernel that is the output channels.
    """

    data: int = 0
    kernel: int | None = None
    bias: int | None = None
    shapes: tuple[int, ...] = ()
    channel_axis: int = 0


_PLAIN = Inputs()
_INPUTS: Mapping[str, Inputs] = {
    "CONV_2D": Inputs(kernel=1, bias=2),
    "CONV_3D": Inputs(kernel=1, bias=2, channel_axis=4),
    "DEPTHWISE_CONV_2D": Inputs(kernel=1, bias=2, channel_axis=3),
    "FULLY_CONNECTED": Inputs(kernel=1, bias=2),
    "TRANSPOSE_CONV": Inputs(data=2, kernel=1, bias=3, shapes=(0,)),
    "RESHAPE": Inputs(shapes=(1,)),
    "EXPAND_DIMS": Inputs(shapes=(1,)),
}


def inputs_of(name: str) -> Inputs:
    """Return what the inputs of a builtin operator are; the first is data where unsaid."""
    return _INPUTS.get(name, _PLAIN)
