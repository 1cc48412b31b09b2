"""What stands between a compiled model and the program that runs it: rows in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import RuntimeFailure
from edgepack.firmware.compiler.c99 import accessor
from edgepack.tflite.facts import Facts

ModelArrays = NDArray[Any] | tuple[NDArray[Any], ...]


def rows_of(facts: Facts, inputs: ModelArrays) -> list[bytes]:
    """Return each inference's inputs one after the other, checked against the model.

    Raises:
        RuntimeFailure: not the model's number of inputs, dtype or shape.
    """
    arrays = inputs if isinstance(inputs, tuple) else (inputs,)
    if len(arrays) != len(facts.inputs):
        raise RuntimeFailure(f"wanted {len(facts.inputs)} inputs. Received: {len(arrays)}")
    columns = []
    for array, tensor in zip(arrays, facts.inputs, strict=True):
        if array.dtype != tensor.dtype or array[0].size != tensor.elements:
            raise RuntimeFailure(
                f"wanted rows of {tensor}. Received: {array.dtype}{list(array.shape[1:])}"
            )
        columns.append([np.ascontiguousarray(row).tobytes() for row in array])
    return [b"".join(parts) for parts in zip(*columns, strict=True)]


def arrays_of(facts: Facts, rows: Sequence[bytes]) -> tuple[NDArray[Any], ...]:
    """Return ``(N, *shape)`` for each output from the bytes of each inference.

    A batch of one is left out of the shape, as every Runtime leaves it out.
    """
    arrays, at = [], 0
    for tensor in facts.outputs:
        parts = [np.frombuffer(row, tensor.dtype, tensor.elements, at) for row in rows]
        shape = tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape
        arrays.append(np.array(parts).reshape(len(rows), *shape))
        at += tensor.nbytes
    return tuple(arrays)


def write(folder: Path, files: Mapping[str, bytes], name: str, facts: Facts) -> None:
    """Put the sources, both harnesses and the header between them into ``folder``."""
    for path, content in files.items():
        (folder / Path(path).name).write_bytes(content)
    harness = resources.files("edgepack.firmware.emulator") / "harness"
    for own in ("bare_metal.c", "host.c"):
        (folder / own).write_text((harness / own).read_text())
    (folder / "under_test.h").write_text(_glue(name, facts))


def _glue(name: str, facts: Facts) -> str:
    """Return the header by which a harness knows the model."""

    takes, at = [], 0
    for position, tensor in enumerate(facts.inputs):
        to = accessor(name, "input", position)
        takes.append(f"    memcpy({to}(), from + {at}, {tensor.nbytes});")
        at += tensor.nbytes
    gives = [
        f"    put({accessor(name, 'output', position)}(), {tensor.nbytes}u);"
        for position, tensor in enumerate(facts.outputs)
    ]
    lines = (
        "#include <string.h>",
        f'#include "{name}.h"',
        f"#define INPUT_BYTES {at}u",
        f"#define MODEL_INVOKE {name}_invoke",
        "static void take_input(const unsigned char *from)",
        "{",
        f"    {name}_reset();",
        *takes,
        "}",
        "static void give_output(void (*put)(const void *, unsigned))",
        "{",
        *gives,
        "}",
        "",
    )
    return "\n".join(lines)
