"""Files around a model's sources: CMake, Arduino, PlatformIO, ESP-IDF, and a page to read.

Each is a jinja2 template under ``templates/``; what a template wants and is not given is an
error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from edgepack.firmware.compiler.c99 import accessor
from edgepack.firmware.compiler.lower.kernel_call import float_literal
from edgepack.firmware.goldens import golden_name
from edgepack.tflite.facts import Facts, Tensor

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _templates() -> Environment:
    from jinja2 import Environment, StrictUndefined  # only where firmware is written

    return Environment(
        autoescape=False,  # noqa: S701 - C and CMake; names from outside never get here
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def fill(template: str, values: Mapping[str, Any]) -> bytes:
    """Return a template of ``templates/`` with its values.

    Raises:
        jinja2.UndefinedError: the template wants a value that is not given.
    """
    folder = resources.files("edgepack.firmware.package") / "templates"
    text = folder.joinpath(template).read_text("utf-8")
    return _templates().from_string(text).render(values).encode()


@dataclass(frozen=True, slots=True)
class ModelEnd:
    """An input or output of a model, as templates name it.

    Attributes:
        kind: ``input`` or ``output``.
        number: its place among them.
        accessor: the C function that points at it.
        golden: the array of its golden vectors.
        scale: as a C literal; empty where it is not quantized.
    """

    kind: str
    number: int
    accessor: str
    golden: str
    nbytes: int
    elements: int
    scale: str
    zero_point: int


def model_ends(model: Facts, name: str) -> dict[str, list[ModelEnd]]:
    """Return ``inputs`` and ``outputs`` of a model for templates."""
    ends = {"input": model.inputs, "output": model.outputs}
    return {f"{kind}s": [_end(t, kind, n, name) for n, t in enumerate(tensors)]
            for kind, tensors in ends.items()}  # fmt: skip


def _end(tensor: Tensor, kind: str, number: int, name: str) -> ModelEnd:
    return ModelEnd(
        kind=kind,
        number=number,
        accessor=accessor(name, kind, number),
        golden=golden_name(name, kind, number),
        nbytes=tensor.nbytes,
        elements=tensor.elements,
        scale=float_literal(tensor.scales[0]) if tensor.scales else "",
        zero_point=tensor.zero_points[0] if tensor.zero_points else 0,
    )


def name_values(name: str) -> dict[str, str]:
    """Return the values that every template may use."""
    return {"name": name, "upper": name.upper()}


def packaging(values: Mapping[str, Any], *, cpp: bool) -> dict[str, bytes]:
    """Return path -> content of what Arduino, PlatformIO and ESP-IDF look for."""
    route = "tflm" if cpp else "c"
    more = {
        **values,
        "header_end": "_config.h" if cpp else ".h",
        "dependencies": '  espressif/esp-tflite-micro: "^1.3"' if cpp else "",
    }
    return {
        "README.md": fill(f"{route}/README.md", more),
        "CMakeLists.txt": fill(f"{route}/CMakeLists.txt", more),
        "library.properties": fill("library.properties", more),
        "library.json": fill("library.json", more),
        "idf_component.yml": fill("idf_component.yml", more),
        "examples/self_test/self_test.ino": fill(f"{route}/self_test.ino", more),
    }


def facts(model: Facts, more: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the rows of the table in a bundle's README."""
    rows = [("Input", _described(t)) for t in model.inputs]
    rows += [("Output", _described(t)) for t in model.outputs]
    return [*rows, *more.items()]


def _described(tensor: Tensor) -> str:
    shape = " x ".join(map(str, tensor.shape))
    if not tensor.scales:
        return f"{tensor.dtype}, {shape}"
    scale, zero = tensor.scales[0], tensor.zero_points[0]
    return f"{tensor.dtype}, {shape}, scale {scale:.9g}, zero point {zero}"
