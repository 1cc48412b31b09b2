"""From merged tables to a Profile, or to every mistake in them, each with its line."""

from __future__ import annotations

import difflib
import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edgepack.hardware import WRITTEN
from edgepack.problem import Problem, Wrong
from edgepack.profile import Profile
from edgepack.profile_files import Layer, merged
from edgepack.toml_lines import Loc
from edgepack.units import UNITS

_QUOTED = re.compile(r"'([^']*)'")
_RECEIVED = re.compile(r"(?:wanted )?(.*?)\. Received: (.*)", re.DOTALL)


def validated(layers: tuple[Layer, ...], *, whole: bool = True) -> Profile:
    """Return the profile that the layers make, the first one lying on top.

    With ``whole=False`` the tables may be incomplete (a family); then every mistake is
    raised as usual and a family without one raises ``Incomplete``.

    Raises:
        Wrong: holds every mistake, in the order of the lines.
    """
    data = merged(layers)
    own = layers[0]
    stem = own.path.stem
    found: list[Problem] = []
    if whole:
        data["name"] = own.data.get("name", stem)
        if data["name"] != stem:
            found.append(_misnamed(own, stem))
    try:
        profile = Profile.model_validate(data, context=WRITTEN)
    except ValidationError as error:
        details = error.errors(include_url=False)
        if not whole:
            details = [one for one in details if not _may_be_absent(one)]
        found += [_problem(one, layers, data) for one in details]
        if not found:
            raise Incomplete from error
    if found:
        found.sort(key=lambda p: (p.file != str(own.path), p.file, p.line or 0))
        raise Wrong(*found)
    return profile


class Incomplete(Exception):  # noqa: N818 - a state, not a fault
    """The tables hold no mistake but do not make a whole profile."""


def _misnamed(layer: Layer, stem: str) -> Problem:
    return Problem(
        file=str(layer.path),
        line=layer.line_of(("name",)),
        key="name",
        wanted=f"the file's own name, '{stem}'",
        got=_show(layer.data["name"]),
        nearest=f"'{stem}'",
    )


def _may_be_absent(detail: ErrorDetails) -> bool:
    """Say whether a family may lack this: anything but a part of one sourced statement."""
    if detail["type"] != "missing":
        return False
    fields = _fields_at(detail["loc"][:-1])
    return fields is None or "source" not in fields


def _problem(detail: ErrorDetails, layers: tuple[Layer, ...], data: dict[str, Any]) -> Problem:
    loc = detail["loc"]
    layer, line = _place(loc, layers)
    kind = detail["type"]
    got: Any = detail["input"]
    wanted, shown, nearest = detail["msg"], _show(got), None
    if kind == "extra_forbidden":
        known = sorted(_fields_at(loc[:-1]) or ())
        nearest = _closest(str(loc[-1]), known)
        wanted, shown = f"one of {', '.join(known)}", f"the unknown key {loc[-1]!r}"
    elif kind == "missing":
        wanted = f"the key {loc[-1]!r}" + (
            ": where the number comes from" if loc[-1] == "source" else ""
        )
        shown = "none"
        misspelt = _closest(
            str(loc[-1]), [str(k) for k in got] if isinstance(got, dict) else []
        )
        nearest = f"{misspelt} -> {loc[-1]}" if misspelt else None
    elif kind == "literal_error":
        choices = _QUOTED.findall(str(detail.get("ctx", {}).get("expected", "")))
        if choices:
            wanted = f"one of {', '.join(choices)}"
        nearest = _closest(str(got), choices)
    elif kind == "value_error":
        says = str(detail.get("ctx", {}).get("error", detail["msg"]))
        if match := _RECEIVED.fullmatch(says):
            wanted, shown = match[1], match[2]
        nearest = _unit_meant(got)
    elif kind == "model_type" or kind.endswith("_type"):
        wanted, nearest = _type_wanted(detail, loc)
    return Problem(
        file=str(layer.path),
        line=line,
        key=".".join(str(step) for step in loc),
        wanted=wanted[:1].lower() + wanted[1:],
        got=shown,
        nearest=nearest,
    )


def _type_wanted(detail: ErrorDetails, loc: Loc) -> tuple[str, str | None]:
    fields = _fields_at(loc)
    if fields and {"value", "source"} <= fields:
        value = detail["input"]
        text = f'"{value}"' if isinstance(value, str) else value
        return "a table with value and source", f'{{ value = {text}, source = "…" }}'
    if fields:
        return f"a table with {', '.join(sorted(fields))}", None
    return detail["msg"].removeprefix("Input should be "), None


def _place(loc: Loc, layers: tuple[Layer, ...]) -> tuple[Layer, int | None]:
    """Return the file and line of that key, or of the nearest table above it."""
    for length in range(len(loc), 0, -1):
        for layer in layers:
            line = layer.line_of(loc[:length])
            if line is not None:
                return layer, line
    return layers[0], None


def _fields_at(loc: Loc) -> set[str] | None:
    """Return the keys that a profile knows in the table at ``loc``; None where it is none."""
    model: type[BaseModel] | None = Profile
    for step in loc:
        if model is None:
            return None
        if isinstance(step, int):
            continue
        named = {field.alias or name: field for name, field in model.model_fields.items()}
        model = _model_in(named[step].annotation) if step in named else None
    if model is None:
        return None
    return {field.alias or name for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inside in get_args(annotation):
        if (model := _model_in(inside)) is not None:
            return model
    return None


def _unit_meant(got: Any) -> str | None:
    match = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", str(got))
    if match is None:
        return None
    number, unit = match[1], match[2]
    if not unit:
        return f"'{number} KiB' (1024) or '{number} kB' (1000)"
    folded = [known for known in UNITS if known.lower() == unit.lower()]
    if unit in UNITS:
        return None
    if folded:
        binary = f"{folded[0][0].upper()}iB"
        also = f" (1000s) or '{number} {binary}' (1024s)" if binary in UNITS else ""
        return (
            f"'{number} {folded[0]}'{also}" if folded[0] != binary else f"'{number} {binary}'"
        )
    close = difflib.get_close_matches(unit, UNITS, n=1, cutoff=0.4)
    return f"'{number} {close[0]}'" if close else None


def _closest(word: str, known: list[str]) -> str | None:
    folded = {one.lower(): one for one in known}
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.5)
    return folded[close[0]] if close else None


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
