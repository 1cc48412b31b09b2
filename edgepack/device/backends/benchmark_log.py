"""What TensorFlow's ``benchmark_model`` printed, as numbers; pure.

Source of the form: tensorflow/lite/tools/benchmark/benchmark_model.cc and
tensorflow/core/util/stats_calculator.h (the percentiles came later than 2.9).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgepack.errors import RuntimeFailure
from edgepack.measurements.report_model import Memory, Summary

_STATS = re.compile(r"^count=(\d+)((?: \w+=[0-9.e+-]+)+)\s*$", re.M)
_PAIR = re.compile(r"(\w+)=([0-9.e+-]+)")
_TIMINGS = re.compile(r"^(?:\S+ )*Inference timings in us: (.*)$", re.M)
_NAMED = re.compile(r"(Init|First inference|Warmup \(avg\)|Inference \(avg\)): ([0-9.e+-]+)")
_MEMORY = re.compile(
    r"^(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\):"
    r" init=([0-9.e+-]+) overall=([0-9.e+-]+)[ \t]*\n",  # a cut line has a cut number
    re.M,
)
_PREFIX = re.compile(
    r"^(?:INFO: |I/tflite\s*\(\s*\d+\): |\d\d-\d\d [0-9:.]+ .*? I tflite\s*: )", re.M
)
_FELL_BACK = re.compile(
    r"^.*(?:Failed to apply .* delegate|delegate .* fail|Though .* (?:delegate|NNAPI)"
    r".* the model graph will not be executed by the delegate).*$",
    re.M | re.I,
)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The log in numbers; ``delegate_failed`` is the line that says a delegate did not run."""

    queries: int
    summary: Summary
    init_ms: float
    first_ms: float
    seconds: float
    memory: Memory | None
    delegate_failed: str | None


def read(log: str) -> Benchmark:
    """Return the numbers of a finished benchmark.

    Raises:
        RuntimeFailure: the log has no final timings: the tool failed; quotes its last line.
    """
    text = _PREFIX.sub("", log.replace("\r", ""))
    timings = _TIMINGS.search(text)
    runs = _STATS.findall(text)
    named = dict(_NAMED.findall(timings[1])) if timings else {}
    if len(named) < 4 or not runs:
        last = next((one for one in reversed(text.splitlines()) if one.strip()), "no output")
        raise RuntimeFailure(
            f"benchmark_model gave no timings; its last words: {last.strip()[:200]}"
        )
    try:
        # the first block is the warm-up, the last one the inferences that count
        count, stats = int(runs[-1][0]), {k: float(v) for k, v in _PAIR.findall(runs[-1][1])}
        mean = stats["avg"] / 1e3
        summary = Summary(
            min_ms=stats["min"] / 1e3,
            max_ms=stats["max"] / 1e3,
            mean_ms=mean,
            p50_ms=stats["median"] / 1e3 if "median" in stats else None,
            p95_ms=stats["p95"] / 1e3 if "p95" in stats else None,
        )
        memory = _memory(text)
        init, first = (float(named[name]) / 1e3 for name in ("Init", "First inference"))
    except (ValueError, KeyError, OverflowError) as error:
        raise RuntimeFailure(f"benchmark_model's log cannot be read: {error}") from error
    failed = _FELL_BACK.search(text)
    return Benchmark(
        count, summary, init, first, count * mean / 1e3, memory, failed[0] if failed else None
    )


def _memory(text: str) -> Memory | None:
    found = _MEMORY.search(text)
    if found is None:
        return None
    overall = float(found[2])
    # the tool divides by 1024 twice; -1 is its word for "unsupported here"
    return (
        Memory(kind="delta", baseline_bytes=0, peak_bytes=int(overall * 2**20))
        if overall >= 0
        else None
    )
