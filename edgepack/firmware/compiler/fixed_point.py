"""Fixed-point arithmetic of TensorFlow Lite Micro, in whole numbers of any size.

Used when code is generated: for multipliers, for activation ranges and for the tables that
replace LOGISTIC, TANH and the exponential of SOFTMAX. The rounding is TFLM's, twice per
rescaling (TFLITE_SINGLE_ROUNDING off), which differs from TensorFlow Lite's own
fully-connected kernel by up to two steps.

Sources: tensorflow/lite/kernels/internal/{quantization_util.cc, common.cc} and
gemmlowp/fixedpoint/fixedpoint.h for the series that compute exp, tanh and logistic.
"""

from __future__ import annotations

import math

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
ONE_Q0 = INT32_MAX  # 1.0 with no integer bit, saturated
_EXP_MINUS_EIGHTH = 1895147668
_THIRD = 715827883
_48_OVER_17, _MINUS_32_OVER_17 = 1515870810, -1010580540  # both with two integer bits
_EXP_MINUS_POWER = {  # exp(-2**power) with no integer bit
    -2: 1672461947,
    -1: 1302514674,
    0: 790015084,
    1: 290630308,
    2: 39332535,
    3: 720401,
    4: 242,
}


def wrap(value: int) -> int:
    """Return ``value`` as a 32-bit register would hold it."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def high_product(a: int, b: int) -> int:
    """Return ``round(a * b / 2**31)``, halves up, saturated (VQRDMULH)."""
    if a == b == INT32_MIN:
        return INT32_MAX
    return (a * b + (1 << 30)) >> 31


def shift_right(value: int, bits: int) -> int:
    """Return ``value / 2**bits``, rounded to nearest, halves away from zero."""
    if bits == 0:
        return value
    return (value + (1 << (bits - 1)) - (value < 0)) >> bits


def multiplier(real: float) -> tuple[int, int]:
    """Return ``(mantissa, shift)`` with ``real = mantissa / 2**31 * 2**shift``.

    The mantissa is 0 or in [2**30, 2**31); a real below 2**-32 becomes 0.

    Raises:
        ValueError: ``real`` is negative, not finite or above 2**30.
    """
    if not 0 <= real < 1 << 30:
        raise ValueError(f"wanted a rescaling factor in [0, 2**30). Received: {real}")
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    mantissa = math.floor(fraction * (1 << 31) + 0.5)
    if mantissa == 1 << 31:
        mantissa, shift = mantissa // 2, shift + 1
    return (0, 0) if shift < -31 else (mantissa, shift)


def rescale(value: int, mantissa: int, shift: int) -> int:
    """Return ``value * mantissa / 2**31 * 2**shift``, rounded twice as TFLM does."""
    left, right = max(shift, 0), max(-shift, 0)
    return shift_right(high_product(wrap(value << left), mantissa), right)


def input_radius(integer_bits: int, left_shift: int) -> int:
    """Return how far from its zero point an input still matters to exp, tanh or logistic."""
    widest = ((1 << integer_bits) - 1) * (1 << (31 - integer_bits))
    return math.floor(widest / (1 << left_shift) if left_shift >= 0 else widest << -left_shift)


def _by_power_of_two(value: int, power: int) -> int:
    """Return ``value * 2**power``; to the left saturating, to the right rounding."""
    if power <= 0:
        return shift_right(value, -power)
    limit = (1 << (31 - power)) - 1
    if value > limit:
        return INT32_MAX
    return INT32_MIN if value < -limit else value << power


def _exp_near_zero(a: int) -> int:
    """Return exp(a) for ``a`` in [-1/4, 0), no integer bit: Taylor about -1/8."""
    x = a + (1 << 28)
    x2 = high_product(x, x)
    x3 = high_product(x2, x)
    x4_quarter = shift_right(high_product(x2, x2), 2)
    tail = shift_right(high_product(x4_quarter + x3, _THIRD) + x2, 1)
    return wrap(_EXP_MINUS_EIGHTH + high_product(_EXP_MINUS_EIGHTH, wrap(x + tail)))


def exp_of_negative(a: int, integer_bits: int) -> int:
    """Return exp(a) with no integer bit, for ``a <= 0`` with ``integer_bits`` of them."""
    if a == 0:
        return ONE_Q0
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    rest = (a & (quarter - 1)) - quarter
    result = _exp_near_zero(_by_power_of_two(rest, integer_bits))
    remainder = wrap(rest - a)
    for power, factor in _EXP_MINUS_POWER.items():
        if integer_bits > power and remainder & (1 << (fraction_bits + power)):
            result = high_product(result, factor)
    return result


def _newton(a: int) -> int:
    """Return ``2 / (1 + a)`` with two integer bits for ``a`` in [0, 1) with none."""
    total = a + ONE_Q0
    half = (total + 1) // 2  # RoundingHalfSum of two numbers that are not negative
    x = wrap(_48_OVER_17 + high_product(half, _MINUS_32_OVER_17))
    for _ in range(3):
        error = (1 << 29) - high_product(half, x)
        x = wrap(x + _by_power_of_two(high_product(x, error), 2))
    return x


def one_over_one_plus(a: int) -> int:
    """Return ``1 / (1 + a)`` for ``a`` in [0, 1), both with no integer bit."""
    return _by_power_of_two(_newton(a), 1)


def logistic(a: int, integer_bits: int) -> int:
    """Return the logistic function of ``a`` with no integer bit."""
    if a == 0:
        return 1 << 30
    positive = one_over_one_plus(exp_of_negative(-abs(a), integer_bits))
    return positive if a > 0 else ONE_Q0 - positive


def tanh(a: int, integer_bits: int) -> int:
    """Return tanh(a) with no integer bit."""
    if a == 0:
        return 0
    ratio = _newton(exp_of_negative(-abs(a), integer_bits + 1))
    positive = _by_power_of_two(wrap(ratio - (1 << 29)), 2)
    return positive if a > 0 else -positive
