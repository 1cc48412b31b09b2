"""One operator in one dtype, as a model of its own."""

from __future__ import annotations

from dataclasses import dataclass

from tests.edgepack.tinymodels import Net

SHAPE = (1, 4, 4, 8)
#: Per-channel scales; they differ, because equal ones count as per-tensor in old releases.
STEPS = [0.01 + 0.002 * i for i in range(8)]
DTYPES = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")


@dataclass(frozen=True)
class Case:
    """A model that consists of one operator in one dtype.

    Attributes:
        dtype: of the activation; ``float32+int8`` is a hybrid operator (float data, int8
            weights), ``int8+int4`` has 4-bit weights, ``int16+int8`` 8-bit weights.
    """

    op: str
    dtype: str
    version: int
    model: bytes
    variant: str = ""
    honest: bool = True

    def __str__(self) -> str:
        return (
            f"{self.op}-v{self.version}-{self.dtype}{'-' + self.variant * bool(self.variant)}"
        )


def like(net: Net, shape: tuple[int, ...], dtype: str) -> int:
    """Add a tensor of a dtype with the scale that kernels of that dtype expect."""
    if dtype in ("float32", "float16", "bool", "int32", "int64"):
        return net.tensor(shape, dtype, scale=0.0)
    scale, zero = (2**-15, 0) if dtype == "int16" else (0.05, 128 if dtype == "uint8" else 0)
    return net.tensor(shape, dtype, scale=scale, zero=zero)
