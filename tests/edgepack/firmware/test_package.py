"""What is dropped into a project: it builds, it tests itself, it is reproducible."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from converters.tflite import narrow, tflite_edit
from edgepack.errors import RuntimeFailure
from edgepack.firmware.compiler import c99
from edgepack.firmware.compiler.model import UnsupportedModel
from edgepack.firmware.goldens import GoldenVectors, c_number, golden_vectors, shipped_vectors
from edgepack.firmware.package.c_sources import c_bundle
from edgepack.firmware.package.tflm_sources import RESOLVABLE, resolver_method, tflm_bundle
from edgepack.measurements.firmware_figures import TflmArena
from edgepack.tflite.flatbuffer import read
from tests.edgepack.firmware import nets
from tests.edgepack.networks import residual

pytest.importorskip("tflite_micro", reason="pip install 'edgepack[micro]'")
ARENA = TflmArena(needed_bytes=8_000, estimated=False, basis="smallest of 9 sizes tried")
STUBS = {  # declarations of what the bundle uses of TFLM
    "tensorflow/lite/micro/micro_mutable_op_resolver.h": """
#pragma once
enum TfLiteStatus { kTfLiteOk };
namespace tflite {
template <unsigned N> struct MicroMutableOpResolver {
METHODS
};
}
""",
    "tensorflow/lite/schema/schema_generated.h": """
#pragma once
namespace tflite {
struct Model { unsigned version() const; };
const Model *GetModel(const void *);
}
""",
    "tensorflow/lite/micro/micro_interpreter.h": """
#pragma once
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
struct Data { char *raw; };
struct TfLiteTensor { Data data; };
namespace tflite {
struct MicroInterpreter {
  template <class M, class R> MicroInterpreter(M *, R &, unsigned char *, unsigned);
  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  TfLiteStatus Reset();
  TfLiteTensor *input(unsigned);
  TfLiteTensor *output(unsigned);
};
}
""",
}
LAYOUTS = {
    "README.md",
    "CMakeLists.txt",
    "library.properties",
    "library.json",
    "idf_component.yml",
    "examples/self_test/self_test.ino",
}


@pytest.fixture(scope="module")
def vectors() -> GoldenVectors:
    model = nets.residual(1)
    return golden_vectors(model, nets.inputs(read(model), 6))


@pytest.fixture(scope="module")
def in_c(vectors: GoldenVectors) -> Mapping[str, bytes]:
    return c_bundle(c99.compile_model(nets.residual(1)), "cells", vectors)


@pytest.fixture(scope="module")
def in_tflm(vectors: GoldenVectors) -> Mapping[str, bytes]:
    return tflm_bundle(nets.residual(1), "cells", vectors, ARENA)


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


@pytest.mark.tools
@pytest.mark.parametrize("route", ["in_c", "in_tflm"])
def test_every_layout_is_there_and_filled_in(
    route: str, request: pytest.FixtureRequest
) -> None:
    files: Mapping[str, bytes] = request.getfixturevalue(route)
    assert files.keys() >= LAYOUTS
    for path, content in files.items():
        if not path.endswith(".tflite"):
            assert not re.search(rb"\{\{ |\{% |@[A-Z_]+@", content), path


def test_the_same_model_gives_the_same_bytes(
    in_c: Mapping[str, bytes], vectors: GoldenVectors
) -> None:
    assert c_bundle(c99.compile_model(nets.residual(1)), "cells", vectors) == in_c


@pytest.mark.tools
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
@pytest.mark.parametrize("broken", [False, True])
def test_the_self_test_passes_and_can_fail(
    in_c: Mapping[str, bytes], broken: bool, tmp_path: Path
) -> None:
    unpack(in_c, tmp_path)
    golden = tmp_path / "src/cells_golden.h"
    if broken:
        text = golden.read_text()
        *_, last = re.finditer(r"(-?\d+),\n    \},", text)
        golden.write_text(f"{text[: last.start()]}{int(last[1]) ^ 1},\n    }},\n}};\n#endif\n")
    sources = [*map(str, (tmp_path / "src").glob("*.c")), str(tmp_path / "test/main.c")]
    command = ["gcc", "-std=c99", "-O0", "-I", str(tmp_path / "src"), *sources]
    subprocess.run([*command, "-o", str(tmp_path / "run")], check=True)
    ended = subprocess.run([str(tmp_path / "run")], capture_output=True, text=True, check=False)
    assert ended.returncode == broken
    assert f"cells: {int(broken)} of the golden" in ended.stdout


@pytest.mark.qemu
@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake on this machine")
def test_cmake_builds_the_c_bundle_and_its_test_passes(
    in_c: Mapping[str, bytes], tmp_path: Path
) -> None:
    unpack(in_c, tmp_path)
    for command in (
        ["cmake", "-S", ".", "-B", "build"],
        ["cmake", "--build", "build"],
        ["ctest", "--test-dir", "build"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.tools
@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")
def test_the_tflm_sources_are_valid_against_tflms_interface(
    in_tflm: Mapping[str, bytes], tmp_path: Path
) -> None:
    """Against declarations only: TFLM's own sources are in no package."""
    unpack(in_tflm, tmp_path)
    methods = "".join(f"  TfLiteStatus {resolver_method(op)}();\n" for op in sorted(RESOLVABLE))
    for path, text in STUBS.items():
        unpack({path: text.replace("METHODS", methods).encode()}, tmp_path)
    for source in ("src/cells_self_test.cc", "src/cells_model_data.cc", "test/main.cc"):
        subprocess.run(
            ["g++", "-std=c++17", "-Wall", "-Werror", "-fsyntax-only", "-I", str(tmp_path),
             "-I", str(tmp_path / "src"), str(tmp_path / source)],
            check=True,
        )  # fmt: skip


