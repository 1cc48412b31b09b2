"""Fixed-point arithmetic against exact fractions and the real functions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepack.firmware.compiler import fixed_point

INT32 = st.integers(fixed_point.INT32_MIN, fixed_point.INT32_MAX)


def nearest(value: Fraction, *, away: bool) -> int:
    """Round to nearest; halves away from zero, or up."""
    whole = math.floor(value)
    rest = value - whole
    if rest == Fraction(1, 2):
        return whole + 1 if value > 0 or not away else whole
    return whole + (rest > Fraction(1, 2))


@given(INT32, INT32)
def test_high_product_is_the_rounded_product(a: int, b: int) -> None:
    exact = nearest(Fraction(a * b, 1 << 31), away=False)
    assert fixed_point.high_product(a, b) == min(exact, fixed_point.INT32_MAX)


@given(INT32, st.integers(0, 31))
def test_shift_right_rounds_halves_away_from_zero(value: int, bits: int) -> None:
    assert fixed_point.shift_right(value, bits) == nearest(
        Fraction(value, 1 << bits), away=True
    )


@given(st.floats(2.0**-31, 2.0**29))
def test_multiplier_is_within_half_a_step(real: float) -> None:
    mantissa, shift = fixed_point.multiplier(real)
    assert 1 << 30 <= mantissa < 1 << 31
    made = Fraction(mantissa, 1 << 31) * Fraction(2) ** shift
    assert abs(made - Fraction(real)) <= Fraction(2) ** (shift - 32)


@pytest.mark.parametrize(
    ("real", "vanishes"), [(2.0**-33, True), (2.0**-32, False), (0.0, True)]
)
def test_what_is_too_small_vanishes(real: float, vanishes: bool) -> None:
    assert (fixed_point.multiplier(real)[0] == 0) is vanishes


@pytest.mark.parametrize("real", [-1e-9, float("nan"), float("inf"), 2.0**30])
def test_what_no_multiplier_holds_is_an_error(real: float) -> None:
    with pytest.raises(ValueError, match="rescaling factor"):
        fixed_point.multiplier(real)


@given(st.floats(-15.9, -1e-6))
def test_exp_is_good_to_a_millionth(x: float) -> None:
    found = fixed_point.exp_of_negative(round(x * (1 << 27)), 4) / (1 << 31)
    assert found == pytest.approx(math.exp(x), abs=1e-6)


@given(st.floats(-15.9, 15.9))
def test_logistic_and_tanh_are_good_to_a_millionth(x: float) -> None:
    raw = round(x * (1 << 27))
    assert fixed_point.logistic(raw, 4) / (1 << 31) == pytest.approx(
        1 / (1 + math.exp(-x)), abs=1e-6
    )
    assert fixed_point.tanh(raw, 4) / (1 << 31) == pytest.approx(math.tanh(x), abs=1e-6)


def test_fixed_points_of_the_functions() -> None:
    assert fixed_point.exp_of_negative(0, 5) == fixed_point.ONE_Q0
    assert fixed_point.logistic(0, 4) == 1 << 30
    assert fixed_point.tanh(0, 4) == 0
