"""Laws of golden comparison: what counts as the same model."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepack.gates.finding import Finding, Outcome
from edgepack.gates.sandbox import (
    EXACT,
    OPTIMISED,
    RELEASE,
    GoldenLimits,
    golden_difference,
    goldens,
    worse_of,
)

SCORES = np.array([[100, -128, -90], [-128, 20, 10], [-60, -60, 127]], np.int8)


def verdict(
    got: NDArray[np.generic], wanted: NDArray[np.generic], limits: GoldenLimits
) -> Outcome:
    return goldens("g", got, wanted, limits, "here")[0].verdict


def test_equal_outputs_pass_every_limit_and_say_so() -> None:
    finding, figures = goldens("g", SCORES, SCORES.copy(), EXACT, "here")
    assert finding.verdict is Outcome.PASS
    assert "bit for bit" in finding.says
    assert figures is not None
    assert figures.differing_values == 0


def test_one_step_fails_where_bits_are_asked_and_passes_elsewhere() -> None:
    near = SCORES.copy()
    near[0, 1] += 1
    assert verdict(near, SCORES, EXACT) is Outcome.FAIL
    assert verdict(near, SCORES, RELEASE) is Outcome.PASS


@pytest.mark.parametrize(("step", "wanted"), [(95, "pass"), (96, "pass"), (97, "fail")])
def test_the_worst_value_is_limited_inclusively(step: int, wanted: str) -> None:
    golden = np.zeros((64, 3), np.int8)
    got = golden.copy()
    got[0, 0] = step
    assert verdict(got, golden, OPTIMISED).value == wanted


@pytest.mark.parametrize(("step", "wanted"), [(7, "pass"), (8, "pass"), (9, "fail")])
def test_the_mean_is_limited_inclusively(step: int, wanted: str) -> None:
    golden = np.zeros((4, 3), np.int8)
    assert verdict(golden + np.int8(step), golden, OPTIMISED).value == wanted


def test_int8_differences_do_not_wrap_around() -> None:
    low, high = np.full((1, 2), -128, np.int8), np.full((1, 2), 127, np.int8)
    assert golden_difference(high, low, OPTIMISED).worst == 255


def test_a_swap_of_a_decided_answer_fails_although_each_value_is_near() -> None:
    limits = GoldenLimits(worst=96, mean=8, top1_share=0.9)
    golden = np.full((20, 50), -100, np.int8)
    golden[:, 0] = -60
    got = golden.copy()
    got[:3, 0], got[:3, 1] = -100, -60
    found = golden_difference(got, golden, limits)
    assert found.mean <= limits.mean
    assert found.worst <= limits.worst
    assert found.agreeing_share == pytest.approx(17 / 20)
    assert not found.within(limits)


def test_an_answer_that_was_in_doubt_may_swap() -> None:
    golden = np.array([[10, 9, -50]] * 4, np.int8)
    got = np.array([[9, 10, -50]] * 4, np.int8)
    found = golden_difference(got, golden, OPTIMISED)
    assert found.top1_share == 0.0
    assert found.agreeing_share == 1.0


def test_garbage_fails() -> None:
    rng = np.random.default_rng(0)
    got = rng.integers(-128, 128, (16, 10), dtype=np.int8)
    golden = rng.integers(-128, 128, (16, 10), dtype=np.int8)
    assert verdict(got, golden, OPTIMISED) is Outcome.FAIL


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_fails(bad: float) -> None:
    golden = np.ones((2, 2), np.float32)
    got = golden.copy()
    got[1, 1] = bad
    finding, _ = goldens("g", got, golden, OPTIMISED, "here")
    assert finding.verdict is Outcome.FAIL
    assert finding.value == "not a number"


def test_float_outputs_are_judged_in_256ths_of_the_largest() -> None:
    golden = np.array([[0.0, 2.56]], np.float32)
    got = np.array([[0.03, 2.56]], np.float32)
    assert golden_difference(got, golden, RELEASE).worst == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize(
    "got", [np.zeros((3, 2), np.int8), np.zeros((3, 3), np.uint8), np.zeros(9, np.int8)]
)
def test_another_shape_or_dtype_is_a_failure_naming_both(got: NDArray[np.generic]) -> None:
    finding, _ = goldens("g", got, SCORES, OPTIMISED, "here")
    assert finding.verdict is Outcome.FAIL
    assert "Received" in finding.says


def test_two_comparisons_under_one_gate_are_as_good_as_the_worse() -> None:
    found = {
        outcome: Finding(gate="g", verdict=outcome, says=outcome.value) for outcome in Outcome
    }
    good, bad, open_ = (
        found[Outcome.PASS],
        found[Outcome.FAIL],
        found[Outcome.INCONCLUSIVE],
    )
    assert worse_of(good, bad) == worse_of(bad, good) == bad
    assert worse_of(good, open_) == worse_of(open_, good) == open_
    assert worse_of(open_, bad) == bad
    assert worse_of(good, good).says == "pass; pass"
