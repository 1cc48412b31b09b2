"""The firmware part of a bundle: made, proven again, and not trusted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import pytest

from edgepack.bundle import archive
from edgepack.firmware import bench, goldens
from edgepack.firmware.emulator import toolchain
from edgepack.gates.finding import Finding, Outcome
from edgepack.profiles import catalogue
from edgepack.tflite.flatbuffer import read
from tests.edgepack.firmware import nets

pytestmark = pytest.mark.tools

pytest.importorskip("tflite_micro", reason="pip install 'edgepack[micro]'")
MODEL = nets.residual(1)
INPUTS = nets.inputs(read(MODEL), 5)
GOLDEN = {
    bench.GOLDEN_INPUTS: archive.npy(INPUTS),
    bench.GOLDEN_OUTPUTS: archive.npy(goldens.golden_vectors(MODEL, INPUTS).outputs[0]),
}


def trial(files: Mapping[str, bytes], profile: str) -> dict[str, Finding]:
    found = bench.bench_firmware(MODEL, {**GOLDEN, **files}, catalogue.load(profile))
    return {f.gate: f for f in found}


@pytest.fixture(scope="module")
def in_c() -> dict[str, bytes]:
    board = catalogue.load("nucleo-l4r5zi")
    return bench.firmware_files(MODEL, board, "cell-net", GOLDEN, route="c")


@pytest.fixture
def no_cross_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which

    def which(tool: str, *more: Any) -> str | None:
        absent = {toolchain.ARM_GCC, toolchain.QEMU}
        return None if tool in absent else real(tool, *more)

    monkeypatch.setattr(shutil, "which", which)
    monkeypatch.setattr(toolchain, "cross_compiler", lambda: None)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("kws-v2.1", "kws_v2_1"),
        ("9lives", "model_9lives"),
        ("Zelle ä", "Zelle"),
        ("--", "model"),
    ],
)
def test_any_name_becomes_an_identifier(name: str, plain: str) -> None:
    assert bench.identifier(name) == plain


def test_files_lie_in_one_folder_under_the_models_name(in_c: dict[str, bytes]) -> None:
    assert "firmware/c/src/cell_net.c" in in_c
    assert all(path.startswith("firmware/c/") for path in in_c)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_without_cross_tools_the_gates_are_open_in_one_line(
    in_c: dict[str, bytes], no_cross_tools: None
) -> None:
    found = trial(in_c, "nucleo-l4r5zi")
    assert found["sources"].verdict is Outcome.PASS
    assert found["goldens_c"].verdict is Outcome.PASS
    assert "this machine" in found["goldens_c"].says
    for gate in ("stack", "instructions", "latency"):
        assert found[gate].verdict is Outcome.INCONCLUSIVE
        assert "apt-get install" in found[gate].says
        assert "\n" not in found[gate].says


@pytest.mark.qemu
def test_foreign_c_is_compared_and_never_compiled(
    in_c: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, no_cross_tools: None
) -> None:
    compiled: list[str] = []
    real = toolchain.compile_c

    def compile_c(compiler: Any, arguments: Any, folder: Any) -> None:
        compiled.extend((folder / "model.c").read_text().splitlines())
        real(compiler, arguments, folder)

    monkeypatch.setattr(toolchain, "compile_c", compile_c)
    path = "firmware/c/src/cell_net.c"
    hostile = {**in_c, path: in_c[path] + b'\n#include "/etc/passwd"\n'}
    found = trial(hostile, "nucleo-l4r5zi")
    assert found["sources"].verdict is Outcome.FAIL
    assert path in found["sources"].says
    assert not any("passwd" in line for line in compiled)


def test_a_bundle_without_firmware_is_no_pass() -> None:
    assert trial({}, "nucleo-l4r5zi")["sources"].verdict is Outcome.INCONCLUSIVE


def test_an_operator_without_a_c_kernel_makes_no_part_of_a_bundle() -> None:
    from tests.edgepack.tinymodels import Net

    net = Net()
    x, y = net.tensor((1, 8)), net.tensor((1, 8))
    net.op("ABS", [x], [y], 2)
    model = net.done([x], [y])
    golden = {bench.GOLDEN_INPUTS: archive.npy(nets.inputs(read(model), 1))}
    with pytest.raises(bench.EdgepackError, match="op 0 ABS"):
        bench.firmware_files(model, catalogue.load("nucleo-l4r5zi"), "n", golden, route="c")


@pytest.mark.qemu
def test_tflm_sources_are_proven_by_arena_and_array() -> None:
    board = catalogue.load("nano-33-ble")
    made = bench.firmware_files(MODEL, board, "cells", GOLDEN, route="tflm")
    found = trial(made, "nano-33-ble")
    proven = ("sources", "goldens_tflm", "arena", "flash")
    assert [found[gate].verdict for gate in proven] == [Outcome.PASS] * 4


@pytest.mark.qemu
def test_an_npus_bundle_carries_the_compiled_model() -> None:
    pytest.importorskip("ethosu", reason="pip install 'edgepack[micro]'")
    board = catalogue.load("corstone-300")
    made = bench.firmware_files(MODEL, board, "cells", GOLDEN, route="tflm")
    assert "firmware/vela/cells_ethos_u55_128.tflite" in made
    found = trial(made, "corstone-300")
    assert found["cpu_fallback"].verdict is Outcome.PASS
    assert found["arena"].verdict is Outcome.PASS
    assert found["sources"].verdict is Outcome.PASS
    swapped = {**made, "firmware/vela/cells_ethos_u55_128.tflite": b"another"}
    assert trial(swapped, "corstone-300")["sources"].verdict is Outcome.FAIL


@pytest.mark.qemu
@pytest.mark.skipif(
    any(shutil.which(t) is None for t in (toolchain.ARM_GCC, toolchain.QEMU)),
    reason="apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
)
@pytest.mark.parametrize("board", ["nucleo-l4r5zi", "disco-f746ng", "nucleo-g0b1re"])
def test_a_c_bundle_is_run_on_the_boards_core(in_c: dict[str, bytes], board: str) -> None:
    found = trial(in_c, board)
    for gate in ("sources", "goldens_c", "arena", "flash", "stack", "instructions"):
        assert found[gate].verdict is Outcome.PASS, found[gate]
