"""Laws of the frame: what a job asks, what an answer may claim."""

import json

import numpy as np
import pytest

from edgepack.inference import worker
from edgepack.inference.protocol import ExitStatus, Job, ProcessMemory
from edgepack.inference.wire_format import BrokenFrame, job_files, read_frame, trace_of

HELD = {"peak_rss_bytes": 2, "baseline_rss_bytes": 1}


def framed(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return worker.MAGIC + b"%08d\n" % len(text) + text + body


def answer(**changed: object) -> dict[str, object]:
    header: dict[str, object] = {
        "status": "ok",
        "says": "ran",
        "runtime": "x 1",
        "machine": "m",
        "memory": {"peak_rss_bytes": 2, "baseline_rss_bytes": 1},
        "wall_ms": [1.5],
        "cpu_ms": [1.0],
        "delegates": 1,
        "arrays": [{"dtype": "|i1", "shape": [2, 3]}],
    }
    return {**header, **changed}


def test_an_answer_comes_back_as_it_was_written() -> None:
    trace = trace_of(
        read_frame(framed(answer(), bytes(range(6)))), stderr="warned", container_s=7.0
    )
    assert trace.status is ExitStatus.OK
    assert trace.outputs is not None
    np.testing.assert_array_equal(trace.outputs, np.arange(6, dtype=np.int8).reshape(2, 3))
    assert trace.memory == ProcessMemory(peak_rss_bytes=2, baseline_rss_bytes=1)
    assert trace.wall_ms == (1.5,)
    assert trace.delegates == 1
    assert (trace.stderr, trace.container_s) == ("warned", 7.0)


def test_an_error_answer_needs_no_figures() -> None:
    header = {"status": "error", "says": "ValueError: no", "arrays": []}
    trace = trace_of(read_frame(framed(header)))
    assert (trace.status, trace.says) == (ExitStatus.ERROR, "ValueError: no")
    assert trace.outputs is None


@pytest.mark.parametrize("size", [5, 7])
def test_output_bytes_must_be_exactly_those_announced(size: int) -> None:
    with pytest.raises(BrokenFrame, match=r"truncated|after the last"):
        read_frame(framed(answer(), bytes(size)))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello",
        worker.MAGIC,
        worker.MAGIC + b"99999999\n{}",
        worker.MAGIC + b"0000000a\n{}",
        worker.MAGIC + b"00000002\n{}",
        worker.MAGIC + b"00000002\n[]",
        worker.MAGIC + b"00000003\n\xff\xfe\xfd",
        framed(answer(status="splendid"), bytes(6)),
        framed(answer(arrays=[{"dtype": "|O8", "shape": [1]}]), bytes(8)),
        framed(answer(arrays=[{"dtype": "<V9", "shape": [1]}]), bytes(9)),
        framed(answer(arrays=[{"dtype": "|i1", "shape": [-1]}])),
        framed(answer(arrays=[{"dtype": "<f8", "shape": [2**62, 2**62]}])),
        framed(answer(arrays=7)),
        worker.MAGIC + b"00050000\n" + b"[" * 50000,
    ],
)
def test_a_hostile_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(BrokenFrame):
        read_frame(raw)


@pytest.mark.parametrize(
    "changed",
    [
        {"memory": None},
        {"memory": {"peak_rss_bytes": None, "baseline_rss_bytes": 1}},
        {"memory": {"peak_rss_bytes": float("inf"), "baseline_rss_bytes": 1}},
        {"memory": {"baseline_rss_bytes": 1}},
        {"wall_ms": "soon"},
        {"wall_ms": [1.0, float("nan")]},
        {"memory": [1]},
        {"memory": HELD | {"imported_rss_bytes": "much"}},
        {"inferences": float("inf")},
        {"inferences": -1},
        {"memory": HELD | {"anon_samples": [[1.0]]}},
        {"memory": HELD | {"anon_samples": [[1.0, float("nan")]]}},
        {"something": "else"},
        {"arrays": []},
    ],
)
def test_an_ok_without_its_figures_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(BrokenFrame):
        trace_of(
            read_frame(framed(answer(**changed), b"" if "arrays" in changed else bytes(6)))
        )


def test_a_job_folder_names_one_array_an_input() -> None:
    rows = np.zeros((3, 2), np.int8)
    files = job_files(Job(model=b"m", inputs=rows, more_inputs=(rows,)), marks=True)
    assert sorted(files) == ["inputs-0.npy", "inputs-1.npy", "job.json", "model.tflite"]
    plan = json.loads(files["job.json"])
    assert plan["inputs"] == 2
    assert plan["marks"] is True


@pytest.mark.parametrize(
    ("job", "says"),
    [
        (Job(model=b"", inputs=np.zeros((0, 2))), "at least one"),
        (Job(model=b"", inputs=np.array(1.0)), "at least one"),
        (Job(model=b"", inputs=np.zeros(2), more_inputs=(np.zeros(3),)), "equally many"),
        (Job(model=b"", inputs=np.zeros(2), kernels="fast"), "fast"),
    ],
)
def test_a_job_without_sense_is_refused_before_anything_runs(job: Job, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        job_files(job)
