"""The converter's process: one a conversion, or one kept warm for many.

Starting TensorFlow takes 4 to 9 s, so whoever converts often keeps one process; should it
die, the conversion that killed it is told so and the next one starts another.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from converters.tflite.convert_worker import DONE

_ROOT = str(Path(__file__).resolve().parents[1])
_COMMAND = (sys.executable, "-m", "converters.tflite.convert_worker")
_warm: list[_Worker] = []


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
    try:
        done = subprocess.run(
            [*_COMMAND, str(folder)],
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env=_environment(),
        )
    except subprocess.TimeoutExpired as slow:
        raise TookTooLongError from slow
    return done.returncode


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
    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, folder: Path, timeout_s: float) -> int:
        if self.process is None:
            self.process = subprocess.Popen(
                [*_COMMAND, "--serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                bufsize=0,
            )
        process, until = self.process, time.monotonic() + timeout_s
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{folder}\n".encode())
        held = b""
        while time.monotonic() < until:
            if not select.select([process.stdout], [], [], until - time.monotonic())[0]:
                break
            got = os.read(process.stdout.fileno(), 65536)
            if not got:  # it died
                code = process.wait()
                self.close()
                return code or 1
            held += got
            for line in held.split(b"\n")[:-1]:  # native code may print lines of its own
                if line.startswith(DONE.encode()):
                    return int(line.split()[1])
        process.kill()
        self.close()
        raise TookTooLongError

    def close(self) -> None:
        """End the process; the next conversion starts another."""
        process, self.process = self.process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
