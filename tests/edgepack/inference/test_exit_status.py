"""Laws of endings: five findings, never folded into one."""

import json

import pytest

from edgepack.inference import worker
from edgepack.inference.exit_status import signal_of, trace_from
from edgepack.inference.protocol import ExitStatus, Trace


def frame(status: str = "error") -> bytes:
    text = json.dumps({"status": status, "says": "s", "arrays": []}).encode()
    return worker.MAGIC + b"%08d\n" % len(text) + text


def end(code: int, **changed: object) -> Trace:
    given: dict[str, object] = {
        "stdout": b"",
        "stderr": b"",
        "timeout_s": 3.0,
        "timed_out": False,
        "oom_killed": False,
        **changed,
    }
    return trace_from(code=code, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "changed", "status"),
    [
        (137, {"timed_out": True}, ExitStatus.TIMEOUT),
        (137, {"timed_out": True, "oom_killed": True}, ExitStatus.TIMEOUT),
        (137, {"oom_killed": True}, ExitStatus.OOM),
        (0, {"oom_killed": True, "stdout": frame()}, ExitStatus.OOM),
        (137, {}, ExitStatus.CRASH),
        (134, {"stderr": b"terminate called ... std::bad_alloc"}, ExitStatus.OOM),
        (134, {"stderr": b"assertion failed"}, ExitStatus.CRASH),
        (139, {}, ExitStatus.CRASH),
        (-11, {}, ExitStatus.CRASH),
        (-24, {}, ExitStatus.TIMEOUT),
        (3, {}, ExitStatus.ERROR),
        (0, {}, ExitStatus.ERROR),
        (0, {"stdout": b"x" * 9, "output_exceeded": True}, ExitStatus.ERROR),
        (1, {"stdout": frame()}, ExitStatus.ERROR),
        (1, {"stdout": frame("oom")}, ExitStatus.OOM),
    ],
)
def test_each_way_to_end_has_its_own_name(
    code: int, changed: dict[str, object], status: ExitStatus
) -> None:
    trace = end(code, **changed)
    assert trace.status is status
    assert trace.says


@pytest.mark.parametrize(
    ("code", "number"), [(0, None), (1, None), (128, None), (-9, 9), (137, 9), (139, 11)]
)
def test_a_signal_is_read_from_either_kind_of_exit_code(code: int, number: int | None) -> None:
    assert signal_of(code) == number
