"""A private, bounded copy of a model from elsewhere, so that what is checked is what loads.

The copy keeps a file that changes under us, a pipe that never ends and a link that leads
out of a folder away from everything that reads it. The digest is taken on the way.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.errors import ModelRefused, quote, refusal

MAX_MODEL_BYTES = 1024**3  # 268 million float32 weights: far above any device in the drawer
MAX_FOLDER_FILES = 10_000
_CHUNK_BYTES = 1024**2
_A_MODEL = "a Keras model (.keras, .h5 or a SavedModel folder)"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A private copy of one model.

    Attributes:
        path: the copy: a file, or a folder with the copied files of a SavedModel.
        source: where it came from, for messages.
        digest: sha256 of the file; of a folder, sha256 over its sorted relative names,
            sizes and contents.
        is_folder: whether ``path`` is a folder.
    """

    path: Path
    source: Path
    digest: str
    is_folder: bool


def take(source: Path, into: Path) -> Snapshot:
    """Return a copy of ``source`` below the empty folder ``into``.

    Raises:
        ModelRefused: missing, unreadable, empty, over 1 GiB, a pipe or device, a link loop,
            or a folder that is no SavedModel or links out of itself.
    """
    try:
        mode = source.stat().st_mode
    except OSError as fault:
        raise _unreadable(source, fault) from fault
    if stat.S_ISDIR(mode):
        return _take_folder(source, into)
    copy = into / "model"
    digest = hashlib.sha256()
    size = _copy(source, source, copy, digest.update, MAX_MODEL_BYTES)
    if size == 0:
        raise refusal(source, wanted=_A_MODEL, got="an empty file", do="save the model again")
    return Snapshot(copy, source, digest.hexdigest(), False)


def _take_folder(source: Path, into: Path) -> Snapshot:
    if not (source / "saved_model.pb").exists():
        also = " (saved_model.pbtxt is text)" if (source / "saved_model.pbtxt").exists() else ""
        raise refusal(
            source,
            wanted="a SavedModel folder with saved_model.pb in it",
            got=f"a folder without one{also}",
            do="name the folder that holds saved_model.pb, or a .keras or .h5 file",
        )
    whole = hashlib.sha256()
    left = MAX_MODEL_BYTES
    for name in sorted(_names(source)):
        content = hashlib.sha256()
        copy = into / "saved_model" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        size = _copy(source, source / name, copy, content.update, left)
        left -= size
        whole.update(
            f"{name}\0{size}\0{content.hexdigest()}\n".encode("utf-8", "surrogatepass")
        )
    return Snapshot(into / "saved_model", source, whole.hexdigest(), True)


def _names(folder: Path) -> Iterator[str]:
    """Yield the relative POSIX names of all files below; links must stay inside."""
    home = folder.resolve()
    for count, path in enumerate(_walk(folder, folder)):
        name = path.relative_to(folder).as_posix()
        if count >= MAX_FOLDER_FILES:
            raise refusal(
                folder,
                wanted=f"a SavedModel of at most {MAX_FOLDER_FILES:,} files",
                got="more",
                do="is this the model's own folder?",
            )
        try:
            inside = path.resolve(strict=True).is_relative_to(home)
        except (OSError, RuntimeError) as fault:  # RuntimeError: a link loop, Python 3.11
            raise _unreadable(path, fault) from fault
        if not inside:
            raise refusal(
                folder,
                wanted="a SavedModel whose files all lie in its folder",
                got=f"{quote(name)}, a link that leads out of it",
                do="copy it with `cp -rL` if you trust where it leads",
            )
        yield name


def _walk(folder: Path, root: Path) -> Iterator[Path]:
    def fail(fault: OSError) -> None:
        raise _unreadable(root, fault) from fault

    for here, folders, files in os.walk(folder, onerror=fail):
        yield from (Path(here) / name for name in files)
        # os.walk lists links to folders but does not enter them; no SavedModel has any
        links = [name for name in folders if (Path(here) / name).is_symlink()]
        if links:
            raise refusal(
                root,
                wanted="a SavedModel whose files all lie in its folder",
                got=f"{quote(links[0])}, a link to a folder",
                do="copy it with `cp -rL` if you trust where it leads",
            )


def _copy(
    model: Path, source: Path, copy: Path, digest: Callable[[bytes], object], ceiling: int
) -> int:
    """Copy one regular file of at most ``ceiling`` bytes and return its size."""
    size = 0
    try:
        # O_NONBLOCK: opening a pipe nobody writes to would wait for ever
        handle = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise refusal(
                    source,
                    wanted=_A_MODEL,
                    got="a pipe, socket or device",
                    do="write the model to a file first",
                )
            with copy.open("xb") as out:
                while chunk := file.read(_CHUNK_BYTES):
                    size += len(chunk)
                    if size > ceiling:
                        raise refusal(
                            model,
                            wanted=f"a model of at most {MAX_MODEL_BYTES:,} bytes",
                            got="more",
                            do="no device in the profiles holds a model this large",
                        )
                    digest(chunk)
                    out.write(chunk)
    except OSError as fault:
        raise _unreadable(source, fault) from fault
    return size


def _unreadable(path: Path, fault: Exception) -> ModelRefused:
    """Return the refusal for a path that the system will not read, or copy."""
    number = fault.errno if isinstance(fault, OSError) else errno.ELOOP
    got, do = {
        errno.ENOENT: ("no such file or folder", "check the path"),
        errno.ENOTDIR: ("no such file or folder", "check the path"),
        errno.EACCES: ("no permission to read it", "chmod u+r it, or run as its owner"),
        errno.EPERM: ("no permission to read it", "chmod u+r it, or run as its owner"),
        errno.ELOOP: ("a loop of symbolic links", "name the file itself"),
        errno.ENAMETOOLONG: ("a path longer than the system takes", "check the path"),
        errno.ENOSPC: ("no space for a working copy of it", "free space in TMPDIR"),
    }.get(number or 0, (quote(fault), "check the disk and the path"))
    return refusal(path, wanted=_A_MODEL, got=got, do=do)
