"""Golden vectors: inputs and what TFLM answers to them, as arrays and as C."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import RuntimeFailure, TimedOut
from edgepack.firmware.compiler.lower.kernel_call import float_literal
from edgepack.firmware.emulator.harness_glue import ModelArrays
from edgepack.inference.protocol import ExitStatus, Job, Runtime
from edgepack.inference.tflm import TflmRuntime
from edgepack.tflite.facts import Facts, Tensor

SHIPPED_ROWS = 4
_SHIPPED_BYTES = 256 << 10
_LINE = 96


@dataclass(frozen=True, slots=True, eq=False)
class GoldenVectors:
    """``(N, *shape)`` for each input and each output of a model, in the model's dtypes."""

    inputs: tuple[NDArray[Any], ...]
    outputs: tuple[NDArray[Any], ...]

    @property
    def rows(self) -> int:
        """How many vectors there are."""
        return len(self.inputs[0])

    def first(self, rows: int) -> GoldenVectors:
        """Return the first ``rows`` vectors."""
        return GoldenVectors(
            tuple(a[:rows] for a in self.inputs), tuple(a[:rows] for a in self.outputs)
        )

    def differing(self, outputs: tuple[NDArray[Any], ...]) -> int:
        """Return how many values differ in their bits from the golden outputs."""
        return sum(
            int((_bits(mine) != _bits(theirs)).sum())
            for mine, theirs in zip(self.outputs, outputs, strict=True)
        )


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    flat = np.ascontiguousarray(values).reshape(-1)
    return flat.view(np.dtype(f"u{flat.dtype.itemsize}"))


def golden_vectors(
    model: bytes, inputs: ModelArrays, runtime: Runtime | None = None
) -> GoldenVectors:
    """Return the goldens of some inputs, answered by TFLM.

    Raises:
        EnvironmentMissing: tflite-micro is not installed.
        RuntimeFailure: TFLM refused the model or ended badly.
    """
    arrays = inputs if isinstance(inputs, tuple) else (inputs,)
    oracle = runtime or TflmRuntime()
    trace = oracle.run(Job(model=model, inputs=arrays[0], more_inputs=arrays[1:]))
    if trace.status is ExitStatus.TIMEOUT:
        raise TimedOut(f"{oracle.name}: {trace.says}")
    if trace.status is not ExitStatus.OK or trace.outputs is None:
        raise RuntimeFailure(f"{oracle.name}: {trace.says}")
    return GoldenVectors(arrays, (trace.outputs, *trace.more_outputs))


def shipped_vectors(goldens: GoldenVectors) -> GoldenVectors:
    """Return as many of the first vectors as a bundle carries in C."""
    row = sum(a[0].nbytes for a in (*goldens.inputs, *goldens.outputs))
    return goldens.first(max(1, min(SHIPPED_ROWS, _SHIPPED_BYTES // max(row, 1))))


def golden_header(goldens: GoldenVectors, facts: Facts, name: str) -> str:
    """Return the C header with the vectors as constant arrays; valid C++ too."""
    upper = name.upper()
    lines = [f"/* Golden vectors of {name}. */", f"#ifndef {upper}_GOLDEN_H"]
    lines += [f"#define {upper}_GOLDEN_H", "", "#include <stdint.h>", ""]
    lines += [f"#define {upper}_GOLDEN_ROWS {goldens.rows}"]
    for kind, tensors, arrays in (
        ("input", facts.inputs, goldens.inputs),
        ("output", facts.outputs, goldens.outputs),
    ):
        for position, (tensor, array) in enumerate(zip(tensors, arrays, strict=True)):
            lines += ["", *_array(golden_name(name, kind, position), tensor, array)]
    lines += ["", "#endif", ""]
    return "\n".join(lines)


def golden_name(name: str, kind: str, position: int) -> str:
    """Return the C name of one golden array."""
    return f"{name}_golden_{kind}" + (f"_{position}" if position else "")


def _array(name: str, tensor: Tensor, array: NDArray[Any]) -> Iterator[str]:
    ctype = "float" if tensor.dtype == "float32" else f"{tensor.dtype}_t"
    yield f"static const {ctype} {name}[{len(array)}][{tensor.elements}] = {{"
    for row in array.reshape(len(array), -1):
        yield "    {"
        line = "       "
        for value in row:
            text = c_number(value)
            if len(line) + len(text) + 2 > _LINE:
                yield line
                line = "       "
            line += f" {text},"
        yield line
        yield "    },"
    yield "};"


def c_number(value: Any) -> str:
    """Return a literal that reads back to the same bits.

    Raises:
        RuntimeFailure: not a finite number, which C has no literal for.
    """
    if isinstance(value, np.floating):
        if not np.isfinite(value):
            raise RuntimeFailure(f"a golden vector holds {value}; wanted finite numbers")
        return float_literal(float(value))
    return str(int(value))
