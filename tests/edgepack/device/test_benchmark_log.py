# ruff: noqa: E501 - quotes what tools print
"""The text of ``benchmark_model``, old and new, becomes numbers or one clear error."""

from __future__ import annotations

import pytest

from edgepack.device.backends.benchmark_model import parse_log
from edgepack.errors import RuntimeFailure

# the lines of a run on a phone, as the tool of TensorFlow 2.4 wrote them
OLD = """STARTING!
Log parameter values verbosely: [0]
Num threads: [4]
Graph: [/data/local/tmp/model.tflite]
#threads used for CPU inference: [4]
Loaded model /data/local/tmp/model.tflite
The input model file size (MB): 0.004448
Initialized session in 0.855ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450

Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference (avg): 33209.4
Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual memory footprint of the model at runtime. Take the information at your discretion.
Peak memory footprint (MB): init=0 overall=12.8672
"""
NEW = """INFO: STARTING!
INFO: Loaded model /data/local/tmp/edgepack/m.tflite
INFO: Initialized TensorFlow Lite runtime.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: count=16 first=7000 curr=5000 min=4900 max=7000 avg=5200 std=410 p5=4900 median=5000 p95=7000
INFO: count=1024 first=5004 curr=5210 min=4870 max=1.0301e+04 avg=5061.44 std=210 p5=4901 median=5001 p95=5402
INFO: Inference timings in us: Init: 12034, First inference: 7000, Warmup (avg): 5200, Inference (avg): 5061.44
INFO: Memory footprint delta from the start of the tool (MB): init=1.5 overall=3.25
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_old_form(newline: str) -> None:
    found = parse_log(OLD.replace("\n", newline))
    assert found.queries == 50
    assert found.summary.min_ms == pytest.approx(32.641)
    assert found.summary.max_ms == pytest.approx(34.005)
    assert found.summary.p50_ms is None
    assert (found.init_ms, found.first_ms) == (pytest.approx(0.855), pytest.approx(49.060))
    assert found.seconds == pytest.approx(50 * 33.2094e-3)
    assert found.memory is not None
    assert found.memory.peak_bytes == int(12.8672 * 2**20)


def test_the_new_form_with_percentiles() -> None:
    found = parse_log(NEW)
    assert found.queries == 1024
    assert (found.summary.p50_ms, found.summary.p95_ms) == (5.001, 5.402)
    assert found.summary.max_ms == pytest.approx(10.301)
    assert found.memory is not None
    assert found.memory.peak_bytes == int(3.25 * 2**20)


def test_memory_that_the_tool_cannot_tell_is_absent() -> None:
    log = OLD.replace("overall=12.8672", "overall=-1")
    assert parse_log(log).memory is None


def test_a_delegate_that_fell_back_is_told() -> None:
    line = "ERROR: Failed to apply GPU delegate."
    assert parse_log(f"{line}\n{OLD}").delegate_failed == line
    assert parse_log(OLD).delegate_failed is None


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("", "no output"),
        ("ERROR: Didn't find op for builtin opcode 'CONV_2D'\n\n", "builtin opcode"),
        (OLD.split("Inference timings", maxsplit=1)[0], "no timings"),
        (NEW.replace("min=4870", "min=0"), "cannot be read"),
        (NEW.replace("avg=5061.44", "avg=1e+9999"), "cannot be read"),
        (NEW.replace("overall=3.25", "overall=1e+9999"), "cannot be read"),
        (NEW.replace("overall=3.25", "overall=1e+300"), "cannot be read"),
        (NEW.replace("count=1024", f"count={'9' * 5000}"), "cannot be read"),
        (NEW.replace("avg=5061.44 std", "std"), "cannot be read"),
    ],
)
def test_a_failed_run_is_one_clear_error(log: str, says: str) -> None:
    with pytest.raises(RuntimeFailure, match=says):
        parse_log(log)


@pytest.mark.parametrize("whole", [OLD, NEW])
def test_a_log_cut_short_gives_no_numbers_or_the_true_ones(whole: str) -> None:
    wanted = parse_log(whole)
    for end in range(len(whole)):
        try:
            found = parse_log(whole[:end])
        except RuntimeFailure as error:
            assert "\n" not in str(error)
            continue
        assert (found.queries, found.summary) == (wanted.queries, wanted.summary)
        assert (found.init_ms, found.first_ms) == (wanted.init_ms, wanted.first_ms)
        assert found.memory in (None, wanted.memory)
