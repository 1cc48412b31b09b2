"""What figures mean on a device: limits are inclusive, open questions stay open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgepack.firmware.emulator.targets import TARGETS, target_for
from edgepack.gates import firmware
from edgepack.gates.finding import Finding, How, Outcome
from edgepack.gates.limits import Limit, ram_limit, storage_limit
from edgepack.measurements.firmware_figures import (
    EmulatedRun,
    SectionSizes,
    TflmArena,
    VelaResult,
)
from edgepack.profiles import catalogue
from edgepack.profiles.profile import Profile
from edgepack.tflite.flatbuffer import read
from edgepack.tflite.liveness import busiest_operator
from tests.edgepack.tinymodels import Net

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


@pytest.fixture(scope="module")
def board() -> Profile:
    """An M4 with 480 KiB of RAM and 1536 KiB of flash to spend, 120 MHz, 1000 ms."""
    return catalogue.load("nucleo-l4r5zi")


def budget(limit: Limit) -> int:
    assert limit.value is not None
    return int(limit.value)


def by_gate(found: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.gate: finding for finding in found}


def emulation(ram: int = 1_000, stack: int = 100, flash: int = 9_000) -> EmulatedRun:
    return EmulatedRun(
        target="cortex-m4",
        compiler="gcc",
        outputs=(np.zeros((1, 2), np.int8),),
        instructions=(10, 30, 20),
        stack_bytes=stack,
        sizes=SectionSizes(1_000, flash - 1_500, 0, ram),
        library_bytes=500,
        kinds={},
    )


def compiled(**changes: Any) -> VelaResult:
    values: dict[str, Any] = {
        "model": bytes(1000),
        "accelerator": "ethos-u55-128",
        "system_config": "s",
        "memory_mode": "m",
        "version": "5",
        "sram_bytes": 1,
        "weight_bytes": 1,
        "cycles": 1_000_000,
        "milliseconds": 2.0,
        "core_clock_mhz": 500.0,
        "npu_operators": 3,
        "cpu_operators": (),
    }
    return VelaResult(**(values | changes))


@pytest.mark.parametrize(("offset", "verdict"), [(-1, PASS), (0, PASS), (1, FAIL)])
def test_ram_of_arena_and_stack_is_inclusive(
    offset: int, verdict: Outcome, board: Profile
) -> None:
    limit = budget(ram_limit(board))
    found = by_gate(firmware.c_memory(emulation(ram=limit - 100 + offset), board))
    assert found["arena"].verdict is verdict
    assert found["arena"].how is How.EMULATED
    assert found["arena"].value == limit + offset


@pytest.mark.parametrize(("offset", "verdict"), [(-1, PASS), (0, PASS), (1, FAIL)])
def test_flash_with_library_code_is_inclusive(
    offset: int, verdict: Outcome, board: Profile
) -> None:
    limit = budget(storage_limit(board))
    found = by_gate(firmware.c_memory(emulation(flash=limit + offset), board))
    assert found["flash"].verdict is verdict


@pytest.mark.parametrize(
    ("over", "verdict"),
    [
        (-firmware.TFLM_CODE_HIGH_BYTES, PASS),
        (-firmware.TFLM_CODE_HIGH_BYTES + 1, OPEN),
        (-firmware.TFLM_CODE_LOW_BYTES, OPEN),
        (-firmware.TFLM_CODE_LOW_BYTES + 1, FAIL),
    ],
)
def test_an_interpreter_of_unknown_size_leaves_the_middle_open(
    over: int, verdict: Outcome, board: Profile
) -> None:
    limit = budget(storage_limit(board))
    figures = TflmArena(needed_bytes=16, estimated=False, basis="reference kernels")
    found = by_gate(firmware.tflm_memory(limit + over, figures, board))
    assert found["flash"].verdict is verdict
    assert found["flash"].how is How.ESTIMATED


@pytest.mark.parametrize(
    ("over", "verdict"),
    [(-firmware.STACK_ALLOWANCE_BYTES, PASS), (0, OPEN), (1, FAIL)],
)
def test_a_plan_without_a_compiler_proves_only_with_room(
    over: int, verdict: Outcome, board: Profile
) -> None:
    limit = budget(ram_limit(board))
    found = by_gate(firmware.c_planned(limit + over, 1, board))
    assert found["arena"].verdict is verdict
    assert found["arena"].how is How.PLANNED


def test_an_arena_that_does_not_fit_names_operator_tensor_and_limit(board: Profile) -> None:
    net = Net()
    x = net.tensor((1, 512, 512, 2))
    facts = read(net.done([x], [net.pool(net.conv(x, 4, 1), 512)]))
    found = by_gate(firmware.c_planned(2_000_000, 1, board, busiest_operator(facts)))[
        "arena"
    ].says
    assert "op 0 CONV_2D at 't3' int8[1, 512, 512, 4] needs 1,572,864 B at once" in found
    assert "of 491,520 B" in found
    assert "\n" not in found


@pytest.mark.parametrize(("wrong", "verdict"), [(0, PASS), (1, FAIL)])
def test_one_wrong_value_fails_the_goldens(wrong: int, verdict: Outcome) -> None:
    assert firmware.goldens_c(wrong, 100, "here").verdict is verdict


def test_the_worst_inference_counts(board: Profile) -> None:
    finding = firmware.instructions(emulation())
    assert (finding.value, finding.unit) == (30, "instructions")


def ran(count: int, **kinds: int) -> EmulatedRun:
    """Return a run of ``count`` instructions, of which so many loads were among 100."""
    return replace(emulation(), instructions=(count,), kinds=kinds or {"alu": 80, "load": 20})


@pytest.mark.parametrize(
    ("instructions", "verdict"),
    [(100_000_000, PASS), (110_000_000, OPEN), (121_000_000, FAIL)],
)
def test_a_limit_inside_the_range_stays_open(
    instructions: int, verdict: Outcome, board: Profile
) -> None:
    """1.0 to 1.2 cycles each at 120 MHz, of 1,000 ms."""
    finding = firmware.latency(ran(instructions), board)
    assert finding.verdict is verdict
    assert finding.how is How.ESTIMATED


def test_a_time_says_what_was_counted_where_and_what_a_cycle_costs(board: Profile) -> None:
    says = firmware.latency(ran(120_000), board).says
    assert "120,000 instructions counted on an emulated cortex-m4" in says
    assert "1.00 to 1.20 cycles each by kind (DDI 0439, table 3-1" in says
    assert "at 120 MHz" in says


def test_without_wait_states_no_time_is_proven_to_fit(board: Profile) -> None:
    cpu = board.cpu.model_copy(update={"flash_wait_states": None})
    unknown = board.model_copy(update={"cpu": cpu})
    finding = firmware.latency(ran(100_000_000), unknown)
    assert finding.verdict is OPEN
    assert "set [cpu.flash_wait_states]" in finding.says
    assert firmware.latency(ran(121_000_000), unknown).verdict is FAIL


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("raspberry-pi-pico-2", "external flash"),
        ("raspberry-pi-pico", "external flash"),
        ("esp32-s3", "external flash"),
        ("esp32-c3", "external flash"),
    ],
)
def test_no_milliseconds_where_a_cache_decides(name: str, why: str) -> None:
    finding = firmware.latency(ran(1_000), catalogue.load(name))
    assert finding.verdict is OPEN
    assert finding.value is None
    assert why in finding.says


def test_no_milliseconds_without_kinds(board: Profile) -> None:
    finding = firmware.latency(replace(ran(1_000), kinds={}), board)
    assert finding.verdict is OPEN
    assert "no C compiler" in finding.says


@pytest.mark.parametrize(
    ("name", "core"),
    [
        ("nucleo-l4r5zi", "cortex-m4"),
        ("nrf5340-dk", "cortex-m4"),
        ("disco-f746ng", "cortex-m7"),
        ("ek-ra8d1", "cortex-m55"),
        ("nucleo-g0b1re", "cortex-m0plus"),
        ("esp32-c3", None),
        ("esp32", None),
    ],
)
def test_each_board_is_run_on_the_core_it_has(name: str, core: str | None) -> None:
    found = target_for(catalogue.load(name).cpu)
    assert found is (TARGETS[core] if core else None)


def test_an_operator_on_the_cpu_fails_where_the_npu_is_required() -> None:
    board = catalogue.load("corstone-300")
    found = by_gate(firmware.npu(compiled(cpu_operators=("Softmax at 'x'",)), board))
    assert found["cpu_fallback"].verdict is FAIL
    assert "Softmax at 'x'" in found["cpu_fallback"].says
    assert found["latency"].verdict is OPEN


def test_cycles_become_milliseconds_by_the_profiles_clock() -> None:
    board = catalogue.load("corstone-300")
    clock = board.npu.clock_mhz if board.npu and board.npu.clock_mhz else 500.0
    found = by_gate(firmware.npu(compiled(), board))
    assert found["cpu_fallback"].verdict is PASS
    assert found["latency"].value == pytest.approx(1_000 / clock, abs=1e-3)
    assert found["latency"].how is How.ESTIMATED
