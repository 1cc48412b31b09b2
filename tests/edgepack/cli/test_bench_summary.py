"""A bench in a few readable lines, whatever part of it could not run."""

from __future__ import annotations

from edgepack.cli.bench_summary import summary

WHOLE = {
    "image": "edgepack/litert:1",
    "engine": "20, cgroup v2",
    "kernels": "default",
    "instructions": {"by_class": {"int": 25, "simd": 75, "other": 0, "total": 100}},
    "memory": {"need_bytes": 1 << 20, "budget_bytes": 4 << 20},
    "latency": {"low_ms": 0.5, "high_ms": 2.0, "how": "estimated"},
    "sandbox_times": {"wall_ms": {"p50": 0.1, "p90": 0.2}, "inferences": 1000},
    "seconds": 5.11,
}


def test_a_whole_bench_is_six_lines() -> None:
    lines = summary(WHOLE)
    assert len(lines) == 6
    told = "\n".join(lines)
    assert "100 an inference, counted: simd 75.0%, int 25.0%" in told
    assert "1.0 MiB needed of 4.0 MiB (25.0%)" in told
    assert "0.5 to 2 ms, estimated" in told
    assert "p50 0.1 ms, p90 0.2 ms of 1,000 inferences; no latency of the device" in told


def test_what_did_not_run_is_left_out() -> None:
    assert summary({}) == []
    for absent in WHOLE:
        figures = {key: value for key, value in WHOLE.items() if key != absent}
        assert len(summary(figures)) >= 5
    empty = {"instructions": {}, "memory": {}, "latency": {}, "sandbox_times": {"wall_ms": {}}}
    assert summary(empty) == []
