"""``edgepack profiles``: one bad file hides nothing, and a file is not a verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.edgepack.commands import one_line, run, tiny_tflite

SOUND = 'schema = 1\nextends = "pixel-3"\ntitle = "Mine"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the user's profile folder, with a sound file, a bad one and a dead link."""
    monkeypatch.setenv("EDGEPACK_PROFILES", str(tmp_path))
    (tmp_path / "mine.toml").write_text(SOUND)
    (tmp_path / "broken.toml").write_text('schema = 1\nextends = "pixel-3"\ntytle = "x"\n')
    (tmp_path / "gone.toml").symlink_to(tmp_path / "nowhere")
    return tmp_path


def test_a_bad_profile_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    listed = run(capsys, "profiles", "list", "--json")
    plain = json.loads(listed.out)
    names = {each["name"] for each in plain["profiles"]}
    assert listed.code == 0
    assert {"mine", "pixel-3"} <= names
    assert not {"broken", "gone"} & names
    assert len(plain["skipped"]) == listed.err.count("\n") == 2
    assert all(each in listed.err for each in ("broken.toml:3", "gone.toml"))


def test_a_bad_profile_does_not_stop_suggest(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    model = folder / "m.tflite"
    model.write_bytes(tiny_tflite())
    told = run(capsys, "profiles", "suggest", model)
    assert told.code == 0
    assert "mine: " in told.out
    assert "broken.toml:3" in told.err


def test_a_profile_folder_that_is_none_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("EDGEPACK_PROFILES", str(tmp_path / "file"))
    for words in (("profiles", "list"), ("profiles", "show", "pixel-3")):
        assert "EDGEPACK_PROFILES" in one_line(run(capsys, *words), 1)
    monkeypatch.setenv("EDGEPACK_PROFILES", str(tmp_path / "none"))  # not there yet
    assert run(capsys, "profiles", "show", "pixel-3").code == 0


@pytest.mark.parametrize("name", ["absent.toml", "gone.toml", "."])
def test_a_profile_file_that_cannot_be_read_is_no_verdict(
    capsys: pytest.CaptureFixture[str], folder: Path, name: str
) -> None:
    path = f"{folder}/{name}"
    assert path.removesuffix("/.") in one_line(run(capsys, "profiles", "check", path), 1)


def test_a_mistake_in_a_profile_file_is_a_verdict(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    told = run(capsys, "profiles", "check", folder / "broken.toml")
    assert told.code == 3
    assert "did you mean" in told.out


def test_profiles_check_takes_a_name_too(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert run(capsys, "profiles", "check", "pixel-3").code == 0
    assert run(capsys, "profiles", "check", "broken").code == 3
    assert "'pixel-3'" in one_line(run(capsys, "profiles", "check", "pixel3"), 2)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--name", "a b"),
        ("--name", "../up"),
        ("--name", "a\nb = 1"),
        ("--name", "x" * 65),
        ("--out", "Upper.toml"),
        ("--out", "here.txt"),
    ],
)
def test_a_probed_profile_can_be_loaded_by_its_name(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    value: str,
) -> None:
    monkeypatch.chdir(folder)
    one_line(run(capsys, "profiles", "probe", option, value), 2)
    assert not (folder / value).exists()
    assert run(capsys, "profiles", "probe", "--out", "here.toml").code == 0
    assert run(capsys, "profiles", "show", "here").code == 0


@pytest.mark.parametrize("words", [("profiles",), ("images",), ("android",), ()])
def test_a_group_alone_shows_its_help(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    told = run(capsys, *words)
    assert (told.code, told.err) == (0, "")
    assert "Usage: edgepack" in told.out
    assert "Commands:" in told.out
