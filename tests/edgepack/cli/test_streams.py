"""Ctrl-C, full disks and readers that leave: one line at most, the right code, no noise."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgepack.cli import output, signals
from edgepack.gates.finding import Finding, Outcome, Verdict
from tests.edgepack.commands import write_bundle

COMMAND = [sys.executable, "-m", "edgepack"]
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the signals' handlers back after the test."""
    kept = {number: signal.getsignal(number) for number in STOPS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
    signals._received.clear()


@pytest.mark.parametrize("number", STOPS)
def test_a_swallowed_interrupt_stops_the_next_step(
    handlers: None, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    signals.watch()
    with output.progress() as bars:
        bars.step("prune", 1, 9)
        try:
            os.kill(os.getpid(), number)
        except BaseException as swallowed:  # noqa: BLE001 - what an import may do
            assert isinstance(swallowed, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            bars.step("prune", 2, 9)
        with pytest.raises(KeyboardInterrupt):
            bars.say("judging")
    assert signals.exit_code() == 128 + number


def test_nohup_keeps_its_meaning(handlers: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals.watch()
    os.kill(os.getpid(), signal.SIGHUP)
    assert signals.received() is None


def test_what_a_file_says_cannot_command_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    says = "class \x1b[2J\u202e\nfail: pass \udcff"
    found = Finding(gate="class_recall", verdict=Outcome.FAIL, says=says)
    output.print_verdict(says, says, Verdict((found,)))
    output.table(says, ("name",), [(says,)])
    output.warn(says)
    with output.progress() as bars:
        bars.say(says)
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).splitlines())
    assert (out.count("\n"), err.count("\n")) == (3 + 6, 2)


def test_off_a_terminal_each_stage_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress() as bars:
        bars.say("reading m.h5")
        for step in range(3):
            bars.step("prune", step, 3)
    assert capsys.readouterr() == ("", "reading m.h5\nprune: 3 steps\n")


@pytest.mark.tools
def test_progress_that_nobody_reads_stops_nothing() -> None:
    code = (
        "from edgepack.cli import output\n"
        "with output.progress() as bars:\n"
        "    bars.say('reading m.h5')\n    bars.say('judging')\n"
        "print('the result')"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writer, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stdout) == (0, b"the result\n")


@pytest.mark.tools
@pytest.mark.parametrize("words", [("profiles", "list"), ("profiles", "show", "pixel-3")])
def test_a_reader_that_leaves_ends_it_quietly(words: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, *words], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.tools
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("profiles", "list", "--json"), "cannot write: No space left"),
        (("--version",), "cannot write: No space left"),
        (("check", "absent.tflite", "-p", "pixel-3", "--json"), "absent.tflite: no such file"),
    ],
)
def test_a_full_stdout_is_one_line(words: tuple[str, ...], says: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


@pytest.mark.tools
def test_a_file_that_finds_no_room_leaves_the_older_one(tmp_path: Path) -> None:
    bundle, page = write_bundle(tmp_path / "m.edgepack"), tmp_path / "page.html"
    page.write_text("older")
    done = subprocess.run(
        [*COMMAND, "report", bundle, "-o", page],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "page.html: cannot write: the file would be larger" in done.stderr
    assert page.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.edgepack", "page.html"]


@pytest.mark.tools
def test_closed_streams_change_no_verdict() -> None:
    line = f"'{sys.executable}' -m edgepack profiles check pixel-3 >&- 2>&-"
    assert subprocess.run(["sh", "-c", line], check=False).returncode == 0


@pytest.mark.tools
def test_an_interrupt_in_code_given_as_text_still_ends_with_its_code(tmp_path: Path) -> None:
    """As where it lands in an import that makes a dataclass."""
    (tmp_path / "interrupted.py").write_text(
        "import os, edgepack.cli.main as entry\n"
        "entry._run = lambda words: exec('import os; os.kill(os.getpid(), 2)')\n"
        "entry.main(['build'])\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.startswith("edgepack: interrupted")
    assert done.returncode == 130
