"""Compiled models give TFLM's bits: every operator, random shapes and scales."""

from __future__ import annotations

import re
import shutil

import pytest

from edgepack.firmware import goldens
from edgepack.firmware.compiler import c99
from edgepack.firmware.compiler.lower.program import Program
from edgepack.firmware.emulator import run as emulate
from edgepack.firmware.emulator.targets import TARGETS
from tests.edgepack.firmware import nets

pytestmark = pytest.mark.tools

pytest.importorskip("tflite_micro", reason="the oracle, pip install 'edgepack[micro]'")
NEEDS_GCC = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
NEEDS_QEMU = pytest.mark.skipif(
    any(shutil.which(t) is None for t in ("arm-none-eabi-gcc", "qemu-system-arm")),
    reason="apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
)
CHECKED = ("-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")


def case(kind: str, seed: int) -> tuple[Program, goldens.GoldenVectors]:
    model = nets.KINDS[kind](seed)
    program = c99.compile_model(model)
    return program, goldens.golden_vectors(model, nets.inputs(program.facts, 3, seed))


def assert_host(kind: str, seed: int, flags: tuple[str, ...]) -> None:
    program, wanted = case(kind, seed)
    mine = emulate.run_on_host(
        c99.sources(program, "net"), "net", program.facts, wanted.inputs, flags=flags
    )
    assert wanted.differing(mine) == 0


@NEEDS_GCC
@pytest.mark.parametrize("kind", ["convolution", "residual"])
def test_portable_kernels_give_tflms_bits(kind: str) -> None:
    assert_host(kind, 1, ("-O0",))


@NEEDS_GCC
@pytest.mark.qemu
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", sorted(nets.KINDS))
def test_portable_kernels_stay_inside_their_memory(kind: str, seed: int) -> None:
    assert_host(kind, seed, CHECKED)


@NEEDS_QEMU
@pytest.mark.qemu
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["convolution", "depthwise", "dense", "add", "residual"])
def test_dsp_kernels_give_the_same_bits(kind: str, seed: int) -> None:
    program, wanted = case(kind, seed + 100)
    run = emulate.run(
        c99.sources(program, "net"), "net", program.facts, TARGETS["cortex-m4"], wanted.inputs
    )
    assert wanted.differing(run.outputs) == 0


@NEEDS_GCC
def test_one_wrong_byte_of_a_table_is_noticed() -> None:
    program, wanted = case("logistic", 1)
    files = c99.sources(program, "net")
    text = files["net_weights.h"].decode()
    last = re.search(r" (-?\d+),\n\};", text)
    assert last is not None
    files["net_weights.h"] = text.replace(last[0], f" {int(last[1]) ^ 1},\n}};").encode()
    mine = emulate.run_on_host(files, "net", program.facts, wanted.inputs, flags=("-O0",))
    assert wanted.differing(mine) >= 1
