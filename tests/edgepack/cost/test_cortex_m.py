"""Cycles of firmware follow its instructions, by the cores' manuals."""

from __future__ import annotations

import pytest

from edgepack.cost.cortex_m import (
    CORES,
    Block,
    cycles_each,
    grounds,
    instructions,
    kind,
    kinds,
    milliseconds,
)
from edgepack.profiles import catalogue


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("add.w r0, r1, r2", "alu"),
        ("movs r0, #1", "alu"),
        ("sxtb16 r1, r2", "alu"),
        ("ssat r1, #8, r2", "alu"),
        ("bic r1, r2", "alu"),
        ("bfi r1, r2, #1, #2", "alu"),
        ("smlad r0, r1, r2, r3", "mul"),
        ("mla r0, r1, r2, r3", "mul"),
        ("smmlar r0, r1, r2, r3", "mul"),
        ("umull r0, r1, r2, r3", "long_mul"),
        ("smlal r0, r1, r2, r3", "long_mul"),
        ("smlald r0, r1, r2, r3", "mul"),
        ("sdiv r0, r1, r2", "div"),
        ("ldrsb.w r0, [r1, #3]", "load"),
        ("str r0, [r1]", "store"),
        ("ldrd r0, r1, [r2]", "many"),
        ("push.w {r4, r5, lr}", "many"),
        ("bne #0x100", "branch"),
        ("ble.w #0x100", "branch"),
        ("bl #0x100", "branch"),
        ("bhs #0x100", "branch"),
        ("cbz r0, #0x10", "branch"),
        ("itte ne", "it"),
        ("it eq", "it"),
        ("dsb sy", "barrier"),
        ("vmul.f32 s0, s1, s2", "float"),
        ("vmla.f32 s0, s1, s2", "float_mac"),
        ("vdiv.f32 s0, s1, s2", "float_div"),
        ("vldr s0, [r1]", "load"),
        ("vmladav.s8 r0, q1, q2", "float_mac"),
        ("vmov q0, q1", "vector"),
    ],
)
def test_an_instruction_has_its_kind(text: str, wanted: str) -> None:
    assert kind(text) == wanted


def test_a_multiple_load_costs_a_cycle_for_each_register() -> None:
    found = kinds([Block(("ldm r0!, {r1, r2, r4-r7}", "strd r0, r1, [r2]"), 10, 0)])
    assert found == {"many": 20, "many_word": 80, "taken": 0}
    assert instructions(found) == 20
    assert cycles_each(found, CORES["cortex-m4"], 0) == (5.0, 5.0)


def test_a_loop_costs_what_the_manual_says() -> None:
    """ldrb, mla, adds, subs, bne: 10 turns, of which 9 go back."""
    turn = ("ldrb r0, [r1]", "mla r2, r0, r3, r2", "adds r1, #1", "subs r4, #1", "bne #0")
    found = kinds([Block(turn, 10, 9)])
    low, high = cycles_each(found, CORES["cortex-m4"], 0)
    assert (low * 50, high * 50) == (pytest.approx(50 + 9), pytest.approx(60 + 27))
    assert cycles_each(found, CORES["cortex-m4"], 5)[1] * 50 == pytest.approx(60 + 27 + 45)
    low, high = cycles_each(found, CORES["cortex-m0"], 0)
    assert (low * 50, high * 50) == (pytest.approx(60 + 9), pytest.approx(60 + 18))


def test_two_instructions_a_cycle_halve_the_least() -> None:
    found = kinds([Block(("add r0, r1",), 10, 0)])
    assert cycles_each(found, CORES["cortex-m7"], 0) == (0.5, 1.0)


def test_every_kind_has_cycles_on_every_core_and_the_least_is_not_above_the_most() -> None:
    for core in CORES.values():
        assert all(low <= high for low, high in core.cycles.values())
        assert set(core.cycles) == set(CORES["cortex-m4"].cycles)


def test_wait_states_and_clock_come_from_the_profile() -> None:
    board = catalogue.load("nucleo-l4r5zi")
    found = kinds([Block(("add r0, r1", "b #0"), 60, 60)])
    made = milliseconds(120_000, found, board)
    assert not isinstance(made, str)
    assert board.cpu.flash_wait_states is not None
    assert made.low_ms == pytest.approx(1.5)
    assert made.high_ms == pytest.approx((2 + 3 + board.cpu.flash_wait_states.value) / 2)
    assert "flash wait states after each taken branch" in grounds(found, board, "cortex-m4")
