"""The converter's process may die, hang or chatter: what that costs, with a stand-in for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from converters.tflite import convert_process
from converters.tflite.convert_process import TookTooLongError

#: Leaves a mark a start in ``starts``; each folder's name says how it ends.
STAND_IN = """
import os, signal, sys, time
from pathlib import Path
starts = Path(sys.argv[1])
starts.write_text((starts.read_text() if starts.exists() else "") + "x")
for count, line in enumerate(sys.stdin):
    name = Path(line.strip()).name
    if name == "hang":
        time.sleep(60)
    if name == "die" or (name == "worn" and count):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "leave":
        sys.exit(0)
    if name == "chatter":
        print("x" * 300_000, end="", flush=True)
        print()
    print(f"converted {int(name == 'refused')}", flush=True)
"""


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "worker.py").write_text(STAND_IN)
    counted = tmp_path / "starts"
    command = (sys.executable, str(tmp_path / "worker.py"), str(counted))
    monkeypatch.setattr(convert_process, "_COMMAND", command)
    return counted


def ends(*names: str) -> list[int]:
    with convert_process.kept_warm():
        return [convert_process.run(Path(name), 10) for name in names]


@pytest.mark.tools
@pytest.mark.parametrize(
    ("names", "codes", "started"),
    [
        (("good", "refused", "good"), [0, 1, 0], 1),
        (("good", "chatter", "good"), [0, 0, 0], 1),
        (("die", "good"), [-11, 0], 2),  # fresh: it would die again
        (("good", "die", "good"), [0, -11, 0], 3),  # warm: asked once more, cold
        (("good", "worn", "worn"), [0, 0, 0], 3),  # only a used process dies of it
        (("good", "leave"), [0, 1], 2),
    ],
)
def test_a_death_costs_one_conversion(
    starts: Path, names: tuple[str, ...], codes: list[int], started: int
) -> None:
    assert ends(*names) == codes
    assert len(starts.read_text()) == started


@pytest.mark.tools
def test_without_warmth_each_conversion_has_its_own_process(starts: Path) -> None:
    assert [convert_process.run(Path("good"), 10) for _ in range(2)] == [0, 0]
    assert len(starts.read_text()) == 2


@pytest.mark.tools
def test_a_process_that_hangs_is_killed_and_not_asked_again(starts: Path) -> None:
    with convert_process.kept_warm():
        convert_process.run(Path("good"), 10)
        with pytest.raises(TookTooLongError):
            convert_process.run(Path("hang"), 0.3)
        assert convert_process.run(Path("good"), 10) == 0
    assert len(starts.read_text()) == 2
