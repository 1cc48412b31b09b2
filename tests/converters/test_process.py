"""Laws of the door to other programs: bounded output, a deadline, no survivors."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from converters.process import ProcessResult, run_bounded, signal_name

pytestmark = pytest.mark.tools
ROOT = Path(__file__).resolve().parents[2]


def python(
    code: str, *, timeout_s: float = 20, max_bytes: int = 1000, **more: object
) -> ProcessResult:
    command = [sys.executable, "-sPc", code]
    return run_bounded(command, timeout_s=timeout_s, max_bytes=max_bytes, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "exceeded"), [(999, False), (1000, False), (1001, True)])
def test_the_limit_of_output_is_inclusive(size: int, exceeded: bool) -> None:
    ended = python(f"print('x' * {size}, end='')")
    assert ended.output_exceeded is exceeded
    assert ended.ok is not exceeded
    assert len(ended.stdout) <= 1000


def test_a_flood_of_output_is_ended_and_not_stored() -> None:
    ended = python("import os\nwhile True: os.write(1, bytes(65536))", max_bytes=10**6)
    assert ended.output_exceeded
    assert ended.code == -signal.SIGKILL
    assert not ended.oom_killed, "this kill was ours"
    assert len(ended.stdout) <= 10**6


def test_of_much_stderr_both_ends_are_kept() -> None:
    ended = python("import sys; sys.stderr.write('first' + 'x' * 10**6 + 'last')")
    assert ended.stderr.startswith(b"first")
    assert ended.stderr.endswith(b"last")
    assert len(ended.stderr) <= 1 << 16
    assert ended.reason(4) == "last"


def test_a_child_that_keeps_the_pipe_open_does_not_outlive_the_deadline() -> None:
    start = time.monotonic()
    ended = python("import os, time\nif os.fork() == 0: time.sleep(60)", timeout_s=1)
    assert ended.timed_out
    assert time.monotonic() - start < 5


def test_what_it_started_goes_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"""
import os, pathlib, time
child = os.fork()
if child == 0:
    os.close(1); os.close(2); time.sleep(60)
pathlib.Path({str(pid)!r}).write_text(str(child))
"""
    assert python(code).ok
    assert gone(int(pid.read_text()))


def test_nothing_outlives_an_interrupt(tmp_path: Path) -> None:
    """Ctrl-C does not reach another session: whoever is interrupted has to end it."""
    pid = tmp_path / "pid"
    code = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))"

    def interrupt() -> None:
        for _ in range(500):  # until it runs, however busy the machine is
            if pid.exists() and pid.read_text():
                break
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        python(f"{code}; time.sleep(600)", timeout_s=600)
    assert time.monotonic() - start < 120
    assert gone(int(pid.read_text()))


def test_what_it_reads_and_writes_may_be_larger_than_a_pipe() -> None:
    told = os.urandom(1 << 20)
    code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    assert python(code, stdin=told, max_bytes=1 << 20).stdout == told
    pieces = bytearray()
    ended = python(code, stdin=told, max_bytes=1 << 20, write=pieces.extend)
    assert (bytes(pieces), ended.stdout) == (told, b"")


def test_a_program_need_not_read_what_it_is_given() -> None:
    assert python("print('done')", stdin=bytes(1 << 20)).stdout == b"done\n"


def test_limits_hold() -> None:
    ended = python("while True: pass", limits={resource.RLIMIT_CPU: 1})
    assert ended.code in {-signal.SIGXCPU, -signal.SIGKILL}
    assert not ended.timed_out


def test_no_limit_is_raised_above_the_callers_own() -> None:
    """Under ``ulimit`` every worker failed: only root may raise a hard limit."""
    asked = (
        "import resource; from converters.process import run_bounded;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40));"
        "import sys; ended = run_bounded([sys.executable, '-c', 'import resource;"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))'], timeout_s=20, max_bytes=99,"
        "limits={resource.RLIMIT_NOFILE: %d}); sys.stdout.buffer.write(ended.stdout)"
    )
    for most, held in ((39, 39), (40, 40), (41, 40)):
        ended = python(asked % most, env={"PYTHONPATH": str(ROOT)})
        assert ended.stdout.decode().strip() == f"({held}, {held})", ended.reason()


def test_a_kill_from_elsewhere_is_told_from_ours() -> None:
    assert python("import os; os.kill(os.getpid(), 9)").oom_killed


def test_a_program_that_is_not_there_is_an_oserror() -> None:
    with pytest.raises(OSError, match="never-there"):
        run_bounded(["/never-there"], timeout_s=1, max_bytes=1)


def gone(pid: int) -> bool:
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":  # dead; whoever adopted it has not reaped it yet
            return True
        time.sleep(0.1)
    return False


def test_its_last_line_and_the_name_of_its_signal_are_told() -> None:
    ended = python("import sys; print('a\\nlast', file=sys.stderr); sys.exit(3)")
    assert (ended.code, ended.last_line) == (3, "last")
    assert python("import os; os.kill(os.getpid(), 11)").code == -11
    assert (signal_name(11), signal_name(99)) == ("SIGSEGV", "signal 99")


def test_a_closed_stdout_does_not_hide_a_hanging_process() -> None:
    started = time.monotonic()
    ended = python("import os, time; os.close(1); time.sleep(60)", timeout_s=0.5)
    assert ended.timed_out and time.monotonic() - started < 10
