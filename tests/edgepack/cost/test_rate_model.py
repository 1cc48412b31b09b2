"""Rates are positive, shared from device to family, and certain where there are figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgepack.cost.rate_model import FEATURES, OWN, Observation, RateModel, Spread

RATES = {
    "simd": 0.8,
    "memory": 1.2,
    "scalar": 0.4,
    "operator": 20_000.0,
    "weight_byte": 0.3,
}


def question(scale: float = 1.0, **changes: object) -> Observation:
    work = {
        "simd": 6e6 * scale,
        "memory": 2e6 * scale,
        "scalar": 2e6 * scale,
        "operator": 30.0,
        "weight_byte": 1e6 * scale,
    }
    plain = Observation(
        work=work, clock_mhz=1000.0, device="d", core="c", family="f", runtime=OWN,
        kernels="builtin", precision="int8", model=f"m{scale}",
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def true_ms(each: Observation, factor: float = 1.0) -> float:
    assert each.work is not None
    cycles = sum(RATES[name] * each.work[name] for name in FEATURES)
    return factor * cycles / (each.clock_mhz * 1e3)


def figures(scales: tuple[float, ...], factor: float = 1.0, **changes: object):  # type: ignore[no-untyped-def]
    each = [question(scale, **changes) for scale in scales]
    return [replace(one, ms=true_ms(one, factor)) for one in each]


SPREAD = Spread(noise=0.02)


def test_without_figures_the_prior_answers_with_doubt() -> None:
    found = RateModel([], SPREAD).predict(question())
    assert found.ms > 0
    assert found.deviation > 0.5


def test_figures_of_the_device_bring_its_time_and_take_the_doubt() -> None:
    model = RateModel(figures((0.1, 0.3, 1.0, 3.0)), SPREAD)
    found = model.predict(question(0.6))
    assert found.ms == pytest.approx(true_ms(question(0.6)), rel=0.03)
    assert found.deviation < 0.06


def test_doubt_grows_from_the_device_to_its_core_its_family_and_beyond() -> None:
    model = RateModel(figures((0.1, 0.3, 1.0, 3.0)), SPREAD)
    asked = [
        question(0.6),
        question(0.6, device="e"),
        question(0.6, device="e", core="k"),
        question(0.6, device="e", core="k", family="g"),
    ]
    doubts = [model.predict(each).deviation for each in asked]
    assert doubts == sorted(doubts)
    assert len(set(doubts)) == 4


def test_a_model_of_other_instructions_is_doubted_more() -> None:
    model = RateModel(figures((0.1, 0.3, 1.0, 3.0)), SPREAD)
    work = dict(question().work or {}, simd=1e4, scalar=20e6)
    assert model.predict(question(work=work)).deviation > model.predict(question()).deviation


def test_a_faster_device_is_learnt_from_one_figure() -> None:
    known = figures((0.1, 0.3, 1.0, 3.0))
    others = figures((1.0,), factor=0.6, device="e")
    before = RateModel(known, SPREAD).predict(question(0.6, device="e"))
    after = RateModel(known + others, SPREAD).predict(question(0.6, device="e"))
    wanted = 0.6 * true_ms(question(0.6))
    assert abs(np.log(after.ms / wanted)) < 0.5 * abs(np.log(before.ms / wanted))
    assert after.deviation < before.deviation


def test_one_figure_that_misses_wildly_does_not_move_the_rest() -> None:
    known = figures((0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0))
    wild = replace(known[3], ms=known[3].ms * 3)
    model = RateModel([*known, wild], SPREAD)
    assert model.predict(question(0.6)).ms == pytest.approx(true_ms(question(0.6)), rel=0.05)
    assert int(np.argmax(model.scores())) == len(known)


def test_one_model_on_several_threads_teaches_threads_alone() -> None:
    known = figures((0.1, 0.3, 1.0, 3.0))
    speeds = {1: 1.0, 2: 1.7, 4: 2.6}
    several = [
        question(work=None, model="unknown", threads=n, ms=100.0 / s) for n, s in speeds.items()
    ]
    without, model = RateModel(known, SPREAD), RateModel(known + several, SPREAD)
    assert model.predict(question()).ms == pytest.approx(
        without.predict(question()).ms, rel=1e-3
    )
    four = question(30.0, threads=4)
    speedup = model.predict(replace(four, threads=1)).ms / model.predict(four).ms
    assert speedup == pytest.approx(2.6, rel=0.1)
    assert model.predict(four).deviation < without.predict(four).deviation


def test_a_closed_form_score_is_what_leaving_out_finds() -> None:
    rng = np.random.default_rng(0)
    known = [
        replace(each, ms=each.ms * float(np.exp(rng.normal(0, 0.02))))
        for each in figures((0.1, 0.3, 0.5, 1.0, 2.0, 3.0))
    ]
    scores = RateModel(known, SPREAD).scores()
    for index, each in enumerate(known):
        rest = RateModel([*known[:index], *known[index + 1 :]], SPREAD).predict(each)
        left_out = abs(np.log(each.ms) - rest.log_ms) / rest.deviation
        assert scores[index] == pytest.approx(left_out, abs=0.1)
