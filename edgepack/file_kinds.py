"""Files given to the wrong command: what each really is, and which command takes it."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Literal

from edgepack.errors import InputError
from edgepack.files import read_whole

Kind = Literal["tflite", "bundle", "keras"]
TAKES = {
    "tflite": "a .tflite: edgepack check {path} --profile P judges it, and edgepack bundle"
    " {path} --data D --profile P bundles it",
    "bundle": "a bundle: edgepack validate {path} judges it",
    "keras": "a Keras model: edgepack build {path} --data D --profile P makes a .tflite of it",
}

TFLITE_CEILING_BYTES = 2 * 1024**3


def kind_of(path: Path) -> Kind | None:
    """Return what lies at ``path`` by its first bytes, whatever its name; None if unknown."""
    try:
        if (path / "saved_model.pb").is_file():
            return "keras"
        if not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(8)
        return _zipped(path) if head[:4] == b"PK\x03\x04" else _plain(head)
    except OSError:
        return None  # who reads it whole says why it cannot be read


def _plain(head: bytes) -> Kind | None:
    if head[4:8] == b"TFL3":
        return "tflite"
    return "keras" if head == b"\x89HDF\r\n\x1a\n" else None


def _zipped(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error):
        return None
    if {"manifest.json", "model.tflite"} <= names:
        return "bundle"
    return "keras" if "config.json" in names else None


def refuse_other_kinds(path: Path, kind: Kind) -> None:
    """Refuse a file that is plainly for another command, and name that command.

    Raises:
        InputError: it is a model or a bundle, but not of this kind.
    """
    found = kind_of(path)
    if found is not None and found != kind:
        raise InputError(f"{path}: this is {TAKES[found].format(path=path)}")


def read_tflite(path: Path) -> bytes:
    """Return the bytes of a ``.tflite`` file; nothing in them is checked yet.

    Raises:
        InputError: unreadable, larger than 2 GiB, or another kind of file.
    """
    refuse_other_kinds(path, "tflite")
    return read_whole(path, TFLITE_CEILING_BYTES, "a .tflite model")
