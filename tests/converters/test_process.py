"""The converters' door to processes: an end, whatever the process does."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from converters import process


def python(
    code: str, *, timeout_s: float = 20.0, most_bytes: int = 1000
) -> process.ProcessResult:
    return process.run([sys.executable, "-c", code], timeout_s=timeout_s, most_bytes=most_bytes)


def test_what_was_printed_and_the_exit_code_come_back() -> None:
    ended = python("import sys; print('out'); print('a\\nlast', file=sys.stderr); sys.exit(3)")
    assert (ended.code, ended.stdout, ended.last_line) == (3, b"out\n", "last")
    assert not ended.timed_out and not ended.output_exceeded


@pytest.mark.parametrize(
    ("size", "output_exceeded"), [(999, False), (1000, False), (1001, True)]
)
def test_the_limit_of_output_is_inclusive(size: int, output_exceeded: bool) -> None:
    ended = python(f"print('x' * {size}, end='')")
    assert (ended.output_exceeded, len(ended.stdout)) == (output_exceeded, min(size, 1000))


def test_a_flood_is_ended_at_once() -> None:
    ended = python("while True: print('x' * 1000)")
    assert ended.output_exceeded and ended.code == -9


def test_much_on_stderr_is_read_and_its_end_kept() -> None:
    ended = python("import sys; sys.stderr.write('x' * 3_000_000 + '\\nthe end\\n')")
    assert ended.code == 0
    assert ended.last_line == "the end"
    assert len(ended.stderr) == process.MOST_ERROR_BYTES


@pytest.mark.parametrize(
    "code", ["import time; time.sleep(60)", "import os, time; os.close(1); time.sleep(60)"]
)
def test_a_hanging_process_ends_at_the_deadline(code: str) -> None:
    started = time.monotonic()
    ended = python(code, timeout_s=0.5)
    assert ended.timed_out and time.monotonic() - started < 10


def test_children_go_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    child = f"import time; time.sleep(2); open({str(mark)!r}, 'w').close()"
    silent = "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    start = f"subprocess.Popen([sys.executable, '-c', {child!r}], {silent})"
    ended = python(f"import subprocess, sys; {start}")
    assert ended.code == 0
    time.sleep(3)
    assert not mark.exists()


def test_a_signal_is_told_by_name() -> None:
    assert python("import os; os.kill(os.getpid(), 11)").code == -11
    assert process.signal_name(11) == "SIGSEGV"
    assert process.signal_name(99) == "signal 99"


def test_a_program_that_is_not_there_is_an_oserror() -> None:
    with pytest.raises(OSError, match="no-such"):
        process.run(["/no-such-program"], timeout_s=1, most_bytes=1)
