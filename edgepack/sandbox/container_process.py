"""One container from its start to its end: bounded output, a deadline, who ended it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_SIGKILLED, _STDOUT = 137, 1
_MAX_STDERR_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ContainerResult:
    """How a container ended.

    Attributes:
        oom_killed: the engine heard of the kernel's OOM killer; on cgroup v1 and a busy
            machine it misses one in twenty.
        killed: by SIGKILL that was not ours.
    """

    code: int
    stdout: bytes
    stderr: bytes
    oom_killed: bool
    killed: bool
    timed_out: bool
    output_exceeded: bool
    seconds: float


@contextlib.contextmanager
def _output(api: Any, container: str) -> Iterator[Iterator[tuple[int, bytes]]]:
    """Yield (stream number, piece) pairs of a container's output, closed afterwards.

    The SDK's own generator leaves its socket open.
    """
    from docker.utils.socket import frames_iter

    line = api.attach_socket(
        container, params={"stdout": 1, "stderr": 1, "stream": 1, "logs": 0}
    )
    try:
        yield frames_iter(line, tty=False)
    finally:
        response, raw = getattr(line, "_response", None), getattr(line, "_sock", None)
        for each in (response, line, raw):
            if each is not None:
                each.close()


def follow(api: Any, container: str, timeout_s: float, max_bytes: int) -> ContainerResult:
    """Start a created container and return how it ended.

    It is killed after ``timeout_s``, and once it has written more than ``max_bytes``.
    """
    from docker.errors import APIError

    late = threading.Event()

    def kill() -> None:
        with contextlib.suppress(APIError):  # it ended by itself in this very moment
            api.kill(container)

    def expire() -> None:
        late.set()
        kill()

    out, err, exceeded = bytearray(), bytearray(), False
    timer = threading.Timer(timeout_s, expire)
    timer.daemon = True
    with _output(api, container) as pieces:
        start = time.monotonic()
        api.start(container)
        timer.start()
        try:
            for stream, piece in pieces:
                if stream == _STDOUT:
                    out += piece
                elif len(err) < _MAX_STDERR_BYTES:
                    err += piece
                if len(out) > max_bytes:
                    del out[max_bytes:]
                    if not exceeded:
                        exceeded = True
                        # beside: the engine ends it only while its output is read
                        threading.Thread(target=kill, daemon=True).start()
            code = int(api.wait(container, timeout=30)["StatusCode"])
        finally:
            timer.cancel()
        seconds = time.monotonic() - start
    killed = code == _SIGKILLED and not (late.is_set() or exceeded)
    return ContainerResult(
        code=code,
        stdout=bytes(out),
        stderr=bytes(err),
        oom_killed=_oom_killed(api, container, patient=killed),
        killed=killed,
        timed_out=late.is_set(),
        output_exceeded=exceeded,
        seconds=seconds,
    )


def _oom_killed(api: Any, container: str, patient: bool) -> bool:
    """Return the engine's word, which may come some time after the exit, or never."""
    for _ in range(5 if patient else 1):
        if api.inspect_container(container)["State"].get("OOMKilled"):
            return True
        time.sleep(0.1 if patient else 0)
    return False
