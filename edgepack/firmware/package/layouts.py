"""Files around a model's sources: CMake, Arduino, PlatformIO, ESP-IDF, and a page to read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources

from edgepack.tflite.facts import Facts, Tensor

_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")


def fill(template: str, values: Mapping[str, str]) -> bytes:
    """Return a template of ``templates/`` with every ``@KEY@`` replaced.

    Raises:
        KeyError: the template wants a value that is not given.
    """
    text = (
        (resources.files("edgepack.firmware.package") / "templates")
        .joinpath(template)
        .read_text()
    )
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text).encode()


def named(name: str) -> dict[str, str]:
    """Return the values that every template may use."""
    return {"NAME": name, "UPPER": name.upper()}


def packaging(values: Mapping[str, str], *, cpp: bool) -> dict[str, bytes]:
    """Return path -> content of what Arduino, PlatformIO and ESP-IDF look for."""
    route = "tflm" if cpp else "c"
    dependency = '  espressif/esp-tflite-micro: "^1.3"\n' if cpp else ""
    more = {
        **values,
        "HEADER_END": "_config.h" if cpp else ".h",
        "DEPENDENCIES": dependency.rstrip("\n"),
    }
    return {
        "README.md": fill(f"{route}/README.md", more),
        "CMakeLists.txt": fill(f"{route}/CMakeLists.txt", more),
        "library.properties": fill("library.properties", more),
        "library.json": fill("library.json", more),
        "idf_component.yml": fill("idf_component.yml", more),
        "examples/self_test/self_test.ino": fill(f"{route}/self_test.ino", more),
    }


def facts(model: Facts, more: Mapping[str, str]) -> str:
    """Return the rows of the table in a bundle's README."""
    rows = [("Input", _described(t)) for t in model.inputs]
    rows += [("Output", _described(t)) for t in model.outputs]
    return "\n".join(f"| {key} | {value} |" for key, value in (*rows, *more.items()))


def _described(tensor: Tensor) -> str:
    shape = " x ".join(map(str, tensor.shape))
    if not tensor.scales:
        return f"{tensor.dtype}, {shape}"
    scale, zero = tensor.scales[0], tensor.zero_points[0]
    return f"{tensor.dtype}, {shape}, scale {scale:.9g}, zero point {zero}"
