"""Which word was probably meant: a key, a choice or a unit near to what was written."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel

from edgepack.profiles.profile import Profile
from edgepack.profiles.toml_lines import Loc
from edgepack.units import UNITS

_AMOUNT = re.compile(
    r"\s*(?P<number>[0-9]+(?:\.[0-9]+)?)\s*"
    r"(?P<unit>(?P<prefix>[kmg])(?P<binary>i?)(?:b|bytes?)?|b|bytes?|)\s*",
    re.IGNORECASE,
)
_LONGEST = 80


def fields_at(loc: Loc) -> set[str] | None:
    """Return the keys that a profile knows in the table at ``loc``; None where it is none."""
    model: type[BaseModel] | None = Profile
    for step in loc:
        if model is None:
            return None
        if isinstance(step, int):
            continue
        known = {field.alias or name: field for name, field in model.model_fields.items()}
        model = _model_in(known[step].annotation) if step in known else None
    if model is None:
        return None
    return {field.alias or name for name, field in model.model_fields.items()}


def closest(word: str, known: Sequence[str]) -> str | None:
    """Return the known word most like ``word``, whatever its case; None if none is near."""
    folded = {one.lower(): one for one in known}
    close = difflib.get_close_matches(word.lower()[:_LONGEST], folded, n=1, cutoff=0.5)
    return folded[close[0]] if close else None


def quantity_meant(written: Any) -> str | None:
    """Return the size with a unit that ``written`` may stand for, such as ``'64 MiB'``.

    Both readings are offered where two are possible: nothing is guessed.
    """
    match = _AMOUNT.fullmatch(str(written)[:_LONGEST])
    if match is None or match["unit"] in UNITS:
        return None
    number, prefix, binary = match["number"], match["prefix"], match["binary"]
    if not match["unit"]:
        return f"'{number} KiB' (1024) or '{number} kB' (1000)"
    if not prefix:
        return f"'{number} B'"
    of_1024 = f"'{number} {prefix.upper()}iB'"
    if binary:
        return of_1024
    thousand = f"{prefix.lower() if prefix in 'kK' else prefix.upper()}B"
    return f"'{number} {thousand}' (powers of 1000) or {of_1024} (of 1024)"


def shown(value: Any) -> str:
    """Return ``value`` as a short single line."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inside in get_args(annotation):
        if (model := _model_in(inside)) is not None:
            return model
    return None
