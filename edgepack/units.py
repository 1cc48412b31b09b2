"""Bytes and times as people write them, as the plain numbers the code counts with.

KiB is 1024 bytes and kB is 1000; a bare number without a unit is refused, because a
profile that says ``256`` may mean either and the difference decides whether a model fits.
"""

from __future__ import annotations

import re

_BYTES = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
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
    size = float(match[1]) * _BYTES[match[2]]
    if size != int(size):
        raise ValueError(f"wanted a whole number of bytes. Received: {text!r} = {size} B")
    return int(size)


def format_bytes(size: float) -> str:
    """Return ``size`` in the largest binary unit that leaves at least one whole digit."""
    for unit in ("GiB", "MiB", "KiB"):
        if abs(size) >= _BYTES[unit]:
            return f"{size / _BYTES[unit]:.1f} {unit}"
    return f"{size:.0f} B"
