"""What kind of model a file is, from its bytes alone, and what a ``.keras`` zip holds.

Suffixes are not trusted and TensorFlow is not imported: a file that is no model is named
for what it is within milliseconds.
"""

from __future__ import annotations

import errno
import json
import stat
import zipfile
import zlib
from codecs import getincrementaldecoder
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from converters.errors import ModelRefused, quote, refusal
from converters.reading.snapshot import MAX_MODEL_BYTES

MAX_CONFIG_BYTES = 16 * 1024**2  # EfficientNetB7, 813 layers: 0.5 MB
MAX_ZIP_RATIO = 200  # of declared to stored size: weights at 99 % zeros reach about 90
_RATIO_MATTERS_BYTES = 1024**2
_KERAS_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
_SAVE_AGAIN = "save it again with model.save('model.keras')"
_WANTED = "a Keras model (.keras, .h5 or a SavedModel folder)"

# Faults of the disk we unpack to; any other comes from an offset that leads nowhere.
_OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
Form = Literal["zip", "hdf5"]

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a RIFF file (WAV, WebP or AVI)"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x80", "a Python pickle, which runs code when it is opened"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
)


@dataclass(frozen=True, slots=True)
class KerasZip:
    """The three members of a ``.keras`` file.

    Attributes:
        config: the parsed ``config.json``, not yet checked.
        version: the Keras that wrote it, such as ``3.15.1``.
        weights: ``model.weights.h5``, unpacked beside the copy.
    """

    config: Any
    version: str
    weights: Path


def sniff(copy: Path, source: Path) -> Form:
    """Return which container the bytes are.

    Raises:
        ModelRefused: anything else, named for what it is.
    """
    with copy.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head[4:8] == b"TFL3":
        raise refusal(
            source,
            wanted=_WANTED,
            got="a .tflite, which is already converted",
            do="use `edgepack check` on it, or `edgepack bundle`, which takes it as it is",
        )
    raise refusal(source, wanted=_WANTED, got=_name_of(head, source), do=_SAVE_AGAIN)


def _name_of(head: bytes, source: Path) -> str:
    """Return what the first bytes, or failing them the suffix, say the file is."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if source.suffix == ".pb":
        return "a lone .pb graph; a SavedModel is named by its folder"
    if source.suffix in {".onnx", ".pt", ".pth", ".mlmodel", ".safetensors"}:
        return f"a {source.suffix} file of another framework"
    try:
        # incremental: the head may end in the middle of a character
        return _name_of_text(getincrementaldecoder("utf-8")().decode(head).lstrip())
    except UnicodeDecodeError:
        return "bytes of no known kind (damaged at the start?)"


def _name_of_text(text: str) -> str:
    if text.startswith("version https://git-lfs"):
        return "a Git LFS pointer; fetch the file itself with `git lfs pull`"
    if text[:15].lower().startswith(("<!doctype html", "<html")):
        return "a web page; the download went wrong"
    if text.startswith("{") and '"class_name"' in text:
        return "an architecture without weights (model.to_json())"
    return "text"


def open_keras_zip(copy: Path, source: Path, into: Path) -> KerasZip:
    """Return the members of a ``.keras`` zip, after its directory and checksums were checked.

    Raises:
        ModelRefused: another zip, damaged, encrypted, a member that leads out of the
            archive, or sizes over the ceilings above.
    """
    try:
        with zipfile.ZipFile(copy) as archive:
            members = _members(archive, source)
            config = _json(archive, members["config.json"], source)
            metadata = _json(archive, members["metadata.json"], source)
            weights = into / "model.weights.h5"
            with archive.open(members["model.weights.h5"]) as packed, weights.open("xb") as out:
                while chunk := packed.read(1024**2):
                    out.write(chunk)
    except ModelRefused:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as fault:
        raise _damaged(source, quote(fault)) from fault
    except (RuntimeError, OSError, OverflowError) as fault:
        if isinstance(fault, OSError) and fault.errno in _OUR_DISK:
            raise
        raise _damaged(source, quote(fault)) from fault
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    if not isinstance(version, str):
        raise _damaged(source, "metadata.json without keras_version")
    return KerasZip(config, version, weights)


def _members(archive: zipfile.ZipFile, source: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the three members by name; nothing else is ever unpacked."""
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    missing = [name for name in _KERAS_MEMBERS if name not in names]
    if missing:
        raise refusal(
            source,
            wanted="a .keras zip with config.json, metadata.json and model.weights.h5",
            got=_other_zip(names, missing),
            do=_SAVE_AGAIN,
        )
    if len(set(names)) != len(names):
        raise _damaged(source, "a member name that occurs twice")
    for entry in entries:
        _check_member(entry, source)
    total = sum(entry.file_size for entry in entries)
    if total > MAX_MODEL_BYTES:
        raise refusal(
            source,
            wanted=f"a model of at most {MAX_MODEL_BYTES:,} bytes unpacked",
            got=f"{total:,} bytes declared",
            do="no device in the profiles holds a model this large",
        )
    return {entry.filename: entry for entry in entries if entry.filename in _KERAS_MEMBERS}


def _check_member(entry: zipfile.ZipInfo, source: Path) -> None:
    name = entry.filename
    parts = name.replace("\\", "/").split("/")
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    if name.startswith("/") or ".." in parts or ":" in parts[0] or is_link:
        kind = "a link" if is_link else "a path"
        raise refusal(
            source,
            wanted="an archive whose members stay inside it",
            got=f"{quote(name)}, {kind} that can lead out of it",
            do="do not trust this file",
        )
    if entry.flag_bits & 1:
        raise refusal(
            source, wanted="a plain .keras zip", got="an encrypted member", do=_SAVE_AGAIN
        )
    stored = max(entry.compress_size, 1)
    if entry.file_size > _RATIO_MATTERS_BYTES and entry.file_size > MAX_ZIP_RATIO * stored:
        raise refusal(
            source,
            wanted=f"members that unpack to at most {MAX_ZIP_RATIO} times their size",
            got=f"{quote(name)}: {stored:,} bytes that unpack to {entry.file_size:,}",
            do="do not trust this file",
        )


def _json(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, source: Path) -> Any:
    if entry.file_size > MAX_CONFIG_BYTES:
        raise _damaged(source, f"{entry.filename} of {entry.file_size:,} bytes")
    return parse_json(archive.read(entry), entry.filename, source)


def parse_json(text: str | bytes, name: str, source: Path) -> Any:
    """Return what the JSON ``text`` says.

    Raises:
        ModelRefused: not UTF-8, not JSON, over 16 MiB, or nested beyond Python's stack.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise _damaged(source, f"{name} of {len(text):,} bytes")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise _damaged(source, f"{name} that is no JSON ({quote(fault)})") from fault


def _other_zip(names: list[str], missing: list[str]) -> str:
    if any(name.endswith("data.pkl") for name in names):
        return "a PyTorch file"
    if any(name.endswith("saved_model.pb") for name in names):
        return "a zipped SavedModel; unpack it and name its folder"
    if "manifest.json" in names and any(name.endswith(".tflite") for name in names):
        return "an edgepack bundle (see `edgepack validate`)"
    if names and all(name.endswith(".npy") for name in names):
        return "a numpy .npz archive"
    return f"a zip without {', '.join(missing)}"


def _damaged(source: Path, what: str) -> ModelRefused:
    return refusal(
        source,
        wanted="a whole, undamaged .keras file",
        got=what,
        do=f"copy it again, or {_SAVE_AGAIN}",
    )
