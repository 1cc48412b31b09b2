"""From how a process or container ended to its status and the line that says so; pure."""

from __future__ import annotations

import signal

from edgepack.inference.protocol import ExitStatus, Trace
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
    container_s: float | None = None,
) -> Trace:
    """Return the Trace of a run that ended like this.

    ``oom_killed`` is the kernel's word (a container's OOMKilled). It decides even when the
    exit code is 0, because then a child died; a kill at our own deadline is a timeout.
    """
    tail = " ".join(stderr.decode("utf-8", "replace").split())[-300:]
    told = _by_force(
        code,
        tail,
        timeout_s=timeout_s,
        timed_out=timed_out,
        oom_killed=oom_killed,
        output_exceeded=output_exceeded,
    )
    if told is not None:
        return Trace(status=told[0], says=told[1], stderr=tail, container_s=container_s)
    try:
        trace = trace_of(read_frame(stdout), stderr=tail, container_s=container_s)
    except BrokenFrame as broken:
        says = f"exit code {code}, {broken}; stderr: {tail or 'empty'}"
        return Trace(status=ExitStatus.ERROR, says=says, stderr=tail, container_s=container_s)
    if trace.status is ExitStatus.OK and code != 0:
        says = f"exit code {code} after an answer; stderr: {tail}"
        return Trace(status=ExitStatus.ERROR, says=says, stderr=tail, container_s=container_s)
    return trace


def _by_force(
    code: int,
    tail: str,
    *,
    timeout_s: float,
    timed_out: bool,
    oom_killed: bool,
    output_exceeded: bool,
) -> tuple[ExitStatus, str] | None:
    """Return the status of a run that did not end by itself, None where it did."""
    number = signal_of(code)
    name = signal.Signals(number).name if number is not None else ""
    starved = number == signal.SIGABRT and any(word in tail for word in _NO_MEMORY)
    cases = (
        (timed_out, ExitStatus.TIMEOUT, f"still running after {timeout_s:g} s and was ended"),
        (oom_killed, ExitStatus.OOM, "killed by the kernel: out of memory under its limit"),
        (output_exceeded, ExitStatus.ERROR, "wrote more than a frame may hold and was ended"),
        (number == signal.SIGXCPU, ExitStatus.TIMEOUT, "used up its processor time (SIGXCPU)"),
        (starved, ExitStatus.OOM, f"aborted for want of memory ({name})"),
        (bool(name), ExitStatus.CRASH, f"crashed with {name}: {tail or 'no message'}"),
    )
    return next(((status, says) for true, status, says in cases if true), None)
