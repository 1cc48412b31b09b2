"""Whatever is given to a command: one clear line, the right code, nothing half-written."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepack.bundle import archive
from edgepack.file_kinds import TFLITE_CEILING_BYTES
from edgepack.toml_file import LARGEST_FILE_BYTES
from tests.edgepack.commands import Ended, one_line, run, tiny_tflite, write_bundle

pytestmark = pytest.mark.tools

Capture = pytest.CaptureFixture[str]
RECIPE = 'schema = 1\n[[stage]]\nkind = "prune"\nsparsity = 0.5\n'
PROFILE = 'schema = 1\nextends = "pixel-3"\ntitle = "Mine"\n'
BUILD = ("build", "m.h5", "--data", "d.npz", "-p")
#: Each kind of file: how a sound one is made, and the commands that read it.
KINDS: dict[str, tuple[str, Callable[[Path], object], list[tuple[str, ...]]]] = {
    "tflite": (
        "m.tflite",
        lambda path: path.write_bytes(tiny_tflite()),
        [("check", "FILE", "-p", "pixel-3"), ("profiles", "suggest", "FILE")],
    ),
    "bundle": (
        "m.edgepack",
        write_bundle,
        [
            ("validate", "FILE", "--no-sandbox"),
            ("bench", "FILE"),
            ("report", "FILE", "-o", "page.html"),
            ("android", "pull", "FILE", "--offline"),
        ],
    ),
    "profile": (
        "mine.toml",
        lambda path: path.write_text(PROFILE),
        [("profiles", "show", "FILE"), ("check", "good.tflite", "-p", "FILE")],
    ),
    "recipe": (
        "recipe.toml",
        lambda path: path.write_text(RECIPE),
        [(*BUILD, "pixel-3", "--recipe", "FILE")],
    ),
    "key": (
        "key.pem",
        lambda path: path.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n"),
        [(*BUILD, "pixel-3", "--sign-key", "FILE")],
    ),
}
CASES = [
    pytest.param(kind, words, id=f"{kind}-{words[0]}-{words[1]}")
    for kind, (_, _, commands) in KINDS.items()
    for words in commands
]


def given(kind: str, folder: Path) -> Path:
    """Write a sound file of that kind in ``folder``, and what the commands read beside it."""
    name, make, _ = KINDS[kind]
    make(folder / name)
    (folder / "good.tflite").write_bytes(tiny_tflite())
    return folder / name


def asked(capsys: Capture, words: tuple[str, ...], path: Path) -> Ended:
    return run(capsys, *(str(path) if word == "FILE" else word for word in words))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}/y", "loop/y"])
@pytest.mark.parametrize(("kind", "words"), CASES)
def test_a_path_that_may_not_be_looked_at_is_one_line(
    capsys: Capture, tmp_path: Path, kind: str, words: tuple[str, ...], name: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    path = tmp_path / f"{name}.{KINDS[kind][0].split('.')[1]}"
    assert path.name in one_line(asked(capsys, words, path), 1)


@pytest.mark.parametrize("source", ["x" * 300, "loop/d.npz", "loop/d.py:load", "absent.npz"])
def test_data_that_cannot_be_read_are_one_line_before_the_model_is(
    capsys: Capture, tmp_path: Path, source: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    words = ("build", "m.h5", "--data", source, "-p", "pixel-3")
    assert "cannot read data" in one_line(run(capsys, *words), 1)
    assert list(tmp_path.iterdir()) == [tmp_path / "loop"]


def test_no_path_is_refused_before_it_is_opened(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = given("tflite", tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert run(capsys, "check", path, "-p", "pixel-3").code == 0
    for words in (
        ("validate", path),
        ("bench", path),
        ("report", path),
        ("profiles", "suggest", tmp_path),
        ("android", "pull", path, "--offline"),
        ("build", path, "-d", "absent.npz", "-p", "pixel-3"),
    ):
        one_line(run(capsys, *words), 1)


@pytest.mark.parametrize("what", ["absent", "empty", "text", "picture", "folder", "pipe"])
@pytest.mark.parametrize(("kind", "words"), CASES)
def test_what_is_no_such_file_is_one_line(
    capsys: Capture, tmp_path: Path, kind: str, words: tuple[str, ...], what: str
) -> None:
    path = given(kind, tmp_path)
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what != "absent":
        content = {
            "empty": b"",
            "text": b"not [ it\n" * 40,
            "picture": b"\x89PNG\r\n\x1a\n\0\xff",
        }
        path.write_bytes(content[what])
    before = sorted(tmp_path.rglob("*"))
    assert path.name in one_line(asked(capsys, words, path), 1)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
@pytest.mark.parametrize(
    ("kind", "words"), [case for case in CASES if case.values[0] in {"tflite", "bundle"}]
)
def test_a_truncated_file_is_one_line(
    capsys: Capture, tmp_path: Path, kind: str, words: tuple[str, ...], share: float
) -> None:
    path = given(kind, tmp_path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert path.name in one_line(asked(capsys, words, path), 1)


@pytest.mark.parametrize(("kind", "words"), CASES)
def test_flipped_bits_give_a_verdict_or_one_line(
    capsys: Capture, tmp_path: Path, kind: str, words: tuple[str, ...]
) -> None:
    path = given(kind, tmp_path)
    good, chance = path.read_bytes(), random.Random(kind)
    for _ in range(6):
        bad = bytearray(good)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(bad))
        ended = asked(capsys, words, path)
        assert "a defect" not in ended.err
        assert ended.code in {0, 1, 2, 3}
        if ended.code in {1, 2}:
            *progress, told = ended.err.splitlines()
            assert told.startswith("edgepack: ")
            assert not any(line.startswith("edgepack: ") for line in progress)


@pytest.mark.parametrize(("kind", "words"), CASES)
def test_an_oversized_file_is_refused_unread(
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    words: tuple[str, ...],
) -> None:
    path = given(kind, tmp_path)
    ceilings = {
        "tflite": TFLITE_CEILING_BYTES,
        "bundle": archive.CEILING_BYTES,
        "profile": LARGEST_FILE_BYTES,
        "recipe": LARGEST_FILE_BYTES,
        "key": 64 * 1024,
    }
    os.truncate(path, ceilings[kind] + 1)  # a hole: nothing of it is on the disk
    says = one_line(asked(capsys, words, path), 1)
    assert path.name in says
    assert any(word in says for word in ("refused", "larger"))


def test_a_profile_that_is_unknown_names_the_nearest_everywhere(
    capsys: Capture, tmp_path: Path
) -> None:
    path = given("bundle", tmp_path)
    for words in (
        ("check", "good.tflite", "-p", "nucleo-l4r5z"),
        ("validate", path, "-p", "nucleo-l4r5z"),
        ("bench", path, "-p", "nucleo-l4r5z"),
        ("android", "pull", path, "--offline", "-p", "nucleo-l4r5z"),
        ("profiles", "show", "nucleo-l4r5z"),
        ("profiles", "check", "nucleo-l4r5z"),
        (*BUILD, "nucleo-l4r5z"),
        ("demo", "-p", "nucleo-l4r5z"),
    ):
        assert "'nucleo-l4r5zi'" in one_line(run(capsys, *words), 2), words
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["file", "file/below", "full/page.html", "there"])
def test_an_output_that_cannot_be_written_is_one_line(
    capsys: Capture, tmp_path: Path, out: str
) -> None:
    path = given("bundle", tmp_path)
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "there").mkdir()
    (tmp_path / "full").symlink_to("/dev/full")
    if out != "file":  # a page replaces an older file
        assert out.split("/", maxsplit=1)[0] in one_line(
            run(capsys, "report", path, "-o", out), 1
        )
    if out != "there":
        ended = run(capsys, *BUILD, "pixel-3", "--out", out)
        assert "cannot write here" in one_line(ended, 1)
    assert (tmp_path / "file").read_bytes() == b"kept"
    assert list((tmp_path / "there").iterdir()) == []


def test_names_that_are_no_text_are_told(capsys: Capture, tmp_path: Path) -> None:
    for name in ("line\nbreak.tflite", "\x1b[31mred.tflite", "nbsp\xa0 ü 模型.tflite"):
        path = tmp_path / name
        path.write_bytes(tiny_tflite())
        ended = run(capsys, "check", path, "-p", "pixel-3")
        assert ended.code == 0
        assert "\x1b" not in ended.out
        assert ended.out.splitlines()[0].endswith("on Google Pixel 3")
        path.unlink()
        assert "\x1b" not in one_line(run(capsys, "check", path, "-p", "pixel-3"), 1)
