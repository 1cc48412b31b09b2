"""Plain arrays from .npy and .npz files of strangers, at no price but that of their bytes.

NumPy allocates what a header declares before it reads: a file of 200 bytes can ask for
terabytes, and an element of no bytes may be declared any number of times.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECE_BYTES = 1 << 20
_MOST_DIMENSIONS = 32


class NotPlainError(ValueError):
    """No array that may be read; says what was wanted and received."""


def read_npy(stream: IO[bytes], size_bytes: int) -> NDArray[Any]:
    """Return the array in ``stream``, writable; pickled objects in it never run.

    Args:
        size_bytes: of the whole file, header and values; what the header declares must
            fill it exactly.

    Raises:
        NotPlainError: objects, a damaged header, or another size than it declares.
    """
    import numpy as np

    shape, by_columns, dtype = _header(stream)
    if dtype.hasobject:
        raise NotPlainError("holds pickled objects, which are never run; save plain arrays")
    if not dtype.itemsize:
        raise NotPlainError(f"wanted elements of at least one byte, got dtype {dtype.str}")
    if len(shape) > _MOST_DIMENSIONS or not all(_is_size(size) for size in shape):
        raise NotPlainError(f"wanted a shape of whole sizes, got {str(shape)[:60]}")
    wanted = math.prod(shape) * dtype.itemsize
    held = size_bytes - stream.tell()
    if wanted != held:
        raise NotPlainError(
            f"{dtype.str} of {str(shape)[:60]} wants {wanted:,} B, the file holds {held:,}"
        )
    values = bytearray()
    while piece := stream.read(_PIECE_BYTES):
        values += piece
    if len(values) != held:
        raise NotPlainError(f"ends after {len(values):,} of {held:,} B; save it again")
    flat = np.frombuffer(values, dtype=dtype)
    return flat.reshape(shape[::-1]).T if by_columns else flat.reshape(shape)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, Any]:
    """Return (shape, whether the first index runs fastest, dtype)."""
    from numpy.lib import format as form

    try:
        version = form.read_magic(stream)
        if version == (1, 0):
            return form.read_array_header_1_0(stream)
        if version == (2, 0):
            return form.read_array_header_2_0(stream)
    except Exception as error:
        # The header is a Python literal: whatever its parser raises, the file is at fault.
        line = str(error).strip().partition("\n")[0][:80]
        raise NotPlainError(f"a damaged header ({type(error).__name__}: {line})") from error
    # 3.0 is only for fields with names that are not Latin-1: no plain array has fields.
    raise NotPlainError(f"wanted .npy version 1.0 or 2.0, got {version[0]}.{version[1]}")


def _is_size(size: object) -> bool:
    return type(size) is int and 0 <= size < 2**63  # a bool is no size


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz by name, each as ``read_npy`` reads it.

    Raises:
        NotPlainError: a member that is no plain array, named.
        zipfile.BadZipFile, zlib.error, OSError, …: whatever a damaged zip raises.
    """
    found: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name in found:
                raise NotPlainError(f"{name}: is there twice; save it once")
            with archive.open(entry) as stream:
                try:
                    found[name] = read_npy(stream, entry.file_size)
                except NotPlainError as error:
                    raise NotPlainError(f"{name}: {error}") from error
    return found
