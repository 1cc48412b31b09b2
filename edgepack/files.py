"""Reading and writing: a file is read with a ceiling and appears whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgepack.errors import InputError, OutputError, UsageError

#: What went wrong -> (in words, what to do).
_WHY = {
    errno.ENOSPC: ("no space left", "free some or choose"),
    errno.EDQUOT: ("the disk quota is used up", "free some or choose"),
    errno.EFBIG: ("the file would be larger than is allowed here (ulimit -f)", "choose"),
    errno.EACCES: ("permission denied", "choose"),
    errno.EPERM: ("not permitted", "choose"),
    errno.EROFS: ("the file system is read-only", "choose"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose"),
    errno.EEXIST: ("a file is in the way", "choose"),
    errno.EISDIR: ("a folder is in the way", "choose"),
    errno.EBUSY: ("a folder is in the way", "choose"),
    errno.ENAMETOOLONG: ("the name is too long for this file system", "choose"),
}


def sha256(data: bytes | memoryview) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def write_failure(error: Exception, where: str = "another place with --out") -> str:
    """Return what went wrong and what to do; ``where`` is what can be chosen instead."""
    known = _WHY.get(getattr(error, "errno", None) or 0)
    says, remedy = known or (getattr(error, "strerror", None) or str(error), "choose")
    return f"{says}; {remedy} {where}"


def check_writable(folder: Path) -> None:
    """Prove that a file can be written in ``folder``, or say why not; leaves no trace.

    Asked before hours of training, so that a bad ``--out`` costs nothing. What is absent of
    the folder is made for the trial and removed again: who is interrupted leaves nothing.

    Raises:
        OutputError: it cannot be made or written to.
    """
    made: list[Path] = []
    try:
        for part in reversed((folder, *folder.parents)):
            if not part.exists():
                part.mkdir()
                made.append(part)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise OutputError(f"{folder}: cannot write here: {write_failure(error)}") from error
    finally:
        for part in reversed(made):
            with suppress(OSError):  # another build has put something in meanwhile
                part.rmdir()


def write_whole(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``, whole or not at all; an older file stays until then.

    Raises:
        OutputError: no space, no permission, or no such folder.
    """
    partial: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)  # noqa: PTH101 - mkstemp made it private; a product is not
        Path(partial).replace(path)
        partial = None
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot write: {write_failure(error)}") from error
    finally:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)


def read_whole(path: Path, ceiling_bytes: int, what: str) -> bytes:
    """Return the bytes of a regular file no larger than ``ceiling_bytes``.

    Raises:
        InputError: missing, not a file, unreadable, empty or too large.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: wanted {what}, got a folder")
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path}: wanted {what}, got a device or pipe")
        if size == 0:
            raise InputError(f"{path}: wanted {what}, got an empty file")
        if size > ceiling_bytes:
            raise InputError(
                f"{path}: {size:,} B; {what} of more than {ceiling_bytes:,} B is refused"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; wanted {what}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot read {what}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{str(path)!r}: cannot read {what}: {error}") from error


def digest_of(*parts: Any) -> str:
    """Return one SHA-256 over ``parts``, which are JSON values; order matters."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(text.encode())


def digest_of_tree(path: Path) -> str:
    """Return one SHA-256 of a file, or of the names and contents below a folder.

    Raises:
        InputError: nothing there, or unreadable.
    """
    try:
        if path.is_file():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        if not path.is_dir():
            raise InputError(f"{path}: no such file")
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return digest_of(*((str(p.relative_to(path)), digest_of_tree(p)) for p in files))
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror or error}") from error


def refuse_output_over_input(option: str, out: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output that would destroy what is read.

    Raises:
        UsageError: ``out`` is one of ``inputs``, under whatever name, or lies inside one.
    """
    real = Path(os.path.realpath(out))
    for each in inputs:
        source = Path(os.path.realpath(each))
        if real == source or source in real.parents or _same(out, each):
            raise UsageError(f"{option} {out}: this is read as an input; name another place")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)  # a hard link is the same file under another name
    except OSError:
        return False  # one of them is not there
