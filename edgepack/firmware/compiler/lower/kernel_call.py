"""One call of a kernel, as the lowering of an operator describes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepack.firmware.compiler import fixed_point
from edgepack.firmware.compiler.model import Node
from edgepack.tflite.tensors import Tensor

INT16_MAX = 32767
_RANGES = {0: (None, None), 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
_ACTIVATION_NAMES = {4: "TANH", 5: "SIGN_BIT"}


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """A constant of the program: ``static const <ctype> <name>[] = {…}``."""

    name: str
    ctype: str
    values: NDArray[Any]

    @property
    def bytes(self) -> int:
        """Size in flash."""
        return int(self.values.nbytes)


@dataclass(frozen=True, slots=True, eq=False)
class KernelCall:
    """One kernel call.

    Attributes:
        kernel: the header it needs, without ``ep_`` and ``.h``; empty for none.
        call: C statement; ``{in0}``, ``{out0}`` and ``{scratch}`` stand for pointers.
        struct: C type of its parameters, empty for none; ``fields`` initialises it.
        overwrites: inputs that the output may take the place of, byte by byte.
        alias: the output is the first input under another name; nothing is called.
    """

    op: Node
    kernel: str
    call: str
    struct: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    arrays: tuple[Array, ...] = ()
    scratch_bytes: int = 0
    overwrites: tuple[int, ...] = ()
    alias: bool = False

    @property
    def name(self) -> str:
        """A C identifier of its own."""
        return call_name(self.op)


class Lowering(Protocol):
    """Turns one operator into one step, or refuses it by name."""

    def __call__(self, op: Node) -> KernelCall: ...


def call_name(op: Node) -> str:
    """Return ``conv_2d_3`` for operator 3."""
    return f"{op.name.lower()}_{op.index}"


def quantized(op: Node, tensor: Tensor, dtype: str = "int8") -> tuple[float, int]:
    """Return scale and zero point of a tensor that has exactly one of each."""
    if tensor.dtype != dtype:
        remedy = "; quantize the whole model to int8" if tensor.dtype == "float32" else ""
        op.refuse(f"dtype {tensor.dtype}; the C kernel takes {dtype} only{remedy}", tensor)
    if len(tensor.scales) != 1:
        op.refuse(f"{len(tensor.scales)} scales; wanted one", tensor)
    scale, zero = tensor.scales[0], tensor.zero_points[0]
    info = np.iinfo(dtype)
    if not (0 < scale < float("inf")):
        op.refuse(f"scale {scale}; wanted a positive number", tensor)
    if not info.min <= zero <= info.max:
        op.refuse(f"zero point {zero}; the limits are {info.min} and {info.max}", tensor)
    return scale, zero


def activation_range(op: Node, output: Tensor) -> tuple[int, int]:
    """Return the bytes between which a fused activation keeps the output."""
    scale, zero = quantized(op, output)
    code = int(op.options.get("activation", 0))
    if code not in _RANGES:
        op.refuse(f"fused activation {_ACTIVATION_NAMES.get(code, code)} has no C kernel")

    def byte(bound: float) -> int:
        ratio = float(np.float32(bound) / np.float32(scale))
        return zero + int(np.sign(ratio) * np.floor(abs(ratio) + 0.5))

    low, high = _RANGES[code]
    lowest = -128 if low is None else max(-128, byte(low))
    return lowest, 127 if high is None else min(127, byte(high))


def factor(op: Node, real: float, tensor: Tensor) -> tuple[int, int]:
    """Return the doubled mantissa and the shift of a rescaling that may not vanish."""
    try:
        mantissa, shift = fixed_point.multiplier(real)
    except ValueError as cause:
        op.refuse(str(cause), tensor)
    if mantissa == 0:
        op.refuse(f"rescaling by {real:g}; the limit is 2**-32", tensor)
    return 2 * mantissa, shift


def short(op: Node, what: str, value: int, tensor: Tensor) -> str:
    """Return a C literal for a number that a kernel holds in 16 bits."""
    if not -INT16_MAX <= value <= INT16_MAX:
        op.refuse(f"{what} {value}; the limit is {INT16_MAX}", tensor)
    return str(value)


def batch_of_one(op: Node, tensor: Tensor, rank: int) -> tuple[int, ...]:
    """Return the shape without its batch, which has to be one."""
    if len(tensor.shape) != rank:
        op.refuse(f"{len(tensor.shape)} dimensions; wanted {rank}", tensor)
    if tensor.shape[0] != 1:
        op.refuse(f"batch {tensor.shape[0]}; the limit is 1", tensor)
    return tensor.shape[1:]


def same_quantization(op: Node) -> tuple[float, int]:
    """Return scale and zero point, which input and output have to share."""
    found = quantized(op, op.input(0))
    if quantized(op, op.output) != found:
        op.refuse("wanted the scale and zero point of the input", op.output)
    return found


def float_literal(value: float) -> str:
    """Return ``value`` as a C literal that reads back to the same single precision bits."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if any(c in text for c in ".e") else f"{text}.0f"
