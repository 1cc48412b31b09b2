"""An estimate is an interval with grounds; points are of exactly the code that ran."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from edgepack.cost import conformal, points
from edgepack.cost.latency import OWN_FIGURES, Estimate, digest, estimate, fitted
from edgepack.cost.rate_model import OWN
from edgepack.cost.work import INSTRUCTION_SETS, Work, counted, instruction_set, typical
from edgepack.profiles import catalogue
from edgepack.profiles.profile import CalibrationPoint, Profile

TABLET = catalogue.load("clinic-tablet-1gb-armv7")
PIXEL_4, PI_4 = catalogue.load("pixel-4"), catalogue.load("raspberry-pi-4")
MODEL = "mobilenet_v1_1.0_224"


def work(model: str, precision: str, isa: str, kernels: str) -> Work:
    found = counted(model, precision, isa, kernels)
    assert found is not None
    return found


def measured(model: str, ms: float, **changes: object) -> CalibrationPoint:
    values = {
        "model": model, "runtime": "LiteRT 1.4.0", "kernels": "builtin", "precision": "int8",
        "threads": 1, "ms": ms, "source": "measured: a test",
    }  # fmt: skip
    return CalibrationPoint.model_validate(values | changes)


def with_points(profile: Profile, *more: CalibrationPoint) -> Profile:
    return profile.model_copy(update={"calibration": (*profile.calibration, *more)})


def test_a_count_is_handed_out_for_exactly_its_code() -> None:
    plain = work(MODEL, "int8", "armv8.0-a", "builtin")
    products = work(MODEL, "int8", "armv8.2-a+dotprod", "builtin")
    assert products.instructions < 0.7 * plain.instructions
    assert counted(MODEL, "int8", "armv8.9-a", "builtin") is None
    assert counted(MODEL, "float16", "armv8.0-a", "builtin") is None
    assert counted("no_such_net", "int8", "armv8.0-a", "builtin") is None
    assert counted(f"{MODEL}_quant", "uint8", "armv8.0-a", "builtin") == plain


def test_every_emulated_core_of_a_profile_has_an_instruction_set() -> None:
    for profile in catalogue.load_usable()[0]:
        if profile.kind not in ("mcu", "npu") and profile.cpu.isa != "amd64":
            assert instruction_set(profile.cpu), profile.name
            assert INSTRUCTION_SETS.get(profile.cpu.qemu_cpu or "", "armv") != ""


def test_a_point_keeps_its_kernels_precision_threads_and_runtime() -> None:
    for each in points.published():
        assert each.kernels in ("builtin", "xnnpack")
        assert each.precision in ("int8", "float32")
        assert each.threads >= 1
        assert each.runtime != OWN
        assert math.isfinite(each.ms)


def test_float16_and_uncounted_kernels_are_refused_with_the_reason() -> None:
    half = measured(MODEL, 5.0, precision="float16")
    assert "float16" in points.refused(half, PI_4.cpu)
    assert points.observation(half, PI_4.cpu, "d", 1500.0) is None
    # the 32-bit wheel applies no delegate: XNNPACK's code was never counted there
    armv7 = measured(MODEL, 5.0, kernels="xnnpack", precision="float32")
    assert "xnnpack kernels on armv7-a" in points.refused(armv7, TABLET.cpu)
    assert points.refused(measured(MODEL, 5.0), PI_4.cpu) == ""


def test_points_of_a_profile_are_its_own_and_nobody_elses() -> None:
    others = {each.device for each in points.published(PIXEL_4)}
    assert "pixel-4" not in others
    copy = PIXEL_4.model_copy(update={"name": "my-pixel"})
    assert "pixel-4" not in {each.device for each in points.published(copy)}
    assert {each.device for each in points.of_profile(copy)} == {"my-pixel"}


@pytest.mark.parametrize(
    ("ms", "share"), [(77.0, 0.5 / 77), (14.5, 0.05 / 14.5), (0.97, 0.005 / 0.97)]
)
def test_half_a_last_digit_is_what_a_figure_was_rounded_by(ms: float, share: float) -> None:
    assert points.rounding(ms) == pytest.approx(share)


V1 = (MODEL, "float32", "armv8.0-a", "builtin")
SMALL = ("mobilenet_v1_0.25_96", "int8", "armv7-a", "builtin")
PRODUCTS = (MODEL, "int8", "armv8.2-a+dotprod", "builtin")


@pytest.mark.parametrize(
    ("name", "code", "level"),
    [
        ("pixel-4", PRODUCTS, "device"),
        ("pixel-4a", PRODUCTS, "core"),
        ("galaxy-s7", V1, "family"),
        ("clinic-tablet-1gb-armv7", SMALL, "core"),
    ],
)
def test_the_level_says_whose_figures_an_estimate_rests_on(
    name: str, code: tuple[str, str, str, str], level: str
) -> None:
    found = estimate(catalogue.load(name), work(*code), code[1], kernels=code[3])
    assert found is not None
    assert found.level == level
    assert 0 < found.low_ms < found.middle_ms < found.high_ms
    assert "90% interval" in found.grounds
    assert "noise" in found.grounds


def test_pixel_4_int8_is_estimated_about_what_is_published() -> None:
    """12.9 ms (Halide's table): it was estimated at 2 to 3 times that from counts of an A53."""
    found = estimate(
        PIXEL_4, work(MODEL, "int8", "armv8.2-a+dotprod", "builtin"), "int8", kernels="builtin"
    )
    assert found is not None
    assert found.low_ms < 12.9 < found.high_ms


def test_one_measured_figure_shrinks_the_range() -> None:
    asked = work(MODEL, "int8", "armv8.2-a+dotprod", "builtin")
    phone = catalogue.load("pixel-4a")
    before = estimate(phone, asked, "int8", kernels="builtin")
    assert before is not None
    known = measured("mobilenet_v1_0.5_160", 2.6)
    after = estimate(with_points(phone, known), asked, "int8", kernels="builtin")
    assert after is not None
    assert (before.level, after.level) == ("core", "runtime")
    assert after.high_ms / after.low_ms < 0.8 * before.high_ms / before.low_ms


def test_enough_measured_figures_make_their_own_interval() -> None:
    names = [f"mobilenet_v2_{n}" for n in (
        "1.3_224", "1.0_192", "0.75_192", "0.75_128", "0.75_96", "0.5_128", "0.5_96",
        "0.35_224", "0.35_192", "0.35_128",
    )]  # fmt: skip
    assert len(names) == OWN_FIGURES
    each = [
        measured(
            name,
            work(name, "float32", "armv8.0-a", "builtin").instructions / 1.5e6,
            precision="float32",
            source=f"measured: {name}",
        )
        for name in names
    ]
    asked = work("mobilenet_v2_1.0_224", "float32", "armv8.0-a", "builtin")
    found = estimate(with_points(PI_4, *each), asked, "float32", kernels="builtin")
    assert found is not None
    assert f"{OWN_FIGURES} measured figures" in found.grounds
    assert found.low_ms < asked.instructions / 1.5e6 < found.high_ms


def of(profile: Profile, asked: Work, **more: int) -> Estimate:
    found = estimate(profile, asked, "int8", kernels="builtin", **more)
    assert found is not None
    return found


def test_a_model_unlike_all_points_says_so_and_widens() -> None:
    asked = work(MODEL, "int8", "armv8.2-a+dotprod", "builtin")
    usual = of(PIXEL_4, asked)
    strange = of(PIXEL_4, replace(asked, kinds=asked.kinds | {"UNIDIRECTIONAL_SEQUENCE_LSTM"}))
    assert "no calibration point has UNIDIRECTIONAL_SEQUENCE_LSTM" in strange.grounds
    huge = replace(asked, by_class={k: 100 * v for k, v in asked.by_class.items()})
    large = of(PIXEL_4, huge)
    assert "10 times as large" in large.grounds
    for each in (strange, large):
        assert each.high_ms / each.low_ms > usual.high_ms / usual.low_ms


def test_threads_divide_by_less_than_their_number() -> None:
    asked = work(MODEL, "int8", "armv8.2-a+dotprod", "builtin")
    one, four = of(PIXEL_4, asked), of(PIXEL_4, asked, threads=4)
    assert 1.5 < one.middle_ms / four.middle_ms < 4
    assert "4 threads" in four.grounds


def test_an_unknown_core_gets_the_widest_range_and_no_clock_gets_none() -> None:
    strange = PI_4.cpu.cores[0].model_copy(update={"name": "Cortex-Z9", "clock_mhz": 1000.0})
    silent = strange.model_copy(update={"clock_mhz": None})
    asked = work(MODEL, "int8", "armv8.0-a", "builtin")

    def having(core: object) -> Profile:
        cpu = PI_4.cpu.model_copy(update={"cores": (core,)})
        return PI_4.model_copy(update={"name": "z", "cpu": cpu, "calibration": ()})

    known, wide = of(PI_4, asked), of(having(strange), asked)
    assert wide.level == "none"
    assert wide.high_ms / wide.low_ms > known.high_ms / known.low_ms
    assert estimate(having(silent), asked, "int8", kernels="builtin") is None


def test_only_a_total_is_split_as_counted_models_are_and_says_so() -> None:
    found = typical(10**7, "int8", "armv8.0-a", "builtin")
    assert found is not None
    assert found.instructions == pytest.approx(10**7, rel=1e-5)
    assert found.assumed in of(PI_4, found).grounds
    assert typical(10**7, "int8", "armv7-a", "xnnpack") is None


def test_a_quantile_is_the_one_that_covers_an_unseen_figure() -> None:
    assert conformal.quantile([float(n) for n in range(1, 20)]) == 18.0
    assert conformal.quantile([1.0, 2.0]) == 2.0


def test_the_fit_is_of_the_points_in_the_profiles() -> None:
    """Where this fails after a point was added: python benchmarks/latency.py fit."""
    fit = fitted()
    assert fit.digest == digest(points.published())
    for level in conformal.LEVELS:
        assert 0.8 <= fit.intervals[level].coverage <= 1.0, level


def test_a_left_out_figure_is_predicted_without_its_model() -> None:
    known = [each for each in points.published() if each.device in ("pixel-3", "pixel-3a")]
    left = conformal.left_out(known, fitted().spread)
    assert {each.level for each in left} >= {"runtime", "core"}
    moved = [replace(each, ms=each.ms * (9 if each.model == MODEL else 1)) for each in known]
    shifted = conformal.left_out(moved, fitted().spread)
    for before, after in zip(left, shifted, strict=True):
        if before.observation.model == MODEL:
            # the figure itself moved, what was predicted for it did not
            assert after.error - before.error == pytest.approx(math.log(9), abs=1e-6)
