"""Tensors of a .tflite as frozen values: shape, dtype, quantization."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

#: Bits of one element; a dtype that is not here has no fixed size (string, resource …).
BITS = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16, "float8_e4m3fn": 8,
    "float8_e5m2": 8, "int64": 64, "int32": 32, "int16": 16, "int8": 8, "int4": 4, "int2": 2,
    "uint64": 64, "uint32": 32, "uint16": 16, "uint8": 8, "uint4": 4, "bool": 8,
    "complex64": 64, "complex128": 128,
}  # fmt: skip
FLOATS = frozenset(name for name in BITS if name.startswith(("float", "bfloat", "complex")))


@dataclass(frozen=True, slots=True)
class Quantization:
    """How integers stand for reals: real = scale * (code - zero_point), per slice of axis.

    Attributes:
        scales: one, or one a slice of ``axis``.
        zero_points: as many as scales, or one for all.
        details: ``blockwise``, ``custom`` … where the file says more than scales; else empty.
        misfit: why TensorFlow Lite and LiteRT refuse to load a tensor with these numbers; TFLM
            runs it where no kernel looks at them (biases of its person_detect). Empty if none.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0
    details: str = ""
    misfit: str = ""

    @property
    def per_channel(self) -> bool:
        """Whether slices have scales of their own."""
        return len(self.scales) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a subgraph.

    Attributes:
        shape: as stored; a dynamic dimension is stored as 1.
        signature: the shape with -1 where it is dynamic; equals ``shape`` when static.
        ranked: False where a file leaves the shape out (its rank is then unknown or 0).
        constant: its values are in the file.
        variable: it keeps its value between inferences.
        sparse: its values are stored in a sparse format.
        buffer: index of its buffer in the file.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    ranked: bool
    quantization: Quantization | None
    constant: bool
    variable: bool
    sparse: bool
    buffer: int

    @property
    def label(self) -> str:
        """Its name, or its number where the file leaves names out."""
        return self.name or f"tensor {self.index}"

    @property
    def scales(self) -> tuple[float, ...]:
        """One scale, or one a slice of the quantized axis; none where it is not quantized."""
        return self.quantization.scales if self.quantization else ()

    @property
    def zero_points(self) -> tuple[int, ...]:
        """As many as ``scales``; a file may store one for all, or none for zeros."""
        points = self.quantization.zero_points if self.quantization else ()
        if len(points) == len(self.scales):
            return points
        return (points[:1] or (0,)) * len(self.scales)

    @property
    def elements(self) -> int:
        """Return how many values it has; a scalar has one."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Return the bytes of its dense values, 0 where the dtype has no fixed size."""
        return (self.elements * BITS.get(self.dtype, 0) + 7) // 8

    @property
    def static(self) -> bool:
        """Whether no dimension is left open."""
        return all(size >= 0 for size in self.signature)

    def __str__(self) -> str:
        return f"'{self.label}' {self.dtype}{list(self.shape)}"
