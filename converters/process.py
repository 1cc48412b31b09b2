"""The one place that starts other programs: bounded output, a deadline, no survivors.

It lies here because ``edgepack`` uses it too and this package imports nothing of it.
``tests/test_architecture.py`` holds that no other module starts a program; the container
engine is reached by its SDK and a phone by its own protocol. The converter that is kept warm
(``tflite/convert_process.py``) lives longer than one call, and so has pipes of its own.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_PIECE_BYTES = 1 << 16
_STDERR_HALF_BYTES = 1 << 15


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """How a process ended and what it wrote.

    Attributes:
        code: exit code; -n for signal n.
        stdout: empty where another took it.
        stderr: its first and last 32 KiB.
        timed_out: it was still running at its deadline and was killed.
        output_exceeded: it wrote more to stdout than it may and was killed.
    """

    code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    output_exceeded: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with exit code 0."""
        return self.code == 0 and not (self.timed_out or self.output_exceeded)

    @property
    def oom_killed(self) -> bool:
        """Whether a SIGKILL that was not ours ended it: the kernel's OOM killer sends that."""
        return self.code == -signal.SIGKILL and not (self.timed_out or self.output_exceeded)

    @property
    def last_line(self) -> str:
        """What it wrote last on stderr."""
        return self.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]

    def reason(self, max_chars: int = 300) -> str:
        """Return one line about why it failed: deadline, too much output, or its last words."""
        if self.timed_out:
            return "still running at its deadline"
        if self.output_exceeded:
            return "wrote more than it may"
        text = (self.stderr or self.stdout).decode("utf-8", "replace")
        return " ".join(text.split())[-max_chars:] or f"exit code {self.code}"


def run_bounded(
    command: Sequence[str],
    *,
    timeout_s: float,
    max_bytes: int,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    write: Callable[[bytes], object] | None = None,
    limits: Mapping[int, int] | None = None,
) -> ProcessResult:
    """Run ``command`` in its own session and return how it ended; leaves no process behind.

    It is killed at its deadline, as soon as it has written more than ``max_bytes`` to stdout,
    and when the caller is interrupted.

    Args:
        env: its whole environment; None gives it this process's own.
        stdin: what it can read; a program that ends before it has read all is no error.
        write: takes stdout piece by piece, which is then not kept.
        limits: ``resource.RLIMIT_*`` set from outside just after the start: a function run
            between fork and exec may deadlock in a caller with threads, as TensorFlow's.
            Where the caller itself is allowed less (``ulimit``), that holds.

    Raises:
        OSError: the program cannot be started.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None if env is None else dict(env),
        start_new_session=True,
    )
    pipes = _Pipes(process, stdin, write, max_bytes)
    deadline = time.monotonic() + timeout_s
    timed_out = False
    try:
        for which, most in (limits or {}).items():
            with contextlib.suppress(ProcessLookupError):  # ended already
                lowered = _lowered(which, most)
                resource.prlimit(process.pid, which, (lowered, lowered))
        timed_out = not pipes.transfer(deadline)
        if not (timed_out or pipes.exceeded):
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                timed_out = True
    finally:  # also where Ctrl-C lands in the loop: another session does not get it
        with contextlib.suppress(ProcessLookupError):  # already gone: nothing to end
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        pipes.close()
    return ProcessResult(
        code, bytes(pipes.stdout), bytes(pipes.stderr), timed_out, pipes.exceeded
    )


def _lowered(which: int, most: int) -> int:
    """Return ``most``, or this process's own hard limit: only root may raise one."""
    _, hard = resource.getrlimit(which)
    return most if hard == resource.RLIM_INFINITY else min(most, hard)


def signal_name(number: int) -> str:
    """Return ``SIGSEGV`` for 11, ``signal 99`` for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Pipes:
    """The three pipes of one process, served without ever waiting for only one of them."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        stdin: bytes,
        write: Callable[[bytes], object] | None,
        max_bytes: int,
    ) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self._write = write or self.stdout.extend
        self._left = max_bytes
        self._unsent = memoryview(stdin)
        self._selector = selectors.DefaultSelector()
        self._files = [f for f in (process.stdin, process.stdout, process.stderr) if f]
        for file, take in ((process.stdout, self._keep), (process.stderr, self._keep_ends)):
            assert file is not None  # PIPE was asked for
            self._selector.register(file, selectors.EVENT_READ, take)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            self._selector.register(process.stdin, selectors.EVENT_WRITE)

    @property
    def exceeded(self) -> bool:
        return self._left < 0

    def transfer(self, deadline: float) -> bool:
        """Return whether all pipes were closed, or one overflowed, before the deadline."""
        while self._selector.get_map() and not self.exceeded:
            if time.monotonic() >= deadline:
                return False
            for key, event in self._selector.select(deadline - time.monotonic()):
                if event & selectors.EVENT_WRITE:
                    self._feed(key)
                elif piece := os.read(key.fd, _PIECE_BYTES):
                    key.data(piece)
                else:
                    self._selector.unregister(key.fileobj)
        return True

    def close(self) -> None:
        self._selector.close()
        for file in self._files:
            with contextlib.suppress(BrokenPipeError):
                file.close()

    def _feed(self, key: selectors.SelectorKey) -> None:
        try:
            self._unsent = self._unsent[os.write(key.fd, self._unsent[:_PIECE_BYTES]) :]
        except BrokenPipeError:  # it reads no more
            self._unsent = self._unsent[:0]
        if not self._unsent:
            self._selector.unregister(key.fileobj)
            self._files[0].close()

    def _keep(self, piece: bytes) -> None:
        self._left -= len(piece)
        if not self.exceeded:
            self._write(piece)

    def _keep_ends(self, piece: bytes) -> None:
        self.stderr += piece
        if len(self.stderr) > 2 * _STDERR_HALF_BYTES:
            del self.stderr[_STDERR_HALF_BYTES:-_STDERR_HALF_BYTES]
