"""The one door to processes of our own: bounded output, a deadline, no survivors.

What reads a hostile file or calls the converter may crash, hang or print without end, so it
runs beside us. This package imports nothing of ``edgepack``, which has a door of its own.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_ERROR_BYTES = 64 * 1024  # of stderr, whose last line is shown; the rest is dropped
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How a process ended.

    Attributes:
        code: its exit code, ``-n`` for signal n.
        stdout: at most as much as was allowed.
        stderr: its last 64 KiB.
        timed_out: it was still running at its deadline and was killed.
        output_exceeded: it wrote more to stdout than it may and was killed.
    """

    code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    output_exceeded: bool = False

    @property
    def last_line(self) -> str:
        """What it said last on stderr."""
        return self.stderr.decode(errors="replace").strip().rpartition("\n")[2]


def run(
    command: Sequence[str],
    *,
    timeout_s: float,
    most_bytes: int,
    env: Mapping[str, str] | None = None,
) -> ProcessResult:
    """Return how ``command`` ended; neither it nor what it started is left behind.

    It is killed at the deadline, and once it has written more than ``most_bytes`` to stdout.

    Raises:
        OSError: the program cannot be started.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None if env is None else dict(env),
        start_new_session=True,  # one signal reaches it and its children
    )
    out, err = bytearray(), bytearray()
    until = time.monotonic() + timeout_s
    timed_out = output_exceeded = False
    with process, selectors.DefaultSelector() as selector:
        assert process.stdout is not None and process.stderr is not None  # PIPE was asked for
        selector.register(process.stdout, selectors.EVENT_READ, out)
        selector.register(process.stderr, selectors.EVENT_READ, err)
        try:
            while selector.get_map() and not (timed_out or output_exceeded):
                for key, _ in selector.select(max(until - time.monotonic(), 0)):
                    piece = os.read(key.fd, _PIECE_BYTES)
                    if not piece:
                        selector.unregister(key.fileobj)
                    key.data.extend(piece)
                del err[:-MOST_ERROR_BYTES]
                output_exceeded = len(out) > most_bytes
                timed_out = time.monotonic() >= until
            if not (timed_out or output_exceeded):
                try:
                    process.wait(max(until - time.monotonic(), 0))
                except subprocess.TimeoutExpired:
                    timed_out = True
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing of it is left to end
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    return ProcessResult(code, bytes(out[:most_bytes]), bytes(err), timed_out, output_exceeded)


def signal_name(number: int) -> str:
    """Return ``SIGSEGV`` for 11, ``signal 99`` for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
