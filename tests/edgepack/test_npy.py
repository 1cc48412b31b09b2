"""An array of a stranger costs no more than its bytes, whatever its header declares."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepack.npy import NotPlainError, read_npy, read_npz


def read(data: bytes) -> np.ndarray[Any, Any]:
    return read_npy(io.BytesIO(data), len(data))


def saved(array: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


def declared(shape: tuple[Any, ...], descr: str = "|i1", values: bytes = b"") -> bytes:
    """Return an .npy whose header says ``shape``, whatever follows it."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + values


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.int8).reshape(2, 3, 4),
        np.asfortranarray(np.arange(24, dtype=np.float64).reshape(4, 6)),
        np.float32(3.5),
        np.zeros((0, 3), np.int64),
        np.array(["healthy", "ill"]),
        np.arange(5, dtype=">i4"),
    ],
)
def test_what_numpy_saved_comes_back_writable(array: Any) -> None:
    back = read(saved(array))
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)
    assert back.flags.writeable


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (declared((2**50,)), "wants 1,125,899,906,842,624 B, the file holds 0"),
        (declared((2**62, 2**62)), "the file holds 0"),
        (declared((10**400,)), "a shape of whole sizes"),
        (declared((2**60,), "|S0"), r"at least one byte, got dtype \|S0"),
        (declared((-1,)), "a shape of whole sizes"),
        (declared((True,), values=b"x"), "a shape of whole sizes"),
        (declared((1,) * 40, values=b"x"), "a shape of whole sizes"),
        (declared((3,), "|O"), "pickled objects"),
        (declared((3,), "nonsense"), "a damaged header"),
        (declared((3,), values=b"ab"), "wants 3 B, the file holds 2"),
        (declared((3,), values=b"abcd"), "wants 3 B, the file holds 4"),
        (b"\x93NUMPY\x01\x00\x20\x00" + b"(" * 32, "a damaged header"),
        (b"\x93NUMPY\x03\x00" + declared((1,))[8:], "version 1.0 or 2.0, got 3.0"),
        (b"PK", "a damaged header"),
        (b"", "a damaged header"),
    ],
)
def test_a_header_is_not_believed(data: bytes, says: str) -> None:
    with pytest.raises(NotPlainError, match=says) as caught:
        read(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_stream_shorter_than_its_zip_says_is_noticed() -> None:
    data = declared((2**40,), values=b"abc")
    with pytest.raises(NotPlainError, match=r"ends after 3 of 1,099,511,627,776 B"):
        read_npy(io.BytesIO(data), len(data) - 3 + 2**40)


def test_the_wrong_array_of_an_npz_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.npy", saved(np.arange(3)))
        archive.writestr("bad.npy", declared((2**50,)))
    with pytest.raises(NotPlainError, match="bad: "):
        read_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.npy", saved(np.arange(3)))
        archive.writestr("one", saved(np.arange(4)))
    with pytest.raises(NotPlainError, match="one: is there twice"):
        read_npz(path)
