"""Laws of endings: five findings, never folded into one."""

import json

import pytest

from edgepack.inference import worker
from edgepack.inference.exit_status import signal_of, trace_from
from edgepack.inference.protocol import Ending, Trace


def frame(ending: str = "error") -> bytes:
    text = json.dumps({"ending": ending, "says": "s", "arrays": []}).encode()
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
    ("code", "changed", "ending"),
    [
        (137, {"timed_out": True}, Ending.TIMEOUT),
        (137, {"timed_out": True, "oom_killed": True}, Ending.TIMEOUT),
        (137, {"oom_killed": True}, Ending.OOM),
        (0, {"oom_killed": True, "stdout": frame()}, Ending.OOM),
        (137, {}, Ending.CRASH),
        (134, {"stderr": b"terminate called ... std::bad_alloc"}, Ending.OOM),
        (134, {"stderr": b"assertion failed"}, Ending.CRASH),
        (139, {}, Ending.CRASH),
        (-11, {}, Ending.CRASH),
        (-24, {}, Ending.TIMEOUT),
        (3, {}, Ending.ERROR),
        (0, {}, Ending.ERROR),
        (0, {"stdout": b"x" * 9, "output_exceeded": True}, Ending.ERROR),
        (1, {"stdout": frame()}, Ending.ERROR),
        (1, {"stdout": frame("oom")}, Ending.OOM),
    ],
)
def test_each_way_to_end_has_its_own_name(
    code: int, changed: dict[str, object], ending: Ending
) -> None:
    trace = end(code, **changed)
    assert trace.ending is ending
    assert trace.says


@pytest.mark.parametrize(
    ("code", "number"), [(0, None), (1, None), (128, None), (-9, 9), (137, 9), (139, 11)]
)
def test_a_signal_is_read_from_either_kind_of_exit_code(code: int, number: int | None) -> None:
    assert signal_of(code) == number
