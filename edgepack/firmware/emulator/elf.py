"""Section and symbol sizes of a 32-bit little-endian ELF file."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from edgepack.errors import RuntimeFailure
from edgepack.measurements.firmware_figures import SectionSizes

_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
_NOBITS, _SYMTAB = 8, 2


@dataclass(frozen=True, slots=True)
class Elf:
    """Sizes of all sections that are loaded, and of every symbol; undefined ones by name.

    Attributes:
        addresses: of every symbol, as linked; a Thumb function's is odd.
    """

    sizes: SectionSizes
    symbols: Mapping[str, int]
    undefined: frozenset[str]
    addresses: Mapping[str, int]


def read(data: bytes) -> Elf:
    """Return the sizes in an object file or program that our own compiler run wrote.

    Raises:
        RuntimeFailure: not a 32-bit little-endian ELF file.
    """
    if data[:6] != b"\x7fELF\x01\x01":
        raise RuntimeFailure("the compiler wrote no 32-bit little-endian ELF file")
    try:
        return _read(data)
    except (struct.error, IndexError, ValueError) as cause:
        raise RuntimeFailure(f"the compiler wrote a damaged ELF file: {cause}") from cause


def _read(data: bytes) -> Elf:
    start = struct.unpack_from("<I", data, 0x20)[0]
    size, count = struct.unpack_from("<HH", data, 0x2E)
    headers = [struct.unpack_from("<10I", data, start + i * size) for i in range(count)]
    total = dict.fromkeys(("code", "constant", "data", "zeroed"), 0)
    symbols: dict[str, int] = {}
    addresses: dict[str, int] = {}
    undefined: set[str] = set()
    for _, kind, flags, _, offset, length, link, _, _, entry in headers:
        if flags & _ALLOC:
            total[_place(kind, flags)] += length
        if kind == _SYMTAB:
            strings = headers[link][4]
            for at in range(offset, offset + length, entry):
                name_at, address, symbol_bytes, _, _, section = struct.unpack_from(
                    "<IIIBBH", data, at
                )
                name = data[strings + name_at : data.index(b"\0", strings + name_at)].decode()
                if name and section == 0:
                    undefined.add(name)
                elif name:
                    symbols[name] = symbol_bytes
                    addresses[name] = address
    sizes = SectionSizes(total["code"], total["constant"], total["data"], total["zeroed"])
    return Elf(sizes, symbols, frozenset(undefined), addresses)


def _place(kind: int, flags: int) -> str:
    if kind == _NOBITS:
        return "zeroed"
    if flags & _EXECUTE:
        return "code"
    return "data" if flags & _WRITE else "constant"