def test_the_model_array_holds_the_model(in_tflm: Mapping[str, bytes]) -> None:
    text = in_tflm["src/cells_model_data.cc"].decode()
    found = bytes(int(h, 16) for h in re.findall(r"0x([0-9a-f]{2}),", text))
    assert found == nets.residual(1) == in_tflm["config/tflite/cells.tflite"]
    assert "alignas(16)" in text


def test_the_resolver_holds_only_what_is_used(in_tflm: Mapping[str, bytes]) -> None:
    text = in_tflm["src/cells_resolver.h"].decode()
    assert "MicroMutableOpResolver<7>" in text
    assert text.count("resolver.Add") == 7


def test_the_arena_says_how_it_was_found(in_tflm: Mapping[str, bytes]) -> None:
    text = in_tflm["src/cells_config.h"].decode()
    assert "kTensorArenaSize = 8000;" in text
    assert "emulated: smallest of 9 sizes tried" in text


@pytest.mark.parametrize(("row_bytes", "rows"), [(100, 4), (65_536, 4), (200_000, 1)])
def test_a_bundle_carries_few_vectors(row_bytes: int, rows: int) -> None:
    big = GoldenVectors((np.zeros((9, row_bytes - 4), np.int8),), (np.zeros((9, 4), np.int8),))
    assert shipped_vectors(big).rows == rows


@pytest.mark.parametrize("value", [0.1, -3.0, 1e-30, 123456789.0])
def test_float_literals_read_back_to_the_same_bits(value: float) -> None:
    text = c_number(np.float32(value))
    assert np.float32(text.removesuffix("f")) == np.float32(value)


def test_what_c_has_no_literal_for_is_an_error() -> None:
    with pytest.raises(RuntimeFailure, match="finite"):
        c_number(np.float32("nan"))


def test_int4_weights_are_read_one_by_one_and_refused_by_the_c_route() -> None:
    model = residual(8, 8)
    tree = tflite_edit.parse(model)
    found = narrow.candidates(tree)
    whole, narrower = read(model), read(narrow.narrowed(model, found))
    for op in narrower.ops:
        if op.name != "CONV_2D":
            continue
        number = op.inputs[1]
        before = whole.array(whole.main.tensors[number])
        after = narrower.array(narrower.main.tensors[number])
        axis = tree.subgraphs[0].tensors[number].quantization.quantizedDimension
        assert (after == narrow.to_codes(before, axis)[0]).all()
    with pytest.raises(UnsupportedModel, match="weights of dtype int4; wanted int8"):
        c99.compile_model(narrow.narrowed(model, found))
