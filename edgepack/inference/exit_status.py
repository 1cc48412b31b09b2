"""From how a process or container ended to the Ending and the line that says so; pure."""

from __future__ import annotations

import signal
from typing import Any

from edgepack.inference.protocol import Ending, Trace
from edgepack.inference.wire_format import BrokenFrame, read_frame, trace_of

_NO_MEMORY = ("bad_alloc", "MemoryError", "Cannot allocate memory", "out of memory")


def signal_of(code: int) -> int | None:
    """Return the signal behind an exit code: -n (subprocess) or 128+n (container init)."""
    number = -code if code < 0 else code - 128
    known = {one.value for one in signal.Signals}
    return number if number in known else None


def trace_from(
    *,
    code: int,
    stdout: bytes,
    stderr: bytes,
    timeout_s: float,
    timed_out: bool,
    oom_killed: bool,
    output_exceeded: bool = False,
    **extra: Any,
) -> Trace:
    """Return the Trace of a run that ended like this.

    ``oom_killed`` is the kernel's word (a container's OOMKilled). It decides even when the
    exit code is 0, because then a child died; a kill at our own deadline is a timeout.
    """
    tail = " ".join(stderr.decode("utf-8", "replace").split())[-300:]
    extra = {**extra, "stderr": tail} if tail else extra
    told = _by_force(
        code,
        tail,
        timeout_s=timeout_s,
        timed_out=timed_out,
        oom_killed=oom_killed,
        output_exceeded=output_exceeded,
    )
    if told is not None:
        return Trace(ending=told[0], says=told[1], extra=extra)
    try:
        trace = trace_of(read_frame(stdout), **extra)
    except BrokenFrame as broken:
        says = f"exit code {code}, {broken}; stderr: {tail or 'empty'}"
        return Trace(ending=Ending.ERROR, says=says, extra=extra)
    if trace.ending is Ending.OK and code != 0:
        says = f"exit code {code} after an answer; stderr: {tail}"
        return Trace(ending=Ending.ERROR, says=says, extra=extra)
    return trace


def _by_force(
    code: int,
    tail: str,
    *,
    timeout_s: float,
    timed_out: bool,
    oom_killed: bool,
    output_exceeded: bool,
) -> tuple[Ending, str] | None:
    """Return the ending of a run that did not end by itself, None where it did."""
    number = signal_of(code)
    name = signal.Signals(number).name if number is not None else ""
    starved = number == signal.SIGABRT and any(word in tail for word in _NO_MEMORY)
    cases = (
        (timed_out, Ending.TIMEOUT, f"still running after {timeout_s:g} s and was ended"),
        (oom_killed, Ending.OOM, "killed by the kernel: out of memory under its limit"),
        (output_exceeded, Ending.ERROR, "wrote more than a frame may hold and was ended"),
        (number == signal.SIGXCPU, Ending.TIMEOUT, "used up its processor time (SIGXCPU)"),
        (starved, Ending.OOM, f"aborted for want of memory ({name})"),
        (bool(name), Ending.CRASH, f"crashed with {name}: {tail or 'no message'}"),
    )
    return next(((ending, says) for true, ending, says in cases if true), None)
