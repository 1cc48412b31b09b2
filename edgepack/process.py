"""The door to processes of untrusted content: bounded output, a deadline, no survivors."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: exit code (-n for signal n), and who ended it."""

    code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    flooded: bool


def run_bounded(
    command: Sequence[str],
    *,
    timeout_s: float,
    max_bytes: int,
    env: Mapping[str, str],
    limits: Mapping[int, int] | None = None,
) -> Ended:
    """Run ``command`` in its own session and return how it ended; leaves no process behind.

    ``limits`` are ``resource.RLIMIT_*`` set from outside just after the start: a function
    run between fork and exec may deadlock in a caller with threads, such as TensorFlow's.
    It is killed at the deadline, and as soon as it has written more than ``max_bytes``
    to stdout or 64 KiB to stderr beyond which stderr is dropped.

    Raises:
        OSError: the program cannot be started.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env),
        start_new_session=True,
    )
    parts: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
    deadline = time.monotonic() + timeout_s
    timed_out = flooded = False
    with process, selectors.DefaultSelector() as selector:
        for which, most in (limits or {}).items():
            with contextlib.suppress(ProcessLookupError):  # ended already
                resource.prlimit(process.pid, which, (most, most))
        assert process.stdout is not None and process.stderr is not None  # PIPE was asked
        selector.register(process.stdout, selectors.EVENT_READ, "out")
        selector.register(process.stderr, selectors.EVENT_READ, "err")
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(max(left, 0)) if left > 0 else []
            if not ready and time.monotonic() >= deadline:
                timed_out = True
                break
            for key, _ in ready:
                piece = os.read(key.fd, 1 << 16)
                if not piece:
                    selector.unregister(key.fileobj)
                elif key.data == "out" or len(parts["err"]) < 1 << 16:
                    parts[key.data] += piece
            if len(parts["out"]) > max_bytes:
                flooded = True
                break
        if not (timed_out or flooded):
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                timed_out = True
        with contextlib.suppress(ProcessLookupError):  # already gone: nothing to end
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    return Ended(code, bytes(parts["out"]), bytes(parts["err"]), timed_out, flooded)
