"""A bench in a few readable lines and one object, whatever part of it could not run."""

from __future__ import annotations

from typing import Any

import pytest

from edgepack.cli.bundles import bench_summary
from edgepack.measurements.bench_figures import BenchFigures

WHOLE: dict[str, Any] = {
    "image": "edgepack/litert:1",
    "image_id": "sha256:1",
    "native_image": "edgepack/litert:1",
    "engine": "20, cgroup v2",
    "kernels": "default",
    "remark": "",
    "instructions": {
        "by_class": {"int": 25, "simd": 75, "other": 0, "total": 100},
        "each": (100, 100),
    },
    "memory": {
        "budget_bytes": 4 << 20,
        "canary": "oom",
        "free": "ok",
        "limited": "ok",
        "need_bytes": 1 << 20,
    },
    "latency": {
        "low_ms": 0.5, "high_ms": 2.0, "how": "estimated", "level": "core", "grounds": "a test",
    },
    "sandbox_times": {
        "how": "emulated",
        "what": "container of this machine, not the device's latency",
        "cpu_share": None,
        "inferences": 1000,
        "wall_ms": {"p50": 0.1, "p90": 0.2, "p99": 0.3},
        "thread_cpu_ms": {"p50": 0.1, "p90": 0.2, "p99": 0.3},
    },
    "seconds": 5.11,
}  # fmt: skip
PARTS = ("instructions", "memory", "latency", "sandbox_times")


def figures(**changed: object) -> BenchFigures:
    return BenchFigures.model_validate(WHOLE | changed)


def test_a_whole_bench_is_six_lines() -> None:
    lines = bench_summary(figures())
    assert len(lines) == 6
    told = "\n".join(lines)
    assert "100 an inference, counted: simd 75.0%, int 25.0%" in told
    assert "1.0 MiB needed of 4.0 MiB (25.0%)" in told
    assert "0.5 to 2 ms, estimated" in told
    assert "p50 0.1 ms, p90 0.2 ms, p99 0.3 ms of 1,000 inferences" in told
    assert told.count("no latency of the device") == 1


@pytest.mark.parametrize("absent", PARTS)
def test_what_did_not_run_is_left_out(absent: str) -> None:
    assert len(bench_summary(figures(**{absent: None}))) == 5


def test_a_bench_that_did_not_run_has_no_lines() -> None:
    assert bench_summary(None) == []
    assert len(bench_summary(figures(**dict.fromkeys(PARTS)))) == 2


def test_the_object_keeps_its_keys_and_an_absent_part_is_empty() -> None:
    keys = {*WHOLE, "goldens_device", "goldens_kernels"}
    assert figures().as_json().keys() == keys
    plain = figures(memory=None).as_json()
    assert plain["memory"] == {}
    assert plain["instructions"]["each"] == [100, 100]
    soaked = figures(soak={"settled_bytes": 1, "final_bytes": 2})
    assert soaked.as_json().keys() == {*keys, "soak"}
