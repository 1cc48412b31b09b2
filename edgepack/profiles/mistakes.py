"""From merged tables to a Profile, or to every mistake in them, each with its line."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edgepack.profiles.files import Layer, merged
from edgepack.profiles.hardware import PATTERNS, WRITTEN
from edgepack.profiles.problem import Problem, Wrong
from edgepack.profiles.profile import Profile
from edgepack.profiles.toml_lines import Loc
from edgepack.profiles.words import closest, fields_at, quantity_meant, shown

_QUOTED = re.compile(r"'([^']*)'")
_RECEIVED = re.compile(r"(?:wanted )?(.*?)\. Received: (.*)", re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: So many mistakes are explained; a file with more is not a profile with slips.
MOST_EXPLAINED = 100
_WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
}


class Incomplete(Exception):  # noqa: N818 - a state, not a fault
    """The tables hold no mistake but do not make a whole profile."""


def validated(layers: tuple[Layer, ...], *, whole: bool = True) -> Profile:
    """Return the profile that the layers make, the first one lying on top.

    With ``whole=False`` the tables may lack what a child will add (a family).

    Raises:
        Wrong: holds every mistake, the file's own first, in the order of the lines.
        Incomplete: ``whole`` is False, there is no mistake, and something is lacking.
    """
    data = merged(layers)
    own = layers[0]
    found: list[Problem] = []
    if whole:
        stem = own.path.stem
        data["name"] = own.data.get("name", stem)
        if data["name"] != stem:
            found.append(_misnamed(own, stem))
    try:
        profile = Profile.model_validate(data, context=WRITTEN)
    except ValidationError:
        details, renamed = _mistakes(data)
        if not whole:
            details = [one for one in details if not _may_be_absent(one)]
        for one in details[:MOST_EXPLAINED]:
            found.append(_problem(one, _as_written(one["loc"], renamed), layers))
        if len(details) > MOST_EXPLAINED:
            found.append(_too_many(own, len(details)))
        if not found:
            raise Incomplete from None
    if found:
        found.sort(key=lambda p: (p.file != str(own.path), p.file, p.line or 0))
        raise Wrong(*found)
    return profile


def _misnamed(layer: Layer, stem: str) -> Problem:
    return Problem(
        file=str(layer.path),
        line=layer.line_of(("name",)),
        key="name",
        wanted=f"the file's own name, '{stem}'",
        got=shown(layer.data["name"]),
        nearest=f"'{stem}'",
    )


def _too_many(layer: Layer, count: int) -> Problem:
    return Problem(
        file=str(layer.path),
        wanted="a profile",
        got=f"{count} mistakes, of which the first {MOST_EXPLAINED} are explained",
    )


def _mistakes(data: dict[str, Any]) -> tuple[list[ErrorDetails], dict[Loc, Loc]]:
    """Return every mistake of ``data``, and which key was read as which.

    A misspelt key is one mistake, not two: it is reported, then read as the key it was
    meant for, so that what stands under it is checked too.
    """
    data = deepcopy(data)
    unknown: list[ErrorDetails] = []
    renamed: dict[Loc, Loc] = {}
    while True:
        try:
            Profile.model_validate(data, context=WRITTEN)
            return unknown, renamed
        except ValidationError as error:
            details = error.errors(include_url=False)
        extra = [one for one in details if one["type"] == "extra_forbidden"]
        if not extra:
            return unknown + [one for one in details if not _follows(one, details)], renamed
        for one in extra:
            _respell(data, one["loc"], renamed, guess=len(unknown) < MOST_EXPLAINED)
            unknown.append(one)


def _respell(data: dict[str, Any], loc: Loc, renamed: dict[Loc, Loc], *, guess: bool) -> None:
    table: Any = data
    for step in loc[:-1]:
        table = table[step]
    value = table.pop(loc[-1])
    meant = closest(str(loc[-1]), sorted(fields_at(loc[:-1]) or ())) if guess else None
    if meant is not None and meant not in table:
        table[meant] = value
        renamed[(*loc[:-1], meant)] = loc


def _as_written(loc: Loc, renamed: dict[Loc, Loc]) -> Loc:
    for length in range(len(loc), 0, -1):
        if loc[:length] in renamed:
            return _as_written(renamed[loc[:length]], renamed) + loc[length:]
    return loc


def _follows(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Say whether this only repeats a mistake inside the list it is about."""
    loc = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(one["loc"]) > len(loc) and one["loc"][: len(loc)] == loc for one in details
    )


def _may_be_absent(detail: ErrorDetails) -> bool:
    """Say whether a family may lack this: anything but a part of one sourced statement."""
    if detail["type"] != "missing":
        return False
    fields = fields_at(detail["loc"][:-1])
    return fields is None or "source" not in fields


def _problem(detail: ErrorDetails, loc: Loc, layers: tuple[Layer, ...]) -> Problem:
    missing = detail["type"] == "missing" and len(loc) > 1
    layer, line = _place(loc[:-1] if missing else loc, layers)
    wanted, got, nearest = _explained(detail)
    return Problem(
        file=str(layer.path),
        line=line,
        key=".".join(_key(step) for step in loc),
        wanted=wanted,
        got=got,
        nearest=nearest,
    )


def _key(step: str | int) -> str:
    text = str(step)
    return text if _PLAIN_KEY.fullmatch(text) else shown(text)


def _explained(detail: ErrorDetails) -> tuple[str, str, str | None]:
    """Return what was wanted, what was got and what was probably meant."""
    loc, kind, got = detail["loc"], detail["type"], detail["input"]
    fields = fields_at(loc)
    if kind == "extra_forbidden":
        known = sorted(fields_at(loc[:-1]) or ())
        meant = closest(str(loc[-1]), known)
        return f"one of {', '.join(known)}", f"the unknown key {shown(loc[-1])}", meant
    if kind == "missing":
        why = ", where the number comes from" if loc[-1] == "source" else ""
        return f"the key {loc[-1]!r}{why}", "none", None
    if kind.endswith("_type") and fields:
        if {"value", "source"} <= fields:
            value = f'"{got}"' if isinstance(got, str) else got
            meant = f'{{ value = {value}, source = "…" }}'
            return "a table with value and source", shown(got), meant
        return f"a table with {', '.join(sorted(fields))}", shown(got), None
    return _value_explained(detail)


def _value_explained(detail: ErrorDetails) -> tuple[str, str, str | None]:
    """Return the same where one value is wrong, not its key and not its table."""
    kind, got = detail["type"], detail["input"]
    context: dict[str, Any] = detail.get("ctx", {})
    if kind == "literal_error":
        choices = _QUOTED.findall(str(context.get("expected", "")))
        wanted = f"one of {', '.join(choices)}" if choices else str(context.get("expected"))
        return wanted, shown(got), closest(str(got), choices)
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(str(context.get("pattern")), detail["msg"]), shown(got), None
    if kind == "value_error":
        match = _RECEIVED.fullmatch(str(context.get("error", "")))
        if match:
            return match[1], match[2], quantity_meant(got)
    if kind == "string_type" and isinstance(got, int | float):
        return "text", shown(got), f'"{got}"'
    wanted = _WANTED.get(kind) or detail["msg"].removeprefix("Input should be ")
    return wanted[:1].lower() + wanted[1:], shown(got), None


def _place(loc: Loc, layers: tuple[Layer, ...]) -> tuple[Layer, int | None]:
    """Return the file and line of that key, or of the nearest table above it."""
    for length in range(len(loc), 0, -1):
        for layer in layers:
            line = layer.line_of(loc[:length])
            if line is not None:
                return layer, line
    return layers[0], None
