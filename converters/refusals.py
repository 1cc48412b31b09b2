"""The one line that turns a model away: where, what was wanted, what was got, what to do."""

from __future__ import annotations

import os

from converters.errors import ModelRefused

_LONGEST_QUOTE = 120


def quote(text: object) -> str:
    """Return ``text`` from a foreign file as one short printable line.

    Names inside a hostile file may hold line breaks, terminal escapes or megabytes.
    """
    shown = "".join(c if c.isprintable() else "?" for c in str(text))
    return shown if len(shown) <= _LONGEST_QUOTE else shown[: _LONGEST_QUOTE - 1] + "…"


def refusal(where: str | os.PathLike[str], *, wanted: str, got: str, do: str) -> ModelRefused:
    """Return the error that names the file, what was wanted and got, and the remedy."""
    return ModelRefused(f"{quote(os.fspath(where))}: wanted {wanted}; got {got}; {do}")
