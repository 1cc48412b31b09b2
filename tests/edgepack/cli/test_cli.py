"""Exit codes, one-line errors and --json of the commands that need no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from edgepack.cli.main import app, main
from edgepack.errors import InputError


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Return (exit code, stdout, stderr) of one command."""
    with pytest.raises(SystemExit) as end:
        main(list(words))
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_a_profile_that_does_not_exist_names_the_nearest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(b"x")
    code, _, err = run(capsys, "check", str(model), "--profile", "nucleo-l4r5z")
    assert code == 2
    assert err.count("\n") == 1
    assert "nucleo-l4r5zi" in err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        (b"", "empty file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "m.tflite"),
    ],
)
def test_what_is_no_model_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None, says: str
) -> None:
    model = tmp_path / "m.tflite"
    if content is not None:
        model.write_bytes(content)
    code, out, err = run(capsys, "check", str(model), "-p", "nucleo-l4r5zi")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert says in err


def test_an_error_is_an_object_too_when_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = str(tmp_path / "none.tflite")
    code, out, _ = run(capsys, "check", missing, "-p", "nucleo-l4r5zi", "--json")
    plain = json.loads(out)
    assert code == 1
    assert plain["schema"] == "edgepack.error/1"
    assert "none.tflite" in plain["error"]


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["check"],
        ["build", "m.h5"],
        ["build", "m.h5", "--data", "d.npz", "--profile", "nowhere"],
        ["build", "m.h5", "--data", "d.npz", "-p", "nucleo-l4r5zi", "--recipe", "quat"],
        ["build", "m.h5", "--data", "d.npz", "-p", "nucleo-l4r5zi", "--task", "guessing"],
        ["build", "m.h5", "--data", "d.npz", "-p", "nucleo-l4r5zi", "--evidence", "8"],
    ],
)
def test_wrong_usage_is_two_and_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_an_unwritable_output_shows_before_anything_is_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    words = ["build", "m.h5", "--data", "d.npz", "-p", "nucleo-l4r5zi"]
    code, _, err = run(capsys, *words, "--out", str(tmp_path / "file" / "out"))
    assert code == 1
    assert "cannot write here" in err


def test_a_bundle_that_is_none_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "x.edgepack"
    path.write_bytes(b"PK\x03\x04 but not much more")
    for command in ("validate", "report"):
        code, _, err = run(capsys, command, str(path))
        assert code == 1
        assert "not a bundle" in err


def commands(of: Any = None, path: str = "edgepack") -> Iterator[tuple[str, Any]]:
    """Yield every command of the tree with its words."""
    command = typer.main.get_command(app) if of is None else of
    yield path, command
    for name, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, f"{path} {name}")


def test_every_option_and_argument_has_help() -> None:
    bare = [
        f"{path}: {parameter.name}"
        for path, command in commands()
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert bare == []
    assert all(command.help for _, command in commands())


@pytest.mark.parametrize(
    ("recipe", "code"), [("absent.toml", 1), ("bad.toml", 1), ("nowhere", 2)]
)
def test_a_bad_file_is_one_and_a_bad_word_is_two(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe: str, code: int
) -> None:
    (tmp_path / "bad.toml").write_text('schema = 1\n[[stage]]\nkind = "proone"\n')
    name = str(tmp_path / recipe) if recipe.endswith(".toml") else recipe
    words = ["build", "m.h5", "--data", "d.npz", "-p"]
    got, out, err = run(capsys, *words, "pixel-3", "--recipe", name)
    assert (got, out, err.count("\n")) == (code, "", 1)
    got, out, err = run(capsys, *words, name)  # as a profile: the same rule
    assert (got, out, err.count("\n")) == (code, "", 1)


def test_debug_shows_where_it_happened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        main(["--debug", "check", str(tmp_path / "absent"), "-p", "pixel-3"])


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert out.startswith("edgepack ")
