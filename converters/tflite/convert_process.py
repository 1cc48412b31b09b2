"""The converter's process: one a conversion, or one kept warm for many.

Starting TensorFlow takes 3 to 9 s, so whoever converts often keeps one process. Should it
die, that costs one conversion only: a process that had converted before is replaced and
asked once more, since what it did earlier may have been the reason; a fresh one that dies
is reported, and the next conversion starts another.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from converters.tflite.convert_worker import DONE

_ROOT = str(Path(__file__).resolve().parents[2])
_COMMAND = (sys.executable, "-m", "converters.tflite.convert_worker")
_warm: list[_Worker] = []
_LONGEST_LINE = 64 * 1024
_GOODBYE_S = 10.0


class TookTooLongError(Exception):
    """The process was killed because its time was over."""


def run(folder: Path, timeout_s: float) -> int:
    """Return how the conversion of ``folder`` ended: 0, 1 for a refusal, else a crash.

    Negative numbers are signals.

    Raises:
        TookTooLongError: it was killed after ``timeout_s``.
        OSError: it did not start.
    """
    if _warm:
        return _warm[-1].run(folder, timeout_s)
    with kept_warm():
        return _warm[-1].run(folder, timeout_s)


@contextmanager
def kept_warm() -> Iterator[None]:
    """Let every conversion inside run in one process, started with the first of them."""
    worker = _Worker()
    _warm.append(worker)
    try:
        yield
    finally:
        _warm.remove(worker)
        worker.close()


def _environment() -> dict[str, str]:
    paths = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


class _Worker:
    """One serving process at a time.

    Attributes:
        served: conversions that the present process has brought to an end.
        busy: it is converting, so that it cannot be asked to leave.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.served = 0
        self.busy = False

    def run(self, folder: Path, timeout_s: float) -> int:
        until = time.monotonic() + timeout_s
        used = self.served > 0
        code, died = self._converted(folder, until)
        if used and died:
            code, died = self._converted(folder, until)
        return code

    def _converted(self, folder: Path, until: float) -> tuple[int, bool]:
        """Return how the conversion ended, and whether the process died of it."""
        process = self.process or self._started()
        assert process.stdin is not None and process.stdout is not None
        self.busy = True
        with contextlib.suppress(BrokenPipeError):  # it died idle; its end is read below
            process.stdin.write(f"{folder}\n".encode())
        line = b""
        while (left := until - time.monotonic()) > 0:
            if not select.select([process.stdout], [], [], left)[0]:
                break
            got = os.read(process.stdout.fileno(), 65536)
            if not got:  # it died
                code = process.wait()
                self.close()
                return code or 1, True
            *whole, line = (line + got).split(b"\n")
            line = line[-_LONGEST_LINE:]  # native code may print, and without end
            for told in whole:
                if told.startswith(DONE.encode()):
                    self.served, self.busy = self.served + 1, False
                    return int(told.split()[1]), False
        self.close()
        raise TookTooLongError

    def _started(self) -> subprocess.Popen[bytes]:
        self.served = 0
        self.process = subprocess.Popen(
            [*_COMMAND, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            bufsize=0,
            start_new_session=True,  # one signal reaches it and what it starts
        )
        return self.process

    def close(self) -> None:
        """End the process; the next conversion starts another."""
        process, self.process = self.process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            if not self.busy:
                process.wait(timeout=_GOODBYE_S)
        except subprocess.TimeoutExpired:
            pass  # it does not leave when asked: killed below, as a busy one is
        finally:
            self.busy, self.served = False, 0
            with contextlib.suppress(ProcessLookupError):  # nothing of it is left to end
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
