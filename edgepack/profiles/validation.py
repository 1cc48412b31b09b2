"""A Profile from its own tables and those it extends, or every mistake in them.

A child's tables lie over its parent's; each mistake carries the file and line it stands in
and, where one is near, the key, choice or unit that was probably meant.
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edgepack import toml_file
from edgepack.profiles.hardware import PATTERNS, WRITTEN
from edgepack.profiles.profile import Profile
from edgepack.suggestions import nearest
from edgepack.toml_file import InvalidFile, Loc, Problem, TomlFile, shown
from edgepack.units import UNITS

NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_QUOTED = re.compile(r"'([^']*)'")
_RECEIVED = re.compile(r"(?:wanted )?(.*?)\. Received: (.*)", re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_AMOUNT = re.compile(
    r"\s*(?P<number>[0-9]+(?:\.[0-9]+)?)\s*"
    r"(?P<unit>(?P<prefix>[kmg])(?P<binary>i?)(?:b|bytes?)?|b|bytes?|)\s*",
    re.IGNORECASE,
)
_LONGEST_AMOUNT = 80
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


@dataclass(frozen=True)
class ProfileFile:
    """A profile file's own tables.

    Attributes:
        extends: what the file says it inherits; only ``parent`` is to be believed.
    """

    path: Path
    file: TomlFile
    extends: Any

    @property
    def data(self) -> dict[str, Any]:
        """The tables without ``extends``."""
        return self.file.data

    @property
    def parent(self) -> str | None:
        """The name of the profile or family this one inherits; never a path.

        Raises:
            InvalidFile: ``extends`` is no bare name.
        """
        if self.extends is None or (
            isinstance(self.extends, str) and NAME.fullmatch(self.extends)
        ):
            return self.extends
        raise InvalidFile(
            Problem(
                file=str(self.path),
                line=self.line_of(("extends",)),
                key="extends",
                wanted="the bare name of a profile or family",
                got=repr(self.extends)[:80],
            )
        )

    def line_of(self, loc: Loc) -> int | None:
        """Return the line of exactly that key; None where the file does not hold it."""
        return self.file.line_of(loc)


def read_profile_file(path: Path) -> ProfileFile:
    """Return the tables of the profile file at ``path``.

    Raises:
        UnreadableFile: absent, forbidden, not a regular file.
        InvalidFile: too large, not UTF-8, not TOML, too deep.
    """
    file = toml_file.read(path, "a profile file")
    return ProfileFile(path, file, file.data.pop("extends", None))


def merged(layers: tuple[ProfileFile, ...]) -> dict[str, Any]:
    """Return the tables of the first layer laid over those it extends, in that order."""
    result: dict[str, Any] = {}
    for layer in reversed(layers):
        result = _overlaid(result, layer.data)
    return result


def _overlaid(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """Lay tables over tables; a list, a value or a table with its own source is replaced whole.

    A number inherited beside another's source would be a lie, so a table with a ``source``
    is one statement, and ``x_source`` goes when ``x`` is replaced.
    """
    result = {k: v for k, v in parent.items() if k.removesuffix("_source") not in child}
    for key, value in child.items():
        old = parent.get(key)
        result[key] = value
        tables = isinstance(old, dict) and isinstance(value, dict)
        if tables and "source" not in value and "source" not in parent[key]:
            result[key] = _overlaid(parent[key], value)
    return result


class Incomplete(Exception):  # noqa: N818 - a state, not a fault
    """The tables hold no mistake but do not make a whole profile."""


def validated(layers: tuple[ProfileFile, ...], *, whole: bool = True) -> Profile:
    """Return the profile that the layers make, the first one lying on top.

    With ``whole=False`` the tables may lack what a child will add (a family).

    Raises:
        InvalidFile: holds every mistake, the file's own first, in the order of the lines.
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
        raise InvalidFile(*found)
    return profile


def _misnamed(layer: ProfileFile, stem: str) -> Problem:
    return Problem(
        file=str(layer.path),
        line=layer.line_of(("name",)),
        key="name",
        wanted=f"the file's own name, '{stem}'",
        got=shown(layer.data["name"]),
        nearest=f"'{stem}'",
    )


def _too_many(layer: ProfileFile, count: int) -> Problem:
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
    meant = nearest(str(loc[-1]), sorted(fields_at(loc[:-1]) or ())) if guess else ""
    if meant and meant not in table:
        table[meant] = value
        renamed[(*loc[:-1], meant)] = loc


def _as_written(loc: Loc, renamed: dict[Loc, Loc]) -> Loc:
    for length in range(len(loc), 0, -1):
        if loc[:length] in renamed:
            return _as_written(renamed[loc[:length]], renamed) + loc[length:]
    return loc


def _follows(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Return whether this only repeats a mistake inside the list it is about."""
    loc = detail["loc"]
    return detail["type"] == "too_short" and any(
        len(one["loc"]) > len(loc) and one["loc"][: len(loc)] == loc for one in details
    )


def _may_be_absent(detail: ErrorDetails) -> bool:
    """Return whether a family may lack this: anything but a part of one sourced statement."""
    if detail["type"] != "missing":
        return False
    fields = fields_at(detail["loc"][:-1])
    return fields is None or "source" not in fields


def _problem(detail: ErrorDetails, loc: Loc, layers: tuple[ProfileFile, ...]) -> Problem:
    missing = detail["type"] == "missing" and len(loc) > 1
    layer, line = _place(loc[:-1] if missing else loc, layers)
    wanted, got, meant = _explained(detail)
    return Problem(
        file=str(layer.path),
        line=line,
        key=".".join(_key(step) for step in loc),
        wanted=wanted,
        got=got,
        nearest=meant or None,
    )


def _key(step: str | int) -> str:
    text = str(step)
    return text if _PLAIN_KEY.fullmatch(text) else shown(text)


def _explained(detail: ErrorDetails) -> tuple[str, str, str | None]:
    """Return what was wanted, what was received and what was probably meant."""
    loc, kind, got = detail["loc"], detail["type"], detail["input"]
    fields = fields_at(loc)
    if kind == "extra_forbidden":
        known = sorted(fields_at(loc[:-1]) or ())
        meant = nearest(str(loc[-1]), known)
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
        return wanted, shown(got), nearest(str(got), choices)
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


def _place(loc: Loc, layers: tuple[ProfileFile, ...]) -> tuple[ProfileFile, int | None]:
    """Return the file and line of that key, or of the nearest table above it."""
    for length in range(len(loc), 0, -1):
        for layer in layers:
            line = layer.line_of(loc[:length])
            if line is not None:
                return layer, line
    return layers[0], None


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


def quantity_meant(written: Any) -> str | None:
    """Return the size with a unit that ``written`` may stand for, such as ``'64 MiB'``.

    Both readings are offered where two are possible: nothing is guessed.
    """
    match = _AMOUNT.fullmatch(str(written)[:_LONGEST_AMOUNT])
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


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inside in get_args(annotation):
        if (model := _model_in(inside)) is not None:
            return model
    return None
