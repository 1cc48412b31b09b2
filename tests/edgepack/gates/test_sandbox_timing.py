"""Laws of counts, budgets and soaks."""

import numpy as np
import pytest

from edgepack.cost.latency import Estimate
from edgepack.gates.finding import How, Outcome
from edgepack.gates.sandbox import instructions, latency, percentiles, soak
from edgepack.inference.protocol import ExitStatus, InstructionCounts, Trace
from edgepack.measurements.bench_figures import Percentiles
from edgepack.profiles import catalogue
from edgepack.profiles.hardware import SourcedFloat
from edgepack.profiles.profile import Profile
from edgepack.sandbox.container import CLASSES, read_counts

TABLET = catalogue.load("clinic-tablet-1gb-armv7")


def range_of(low: float, high: float) -> Estimate:
    return Estimate(
        low_ms=low,
        high_ms=high,
        middle_ms=(low + high) / 2,
        level="core",
        figures=1,
        grounds="a test",
    )


def with_budget(ms: float | None) -> Profile:
    budget = None if ms is None else SourcedFloat(value=ms, source="policy: test")
    late = TABLET.latency.model_copy(update={"p90_ms": budget})
    return TABLET.model_copy(update={"latency": late})


def lines(*totals: tuple[int, ...]) -> bytes:
    return b"".join(
        b"edgepack-count %d %s\n" % (index, b" ".join(b"%d" % n for n in row))
        for index, row in enumerate(totals)
    )


def test_percentiles_are_values_that_were_seen() -> None:
    times = [float(n) for n in range(1, 101)]
    assert percentiles(times) == Percentiles(p50=51.0, p90=91.0, p99=100.0)
    assert percentiles([]) is None


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(1, 9.99, "pass"), (1, 10, "pass"), (1, 10.01, "inconclusive"), (10.01, 20, "fail")],
)
def test_the_whole_range_decides_about_the_budget(low: float, high: float, wanted: str) -> None:
    finding, figures = latency(with_budget(10.0), range_of(low, high))
    assert finding.verdict.value == wanted
    assert finding.how is How.ESTIMATED
    assert figures is not None
    assert figures.how == "estimated"


def test_without_an_estimate_or_a_budget_latency_is_open() -> None:
    assert latency(with_budget(10.0), None)[0].verdict is Outcome.INCONCLUSIVE
    assert latency(with_budget(None), range_of(1, 2))[0].verdict is Outcome.INCONCLUSIVE


def test_an_inference_is_what_ran_between_its_marks_less_the_marks_own_cost() -> None:
    idle, work = (5, 0, 1, 1, 0, 2, 0), (105, 10, 51, 21, 7, 12, 0)
    rows = [(0,) * 7]
    for spent in (idle, idle, work, work):
        start = rows[-1]
        rows += [tuple(a + b for a, b in zip(start, spent, strict=True))] * 2
    rows.pop()
    trace = Trace(status=ExitStatus.OK, says="", blank_pairs=2)
    found = read_counts(trace, b"noise\n" + lines(*rows) + b"more noise")
    wanted = [a - b for a, b in zip(work, idle, strict=True)]
    assert found.instructions is not None
    assert [found.instructions.by_class[name] for name in CLASSES] == wanted
    assert found.instructions.each == (sum(wanted),) * 2
    assert found.instructions.overhead == sum(idle)


@pytest.mark.parametrize("told", [b"", lines((0,) * 7), lines(*[(0,) * 7] * 4), b"x" * 99])
def test_marks_that_are_missing_are_an_error_and_no_count(told: bytes) -> None:
    found = read_counts(Trace(status=ExitStatus.OK, says="", blank_pairs=2), told)
    assert found.status is ExitStatus.ERROR
    assert "marks" in found.says


def counts(total: int, each: list[int]) -> InstructionCounts:
    return InstructionCounts(by_class={"int": total}, each=tuple(each))


@pytest.mark.parametrize(
    ("total", "wanted"),
    [(1_001_000, "pass"), (1_001_001, "fail"), (999_000, "pass"), (998_999, "fail")],
)
def test_an_expected_count_holds_to_a_tenth_of_a_percent(total: int, wanted: str) -> None:
    finding, _ = instructions(counts(total, [total]), 1_000_000, "here")
    assert finding.verdict.value == wanted


@pytest.mark.parametrize(
    ("before", "wanted"),
    [(10_010_000, "pass"), (10_010_001, "inconclusive"), (9_990_000, "pass")],
)
def test_a_count_that_wavers_is_no_count(before: int, wanted: str) -> None:
    finding, _ = instructions(counts(10_000_000, [before, 10_000_000]), None, "here")
    assert finding.verdict.value == wanted


def test_a_soak_fails_on_growth_and_passes_settling() -> None:
    seconds = np.linspace(0, 60, 64)
    flat = np.full(64, 20e6)
    settling = flat - 5e6 * np.exp(-seconds / 3)
    leaking = flat + 40e3 * seconds
    for rss, wanted in ((flat, "pass"), (settling, "pass"), (leaking, "fail")):
        finding, _ = soak(list(zip(seconds.tolist(), rss.tolist(), strict=True)), 1.0)
        assert finding.verdict.value == wanted
    assert soak([(0.0, 1.0)] * 15, 1.0)[0].verdict is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(("grown", "wanted"), [(400_000, "pass"), (400_001, "fail")])
def test_growth_is_limited_to_two_percent_inclusively(grown: int, wanted: str) -> None:
    samples = [(float(n), 20e6 + (grown if n >= 48 else 0)) for n in range(64)]
    assert soak(samples, 1.0)[0].verdict.value == wanted
