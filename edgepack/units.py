"""Bytes and times as people write them, as the plain numbers the code counts with.

KiB is 1024 bytes and kB is 1000; a bare number without a unit is refused, because a
profile that says ``256`` may mean either and the difference decides whether a model fits.
"""

from __future__ import annotations

import re
from fractions import Fraction

_BYTES = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
#: The units that are understood, smallest first of each kind.
UNITS = tuple(_BYTES)
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*")


def parse_bytes(text: str) -> int:
    """Return the whole number of bytes that ``text`` names, such as ``"256 KiB"``.

    Raises:
        ValueError: no unit, an unknown unit, or not a whole number of bytes.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _BYTES:
        known = ", ".join(_BYTES)
        raise ValueError(
            f"wanted a size with its unit ({known}), such as '256 KiB'. Received: {text!r}"
        )
    size = Fraction(match[1]) * _BYTES[match[2]]
    if size.denominator != 1:
        raise ValueError(f"wanted a whole number of bytes. Received: {text!r}")
    return size.numerator


def exact_bytes(size: int) -> str:
    """Return ``size`` in the largest unit that holds it as a whole number.

    ``parse_bytes`` gives the same number back. A binary unit wins where both fit.
    """
    for unit in ("GiB", "GB", "MiB", "MB", "KiB", "kB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]} {unit}"
    return f"{size} B"


def format_bytes(size: float) -> str:
    """Return ``size`` in the largest binary unit that leaves at least one whole digit."""
    for unit in ("GiB", "MiB", "KiB"):
        if abs(size) >= _BYTES[unit]:
            return f"{size / _BYTES[unit]:.1f} {unit}"
    return f"{size:.0f} B"
