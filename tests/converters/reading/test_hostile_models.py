"""Whatever is not a model is named for what it is, in one line, before TensorFlow loads."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h5py", reason="the train extra is not installed")

from converters.errors import ModelRefused
from converters.reading import snapshot
from converters.reading.loading import load
from tests.converters.hostile_files import keras_h5, layer, model, refused


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("empty.h5", b"", "an empty file"),
        ("photo.keras", b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG image"),
        ("notes.h5", b"hello, world\n", "got text"),
        ("model.json", b'{"class_name": "Functional"}', "an architecture without weights"),
        ("model.pkl", pickle.dumps({"a": 1}), "a Python pickle, which runs code"),
        ("model.tflite", b"\x1c\0\0\0TFL3" + bytes(99), "use `edgepack check`"),
        ("model.keras", b"<!DOCTYPE html><html>", "a web page"),
        ("big.h5", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("model.h5.gz", b"\x1f\x8b\x08" + bytes(99), "a gzip archive"),
        ("x.npy", b"\x93NUMPY" + bytes(99), "a numpy array"),
        ("net.onnx", b"\x08\x07\x12\x07pytorch", "a .onnx file of another framework"),
        ("frozen.pb", b"\x0a\x10", "a lone .pb graph"),
        ("noise.h5", bytes(range(200, 256)) * 9, "bytes of no known kind"),
    ],
)
def test_other_files_are_named(tmp_path: Path, name: str, content: bytes, part: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, part)


def test_a_cut_off_text_is_still_text(tmp_path: Path) -> None:
    (tmp_path / "notes.h5").write_text("ä" * 4096)  # 4096 bytes end inside a character
    refused(tmp_path / "notes.h5", "got text")


def test_missing_and_dangling_paths(tmp_path: Path) -> None:
    refused(tmp_path / "absent.keras", "no such file", "check the path")
    (tmp_path / "dangling.keras").symlink_to("nowhere")
    refused(tmp_path / "dangling.keras", "no such file")
    (tmp_path / "a.h5").symlink_to("b.h5")
    (tmp_path / "b.h5").symlink_to("a.h5")
    refused(tmp_path / "a.h5", "a loop of symbolic links")


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "model.h5").symlink_to("notes.txt")
    refused(tmp_path / "model.h5", "got text")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    refused(tmp_path / "pipe.h5", "a pipe, socket or device")


@pytest.mark.parametrize(
    ("number", "part"), [(13, "no permission"), (28, "free space in TMPDIR"), (5, "the disk")]
)
def test_what_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, part: str
) -> None:
    (tmp_path / "model.h5").write_bytes(b"x")

    def fail(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(snapshot.os, "open", fail)
    with pytest.raises(ModelRefused, match=part):
        snapshot.take(tmp_path / "model.h5", tmp_path)


def test_no_room_for_a_working_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keras_h5(tmp_path / "m.h5", model())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    refused(path, "room for a working copy", "gone", "set TMPDIR")
    monkeypatch.undo()

    def full(*_: Any, **__: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    refused(path, "room for a working copy", "No space left", "set TMPDIR")


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
def test_size_limit_is_inclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, fits: bool
) -> None:
    monkeypatch.setattr(snapshot, "MAX_MODEL_BYTES", 100)
    (tmp_path / "notes.txt").write_bytes(b"a" * size)
    refused(tmp_path / "notes.txt", "got text" if fits else "a model of at most 100 bytes")


def test_folders_that_are_no_saved_model(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    refused(tmp_path / "photos", "a folder without one")
    (tmp_path / "photos" / "saved_model.pbtxt").touch()
    refused(tmp_path / "photos", "saved_model.pbtxt is text")


@pytest.mark.parametrize("where", ["file", "folder", "loop"])
def test_a_folder_may_not_lead_out_of_itself(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"x")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    if where == "file":
        (folder / "variables" / "variables.index").symlink_to(secret / "key")
    elif where == "folder":
        (folder / "assets").symlink_to(secret)
    else:
        (folder / "loop").symlink_to("loop")
    with pytest.raises(ModelRefused, match=r"a link|a loop of symbolic links"):
        load(folder)


@pytest.mark.tools
def test_refusals_come_without_tensorflow(tmp_path: Path) -> None:
    keras_h5(tmp_path / "m.h5", model(layer("Lambda", "evil", function=["x"])))
    (tmp_path / "n.txt").write_text("x")
    script = (
        "import sys, pathlib\n"
        "from converters.reading.loading import load\n"
        "for name in ('m.h5', 'n.txt'):\n"
        "    try:\n"
        "        load(pathlib.Path(sys.argv[1]) / name)\n"
        "    except Exception as fault:\n"
        "        assert type(fault).__name__ == 'ModelRefused', fault\n"
        "assert not {'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)\n"
    )
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=root)


@pytest.mark.tools
def test_the_message_quotes_no_terminal_codes(tmp_path: Path) -> None:
    evil = layer("Lambda", "\x1b[31mred\n" + "x" * 10_000, function=["x"])
    assert "?[31mred?" in refused(keras_h5(tmp_path / "m.h5", model(evil)), "Lambda")
