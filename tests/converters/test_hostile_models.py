"""Whatever is not a model is named for what it is, in one line, before TensorFlow loads."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("h5py", reason="the train extra is not installed")

import h5py

from converters import container_checks, hdf5_check, hdf5_probe, snapshot
from converters.errors import ModelRefused
from converters.loading import load
from tests.converters.hostile_files import keras_h5, keras_zip, layer, model, weights_file


def refused(path: Path, *parts: str, allow_code: bool = False) -> str:
    """Return the message, after checking that it is one clear line with ``parts`` in it."""
    with pytest.raises(ModelRefused) as caught:
        load(path, allow_code=allow_code)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 700
    assert path.name in said
    for word in ("wanted ", "; got ", "; "):
        assert word in said
    for part in parts:
        assert part in said, said
    return said


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


def test_other_zips_are_named(tmp_path: Path) -> None:
    for member, part in [
        ("archive/data.pkl", "a PyTorch file"),
        ("m/saved_model.pb", "a zipped SavedModel"),
        ("x_train.npy", "a numpy .npz archive"),
        ("readme.txt", "a zip without config.json, metadata.json, model.weights.h5"),
    ]:
        path = tmp_path / "other.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, b"x")
        refused(path, part)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", b"{}")
        archive.writestr("model.tflite", b"x")
    refused(path, "an edgepack bundle")


@pytest.mark.parametrize("name", ["../up.py", "/etc/up", "a/../../up", "C:\\up", "a\\..\\up"])
def test_members_may_not_lead_out_of_the_archive(tmp_path: Path, name: str) -> None:
    path = keras_zip(tmp_path / "m.keras", model())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    refused(path, "that can lead out of it")


def test_a_member_may_not_be_a_link(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "m.keras", model())
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("assets/words.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    refused(path, "a link that can lead out")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice_is_damage(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "m.keras", model())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", b"{}")
    refused(path, "a member name that occurs twice")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = keras_zip(tmp_path / "bomb.keras", model())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(8 * 1024**2))
    refused(path, "members that unpack to at most 200 times", "assets/zeros")


def test_unpacked_size_limit_is_inclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = keras_zip(tmp_path / "m.keras", {"not": "a model"})
    with zipfile.ZipFile(path) as archive:
        total = sum(entry.file_size for entry in archive.infolist())
    for limit, part in [(total, "describes no model"), (total - 1, "bytes unpacked")]:
        monkeypatch.setattr(container_checks, "MAX_MODEL_BYTES", limit)
        refused(path, part)


@pytest.mark.parametrize(
    ("members", "part"),
    [
        ({"config__json": b"{"}, "config.json that is no JSON"),
        ({"config__json": b"[" * 200_000}, "config.json that is no JSON"),
        ({"config__json": b"\xff\xfe"}, "config.json that is no JSON"),
        ({"config__json": b"[]"}, "describes no model"),
        ({"metadata__json": b"{}"}, "without keras_version"),
        ({"metadata__json": b'{"keras_version": "1.2"}'}, "one of Keras 1.2"),
        ({"metadata__json": b'{"keras_version": "9\\u001b[2J"}'}, "one of Keras 9?[2J"),
        ({"model__weights__h5": b"junk"}, "a whole, undamaged HDF5 file"),
    ],
)
def test_damaged_members_are_named(tmp_path: Path, members: Any, part: str) -> None:
    refused(keras_zip(tmp_path / "m.keras", model(), **members), part)


@pytest.mark.parametrize(
    ("write", "part"),
    [
        (
            lambda f, other: f.__setitem__("w", h5py.ExternalLink(other, "/key")),
            "ExternalLink to",
        ),
        (lambda f, other: f.__setitem__("w", h5py.SoftLink("/nowhere")), "a SoftLink"),
        (
            lambda f, other: f.create_dataset(
                "w", (4,), "f4", external=[(other, 0, h5py.h5f.UNLIMITED)]
            ),
            "whose data lie in another file",
        ),
        (
            lambda f, other: f.create_virtual_dataset("w", _virtual(other)),
            "a virtual dataset over other files",
        ),
        (lambda f, other: f.create_dataset("w", (10**11,), "f4", chunks=(1024,)), "declared"),
        (lambda f, other: f.create_dataset("w", data=np.void(b"abc")), "which no weight has"),
        (lambda f, other: f.create_group("/".join("g" * 80)), "groups nested deeper than 64"),
    ],
    ids=["external link", "soft link", "external data", "virtual", "huge", "opaque", "deep"],
)
def test_an_hdf5_file_holds_its_own_weights_and_nothing_else(
    tmp_path: Path, write: Callable[[Any, str], None], part: str
) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["key"] = np.arange(4, dtype=np.float32)
    path = keras_h5(tmp_path / "m.h5", model())
    with h5py.File(path, "a") as file:
        write(file["model_weights"].create_group("dense_9"), str(secret))
    refused(path, part, "do not trust this file" if part != "declared" else "HDF5")


def _virtual(other: str) -> Any:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(other, "key", (4,))
    return layout


def test_a_group_that_holds_itself_ends(tmp_path: Path) -> None:
    path = keras_h5(tmp_path / "m.h5", {"not": "a model"})
    with h5py.File(path, "a") as file:
        file["model_weights/dense/again"] = file["model_weights"]
    refused(path, "describes no model")


def test_weights_alone_are_told_from_a_whole_model(tmp_path: Path) -> None:
    refused(weights_file(tmp_path / "m.weights.h5"), "weights without their architecture")
    with h5py.File(tmp_path / "old.h5", "w") as file:  # Keras 2: model.save_weights
        file.attrs["backend"] = "tensorflow"
    refused(tmp_path / "old.h5", "weights without their architecture")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["temperature"] = np.zeros(9)
    refused(tmp_path / "data.h5", "HDF5 without a model")


@pytest.mark.parametrize(
    ("script", "part"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "library (SIGSEGV)"),
        ("import time; time.sleep(60)", "still unread after"),
        ("raise MemoryError('no room')", "MemoryError: no room"),
    ],
)
def test_a_file_that_breaks_the_hdf5_library_breaks_only_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, part: str
) -> None:
    (tmp_path / "probe.py").write_text(script)
    monkeypatch.setattr(hdf5_probe, "__file__", str(tmp_path / "probe.py"))
    monkeypatch.setattr(hdf5_check, "TIMEOUT_SECONDS", 1)
    refused(keras_h5(tmp_path / "m.h5", model()), part)


def test_a_digest_is_of_the_float32_values() -> None:
    values = np.array([0.5, -1.25, 3.0])
    same = {hdf5_probe.digest(values.astype(t)) for t in (np.float16, np.float32, np.float64)}
    assert len(same) == 1
    assert hdf5_probe.digest(values + 1) not in same


def test_refusals_come_without_tensorflow(tmp_path: Path) -> None:
    keras_h5(tmp_path / "m.h5", model(layer("Lambda", "evil", function=["x"])))
    (tmp_path / "n.txt").write_text("x")
    script = (
        "import sys, pathlib\n"
        "from converters.loading import load\n"
        "for name in ('m.h5', 'n.txt'):\n"
        "    try:\n"
        "        load(pathlib.Path(sys.argv[1]) / name)\n"
        "    except Exception as fault:\n"
        "        assert type(fault).__name__ == 'ModelRefused', fault\n"
        "assert not {'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)\n"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=root)


def test_the_message_quotes_no_terminal_codes(tmp_path: Path) -> None:
    evil = layer("Lambda", "\x1b[31mred\n" + "x" * 10_000, function=["x"])
    assert "?[31mred?" in refused(keras_h5(tmp_path / "m.h5", model(evil)), "Lambda")


def test_json_in_hdf5_is_checked_like_any_other(tmp_path: Path) -> None:
    refused(keras_h5(tmp_path / "m.h5", "{"), "model_config that is no JSON")
    deep = json.dumps(model()).replace(
        '"dtype": "float32"', '"dtype": ' + "[" * 300 + "]" * 300
    )
    refused(keras_h5(tmp_path / "deep.h5", deep), "nested deeper than 200")
