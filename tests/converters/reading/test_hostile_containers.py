"""A zip or HDF5 file holds one whole model, and nothing that leads out of it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("h5py", reason="the train extra is not installed")

import h5py

from converters.reading import container_checks, hdf5_check, hdf5_probe
from tests.converters.hostile_files import (
    keras_h5,
    keras_zip,
    model,
    refused,
    weights_file,
)

pytestmark = pytest.mark.tools


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


def test_json_in_hdf5_is_checked_like_any_other(tmp_path: Path) -> None:
    refused(keras_h5(tmp_path / "m.h5", "{"), "model_config that is no JSON")
    deep = json.dumps(model()).replace(
        '"dtype": "float32"', '"dtype": ' + "[" * 300 + "]" * 300
    )
    refused(keras_h5(tmp_path / "deep.h5", deep), "nested deeper than 200")
