"""A measured number counts only where nothing refuses its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgepack.gates import device
from edgepack.gates.expected import REPORT, expected_gates
from edgepack.gates.finding import Outcome, Verdict
from edgepack.measurements.latency_samples import drift, percentile

MEASURED = {"latency", "peak_ram"}


def judged(agreed: Any, **changes: Any) -> Verdict:
    """Judge the report of an honest harness, so one that answers what it was ordered."""
    report, expected = agreed.report(**changes), agreed.expected
    if "identity" not in changes:
        expected = replace(expected, identity=report.identity)
    return device.judge(report, agreed.profile, expected)


def merge(agreed: Any, found: Verdict) -> Verdict:
    asked = expected_gates(agreed.profile)
    return device.merge_findings(agreed.bundle.manifest.findings, found, asked)


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {each.gate: each.verdict.value for each in verdict.findings}


def limited(agreed: Any, p90_ms: float) -> Any:
    """Return the profile with that latency limit."""
    latency = {"p90_ms": {"value": p90_ms, "source": "test"}}
    return agreed.profile.model_copy(
        update={"latency": type(agreed.profile.latency).model_validate(latency)}
    )


def test_a_true_report_is_taken_whole_and_replaces_the_estimate(agreed: Any) -> None:
    profile = limited(agreed, 59.6)
    found = device.judge(agreed.report(), profile, agreed.expected)
    assert set(outcomes(found).values()) == {"pass"}
    assert set(outcomes(found)) >= MEASURED
    merged = merge(agreed, found)
    (latency,) = [each for each in merged.findings if each.gate == "latency"]
    assert (latency.how, latency.value) == ("measured", pytest.approx(59.6))
    assert merged.outcome is Outcome.PASS


def test_what_a_bundle_left_out_is_inconclusive_beside_any_report(agreed: Any) -> None:
    own = device.judge(agreed.report(), limited(agreed, 59.6), agreed.expected)
    asked = expected_gates(agreed.profile)
    kept = [f for f in agreed.bundle.manifest.findings if f.gate != "calibration"]
    merged = device.merge_findings(kept, own, asked)
    assert set(outcomes(merged)) == {*asked, *REPORT}
    assert outcomes(merged)["calibration"] == "inconclusive"
    assert outcomes(merged)["latency"] == "pass"
    assert merged.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("device_hashes", {"bundle__sha256": "0" * 64}),
        ("device_hashes", {"bundle__model_sha256": "0" * 64}),
        ("device_hashes", {"identity": "0" * 64}),
        ("device_hashes", {"backend__sha256": "0" * 64}),
        ("device_hashes", {"backend__sha256": None}),
        ("device_run", {"ending": "crash", "run": None}),
        ("device_run", {"ending": "unavailable", "run": None}),
        ("device_profile", {"device__abi": "arm64-v8a"}),
        ("device_profile", {"device__abi": "mystery"}),
        ("device_profile", {"bundle__profile": "pixel-3"}),
        ("device_profile", {"device__sdk": 34}),
        ("device_profile", {"device__ram_bytes": 4 * 2**30}),
        ("device_profile", {"device__ram_bytes": 2**28}),
        ("device_profile", {"device__cpus": 8}),
        ("device_thermal", {"after__thermal_status": 2}),
        ("device_thermal", {"before__thermal_status": 3}),
        ("device_thermal", {"after__power_save": True}),
        ("device_queries", {"run__queries": 1023}),
        ("device_queries", {"run__seconds": 59.9}),
        ("device_queries", {"run__summary__p90_ms": 58.0}),
        ("device_queries", {"run__stride": 2}),
        ("device_queries", {"run__stride": 1024, "run__samples_ms": [58.0]}),
        ("device_queries", {"run__samples_ms": []}),
        ("device_queries", {"run__summary__min_ms": 58.5}),
        ("device_queries", {"run__summary__max_ms": 59.0}),
        ("device_queries", {"run__summary__mean_ms": 60.0}),
        ("device_queries", {"run__summary__p95_ms": 58.0}),
        ("device_queries", {"memory__peak_bytes": 1}),
        ("device_hashes", {"identity": "1" * 64}),
        ("device_profile", {"device__sdk": None}),
        ("device_profile", {"device__ram_bytes": None}),
    ],
)
def test_each_refusal_keeps_the_measured_numbers_out(
    agreed: Any, gate: str, changes: dict[str, Any]
) -> None:
    found = judged(agreed, **changes)
    assert outcomes(found)[gate] == "fail"
    assert not MEASURED & set(outcomes(found))
    merged = merge(agreed, found)
    assert [each.how for each in merged.findings if each.gate == "latency"] == ["estimated"]


@pytest.mark.parametrize(("off", "verdict"), [(3, "pass"), (4, "pass"), (5, "fail")])
def test_the_golden_tolerance_is_inclusive(
    agreed: Any, hexed_goldens: Callable[[Any], dict[str, Any]], off: int, verdict: str
) -> None:
    answers = np.arange(-8, 8, dtype=np.int8).reshape(4, 4)
    answers[2, 1] += off
    found = judged(agreed, goldens=hexed_goldens(answers))
    assert outcomes(found)["device_goldens"] == verdict


@pytest.mark.parametrize(
    "answers",
    [
        np.zeros((4, 5), np.int8),
        np.zeros((5, 4), np.int8),
        np.zeros((4, 4), np.uint8),
        np.arange(-8, -4, dtype=np.int8).reshape(1, 4),  # true, of one row of four
    ],
)
def test_golden_answers_of_another_form_fail(
    agreed: Any, hexed_goldens: Callable[[Any], dict[str, Any]], answers: Any
) -> None:
    assert outcomes(judged(agreed, goldens=hexed_goldens(answers)))["device_goldens"] == "fail"


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("device_goldens", {"goldens": None}),
        ("device_runtime", {"runtime__version": "2.0.0"}),
        ("device_runtime", {"run__delegate": "nnapi"}),
        ("device_runtime", {"run__kernels": "reference"}),
        ("device_queries", {"run__mode": "quick"}),
    ],
)
def test_what_proves_less_leaves_the_verdict_open(
    agreed: Any, gate: str, changes: dict[str, Any]
) -> None:
    found = judged(agreed, **changes)
    assert outcomes(found)[gate] == "inconclusive"
    assert found.outcome is not Outcome.PASS
    assert set(outcomes(found)) >= MEASURED


@pytest.mark.parametrize(
    "other",
    [
        {"run__threads": 4},
        {"run__delegate": "gpu"},
        {"run__mode": "quick"},
        {"run__warmup": 0},
        {"run__affinity": "f0"},
        {"backend__name": "portable"},
    ],
)
def test_a_report_filed_under_another_run_is_refused(
    agreed: Any, other: dict[str, Any]
) -> None:
    """A delegate that was ordered and quietly was not the one that ran, or a file renamed."""
    found = judged(agreed, identity=agreed.expected.identity, **other)
    assert outcomes(found)["device_hashes"] == "fail"
    assert not MEASURED & set(outcomes(found))


def test_a_board_is_judged_without_android_and_no_phone_is_a_board(agreed: Any) -> None:
    board = agreed.profile.model_copy(update={"kind": "sbc", "system": None})
    for sdk, verdict in ((None, "pass"), (30, "fail")):
        report = agreed.report(device__sdk=sdk)
        found = device.judge(report, board, agreed.expected)
        assert outcomes(found)["device_profile"] == verdict


def test_an_emulator_gives_no_device_latency_and_no_memory(agreed: Any) -> None:
    found = outcomes(judged(agreed, device__emulated=True))
    assert found["latency"] == "inconclusive"
    assert "peak_ram" not in found


@pytest.mark.parametrize(("limit", "verdict"), [(59.5, "fail"), (59.6, "pass"), (59.7, "pass")])
def test_the_latency_limit_is_inclusive(agreed: Any, limit: float, verdict: str) -> None:
    found = device.judge(agreed.report(), limited(agreed, limit), agreed.expected)
    assert outcomes(found)["latency"] == verdict


@pytest.mark.parametrize(
    ("limit", "verdict"), [(49.0, "fail"), (50.0, "inconclusive"), (70.0, "pass")]
)
def test_bounds_of_a_percentile_decide_only_outside_of_them(
    agreed: Any, limit: float, verdict: str
) -> None:
    summary = {"min_ms": 40.0, "max_ms": 90.0, "mean_ms": 55.0, "p50_ms": 50.0, "p95_ms": 70.0}
    report = agreed.report(
        backend__name="benchmark_model", run__samples_ms=[], run__summary=summary
    )
    expected = replace(agreed.expected, identity=report.identity)
    found = device.judge(report, limited(agreed, limit), expected)
    assert outcomes(found)["latency"] == verdict


def test_a_run_that_slows_down_was_throttled(agreed: Any) -> None:
    times = [50.0] * 512 + [56.0] * 512
    changes: dict[str, Any] = {
        "run__samples_ms": times,
        "run__summary__p50_ms": 50.0,
        "run__summary__p90_ms": 56.0,
    }
    assert drift(times) == pytest.approx(0.12)
    assert outcomes(judged(agreed, **changes))["device_thermal"] == "fail"


def test_a_device_that_tells_nothing_leaves_heat_open(agreed: Any) -> None:
    changes: dict[str, Any] = {"before": {}, "after": {}, "run__samples_ms": []}
    assert outcomes(judged(agreed, **changes))["device_thermal"] == "inconclusive"


@pytest.mark.parametrize(("after", "verdict"), [(38.0, "pass"), (38.1, "fail")])
def test_old_devices_are_judged_by_their_battery_warmth(
    agreed: Any, after: float, verdict: str
) -> None:
    found = judged(agreed, before={"battery_c": 30.0}, after={"battery_c": after})
    assert outcomes(found)["device_thermal"] == verdict


@pytest.mark.parametrize("count", [1, 2, 3, 9, 10, 11, 1023, 1024])
def test_a_percentile_is_numpys_inverted_cdf(count: int) -> None:
    times = np.random.default_rng(count).uniform(1, 9, count)
    for share in (0.5, 0.7, 0.9, 0.95, 1.0):
        wanted = np.quantile(times, share, method="inverted_cdf")
        assert percentile(times.tolist(), share) == wanted
