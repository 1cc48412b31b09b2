"""Flatbuffer tables read with every offset checked before it is followed.

The generated accessors trust their file: one flipped bit reads outside it, or loops. Here
each read is checked against the file's own bounds, alignment is what the C++ verifier asks,
and the total work is bounded by the file's size, so shared offsets cannot be multiplied
into hours. Format: https://flatbuffers.dev/internals.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal

from edgepack.errors import InputError

Scalar = Literal["B", "b", "H", "h", "I", "i", "Q", "q", "f", "d"]
#: Far above any model for these devices; what lists more is an attack.
MOST_PARTS = 100_000
_STRUCTS = {code: struct.Struct("<" + code) for code in "BbHhIiQqfd"}


class FlatFile:
    """The bytes of one flatbuffer, with the work left that its size pays for.

    Raises:
        InputError: from every method, when an offset, a length or the work is out of bounds.
    """

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.size = len(data)
        self._work_left = 8 * self.size + 65_536

    def scalar(self, code: Scalar, at: int, what: str) -> int | float:
        """Return the little-endian number at a byte position."""
        form = _STRUCTS[code]
        if at < 0 or at + form.size > self.size:
            raise self.broken(what, f"{form.size} bytes at {at}", f"a file of {self.size}")
        number: int | float = form.unpack_from(self.data, at)[0]
        return number

    def whole(self, code: Scalar, at: int, what: str) -> int:
        """Return the whole number at a byte position."""
        return int(self.scalar(code, at, what))

    def spend(self, work: int, what: str) -> None:
        """Count work, so that a small file cannot ask for a large amount of it."""
        self._work_left -= work
        if self._work_left < 0:
            raise self.broken(what, "parts read once", "parts shared without end")

    def follow(self, at: int, what: str) -> int:
        """Return the position that the unsigned offset stored at ``at`` points to."""
        target = at + self.whole("I", at, what)
        if target == at or target + 4 > self.size or target % 4:
            raise self.broken(what, "an offset into the file", f"{target - at} at byte {at}")
        return target

    def broken(self, what: str, wanted: str, got: str) -> InputError:
        """Return the one line that a damaged place raises."""
        return InputError(
            f".tflite damaged at {what}: wanted {wanted}, got {got}; fetch or convert it again"
        )


class Table:
    """One table of a flatbuffer; absent fields come back as the default given."""

    __slots__ = ("_fields", "_file", "_pos", "_room", "what")

    def __init__(self, file: FlatFile, pos: int, what: str) -> None:
        file.spend(1, what)
        vtable = pos - file.whole("i", pos, what)
        if vtable < 0 or vtable % 2 or pos % 4:
            raise file.broken(what, "a table", f"a vtable at byte {vtable}")
        length = file.whole("H", vtable, what)
        room = file.whole("H", vtable + 2, what)
        if length < 4 or length % 2 or vtable + length > file.size or pos + room > file.size:
            raise file.broken(
                what, "a table inside the file", f"{length}/{room} bytes at {pos}"
            )
        self._fields = struct.unpack_from(f"<{(length - 4) // 2}H", file.data, vtable + 4)
        self._file, self._pos, self._room, self.what = file, pos, room, what

    def _at(self, slot: int, width: int) -> int | None:
        offset = self._fields[slot] if slot < len(self._fields) else 0
        if offset == 0:
            return None
        if offset < 4 or offset + width > self._room or (self._pos + offset) % width:
            raise self._file.broken(self.what, f"field {slot} in its table", f"offset {offset}")
        return self._pos + offset

    def has(self, slot: int) -> bool:
        """Return whether the field is present."""
        return slot < len(self._fields) and self._fields[slot] != 0

    def number(self, slot: int, code: Scalar, default: int = 0) -> int:
        """Return a whole number."""
        at = self._at(slot, _STRUCTS[code].size)
        return default if at is None else self._file.whole(code, at, self.what)

    def real(self, slot: int, default: float = 0.0) -> float:
        """Return a 32-bit float."""
        at = self._at(slot, 4)
        return default if at is None else float(self._file.scalar("f", at, self.what))

    def table(self, slot: int, what: str) -> Table | None:
        """Return a nested table, or None where it is absent."""
        at = self._at(slot, 4)
        return None if at is None else Table(self._file, self._file.follow(at, what), what)

    def _vector(self, slot: int, width: int, what: str) -> tuple[int, int]:
        at = self._at(slot, 4)
        if at is None:
            return 0, 0
        start = self._file.follow(at, what)
        count = self._file.whole("I", start, what)
        if start + 4 + count * width > self._file.size:
            raise self._file.broken(what, f"{count} items of {width} bytes", "the file's end")
        return start + 4, count

    def span(self, slot: int, what: str) -> tuple[int, int]:
        """Return the first and last byte position of a byte vector; (0, 0) where absent."""
        start, count = self._vector(slot, 1, what)
        return start, start + count

    def raw(self, slot: int, what: str) -> memoryview:
        """Return the bytes of a byte vector, uncopied."""
        start, count = self._vector(slot, 1, what)
        return self._file.data[start : start + count]

    def text(self, slot: int, what: str) -> str:
        """Return a string; bytes that are no UTF-8 become replacement marks."""
        raw = self.raw(slot, what)
        self._file.spend(len(raw), what)
        return bytes(raw).decode("utf-8", "replace")

    def numbers(self, slot: int, code: Scalar, what: str, most: int) -> tuple[int, ...]:
        """Return a vector of whole numbers of at most ``most`` items."""
        return tuple(int(item) for item in self.reals(slot, code, what, most))

    def reals(self, slot: int, code: Scalar, what: str, most: int) -> tuple[float, ...]:
        """Return a vector of numbers of at most ``most`` items."""
        start, count = self._vector(slot, _STRUCTS[code].size, what)
        if count > most:
            raise self._file.broken(what, f"at most {most:,} items", f"{count:,}")
        self._file.spend(count, what)
        return struct.unpack_from(f"<{count}{code}", self._file.data, start)

    def tables(self, slot: int, what: str, most: int) -> Iterator[Table]:
        """Yield the tables of a vector of at most ``most`` of them."""
        start, count = self._vector(slot, 4, what)
        if count > most:
            raise self._file.broken(what, f"at most {most:,} items", f"{count:,}")
        for index in range(count):
            where = f"{what} {index}"
            yield Table(self._file, self._file.follow(start + 4 * index, where), where)

    def length(self, slot: int, what: str) -> int:
        """Return how many offsets a vector of tables holds."""
        return self._vector(slot, 4, what)[1]


def root(data: bytes, identifier: bytes) -> Table:
    """Return the root table of a flatbuffer that carries ``identifier``.

    Raises:
        InputError: too short, another identifier, or a root outside the file.
    """
    if len(data) < 12 or bytes(data[4:8]) != identifier:
        head = bytes(data[:8]).hex(" ") or "nothing"
        raise InputError(
            f"not a .tflite: wanted the identifier {identifier.decode()} at byte 4 of a "
            f"flatbuffer, got {len(data)} bytes that start with {head}"
        )
    file = FlatFile(data)
    return Table(file, file.follow(0, "root"), "model")
