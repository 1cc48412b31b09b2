"""A recipe as written in TOML, as the stages it names.

schema = 1
title = "…"

[[stage]]
kind = "prune"        # one row each in STAGES
sparsity = 0.5

[int8]                # the conversion; always there, its settings optional
calibration_samples = 512

[blocks]              # rewrites of the int8 file, only where the table stands
[narrow]
max_error = 0.05
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from converters.quantized.int8 import Int8
from converters.quantized.qat import Qat
from converters.structure.channels import Channels
from converters.structure.collaborate import Collaborate
from converters.structure.lowrank import LowRank
from converters.tflite.blocks import Blocks
from converters.tflite.narrow import Narrow
from converters.weights.cluster import Cluster
from converters.weights.prune import Prune
from edgepack.compat import weight_forms as techniques
from edgepack.errors import UsageError
from edgepack.files import read_whole

#: Extending: a stage is one file in converters/ and one row here.
STAGES: dict[str, type[Any]] = {
    "channels": Channels,
    "lowrank": LowRank,
    "collaborate": Collaborate,
    "prune": Prune,
    "cluster": Cluster,
    "qat": Qat,
}
#: Table of a recipe -> what it does to the finished int8 file, in this order, and the form
#: of weights (``support.techniques``) that a device must gain from.
REWRITES: dict[str, tuple[type[Any], str]] = {
    "blocks": (Blocks, "blocks"),
    "narrow": (Narrow, "int4"),
}
#: Kind, key and value of a stage that ask for a form no device gains from -> that form.
_ASKED: dict[tuple[str, str, Any], str] = {
    ("prune", "block", 4): "1x4",
    ("prune", "pattern", "1x4"): "1x4",
    ("prune", "pattern", "2:4"): "2:4",
}
_CEILING_BYTES = 64 * 1024
#: Pydantic's name of a wrong type -> what a setting of that type is in a recipe.
_WANTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": 'a list of names, like ["conv"]',
    "string_type": 'names in quotes, like ["conv"]',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Stages in order, and the conversion that ends them.

    Attributes:
        name: of the built-in, or the file's name without ``.toml``.
        stages: ``Draft -> Draft``, run in this order.
        int8: the conversion to a full-int8 .tflite.
        rewrites: ``(tflite, rows) -> (tflite, notes)``, run in this order after it.
    """

    name: str
    title: str
    stages: tuple[Any, ...]
    int8: Int8
    rewrites: tuple[Any, ...] = ()

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms of weights that its rewrites make."""
        return tuple(REWRITES[type(step).__name__.lower()][1] for step in self.rewrites)

    def words(self) -> list[Any]:
        """Return the recipe as JSON values that change when anything in it does."""
        return [described(step) for step in (*self.stages, self.int8, *self.rewrites)]


def described(step: Any) -> list[Any]:
    """Return a stage as [kind, settings]."""
    return [type(step).__name__, dataclasses.asdict(step)]


def names() -> tuple[str, ...]:
    """Return the built-in recipes, sorted."""
    folder = resources.files("edgepack.pipeline") / "recipes"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))


def table_of(form: str) -> str:
    """Return the table of a recipe that stores weights in a form."""
    return next(table for table, (_, made) in REWRITES.items() if made == form)


def load(name_or_path: str) -> Recipe:
    """Return the built-in recipe of that name, or the one in that ``.toml`` file.

    Raises:
        UsageError: no such recipe, or a mistake in it; names the nearest right word.
        InputError: the file cannot be read.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        raw = read_whole(path, _CEILING_BYTES, "a recipe")
        return parse(raw, path.stem, name_or_path)
    if name_or_path not in names():
        raise UsageError(
            f"recipe {name_or_path!r} does not exist{_nearest(name_or_path, names())};"
            f" built in: {', '.join(names())}, or give a .toml file"
        )
    file = resources.files("edgepack.pipeline") / "recipes" / f"{name_or_path}.toml"
    return parse(file.read_bytes(), name_or_path, name_or_path)


def parse(raw: bytes, name: str, where: str) -> Recipe:
    """Return the recipe written in ``raw``.

    Raises:
        UsageError: not TOML, an unknown key or kind, a value out of range, a wrong order.
    """
    try:
        table = tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:  # TOML, text, or an integer too long
        long = "a number of too many digits" if "int_max_str_digits" in str(error) else error
        raise UsageError(f"{where}: not a recipe in TOML: {long}") from error
    _known(table, {"schema", "title", "stage", "int8", *REWRITES}, where)
    if table.get("schema") != 1 or isinstance(table["schema"], bool):
        raise UsageError(f"{where}: wanted schema = 1. Received: {table.get('schema')!r}")
    written = table.get("stage", [])
    if not isinstance(written, list) or not all(isinstance(row, dict) for row in written):
        raise UsageError(f"{where}: wanted [[stage]] tables. Received: {written!r}")
    stages = tuple(_stage(dict(row), f"{where}: stage {n}") for n, row in enumerate(written, 1))
    _ordered(stages, where)
    return Recipe(
        name=name,
        title=str(table.get("title", name)),
        stages=stages,
        int8=_table(table, "int8", Int8, where),
        rewrites=tuple(
            _table(table, key, kind, where)
            for key, (kind, _) in REWRITES.items()
            if key in table
        ),
    )


def _table(table: dict[str, Any], key: str, kind: type[Any], where: str) -> Any:
    settings = table.get(key, {})
    if not isinstance(settings, dict):
        raise UsageError(f"{where}: wanted a table [{key}]. Received: {settings!r}")
    return _made(kind, settings, f"{where}: {key}")


def _stage(row: dict[str, Any], where: str) -> Any:
    kind = row.pop("kind", None)
    if not isinstance(kind, str) or kind not in STAGES:
        raise UsageError(
            f"{where}: kind {kind!r} does not exist{_nearest(str(kind), STAGES)};"
            f" wanted one of {', '.join(STAGES)}"
        )
    for (refused, key, value), form in _ASKED.items():
        if kind == refused and row.get(key) == value:
            raise UsageError(
                f"{where} ({kind}): {key} = {json.dumps(value)} gains nothing on any device: "
                f"{techniques.NOWHERE[form]}; wanted block = 16 for dense kernels, or neither"
            )
    return _made(STAGES[kind], row, f"{where} ({kind})")


def _made(kind: type[Any], settings: dict[str, Any], where: str) -> Any:
    """Return ``kind(**settings)``, with every mistake named by its key."""
    _known(settings, {field.name for field in dataclasses.fields(kind)}, where)
    # As JSON, whose strict reading takes a list for a tuple and "16" or true for no number.
    given = json.dumps(settings, default=str)
    try:
        return TypeAdapter(kind).validate_json(given, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{where}: {_mistake(first, settings)}") from error


def _mistake(first: Any, settings: dict[str, Any]) -> str:
    """Return the first of pydantic's errors in our words: key, what was wanted, received."""
    key = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "literal_error":
        words = re.findall(r"'([^']*)'", str(first["ctx"]["expected"]))
        near = _nearest(str(settings[key]).lower(), words)
        return f"{key}: wanted {', '.join(words)}. Received: {settings[key]!r}{near}"
    if first["type"] in _WANTED:
        return f"{key}: wanted {_WANTED[first['type']]}. Received: {settings[key]!r}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key + ': ' if key else ''}{message}"


def _known(table: dict[str, Any], wanted: set[str], where: str) -> None:
    for key in table:
        if key not in wanted:
            raise UsageError(
                f"{where}: unknown key {key!r}{_nearest(key, wanted)};"
                f" wanted {', '.join(sorted(wanted))}"
            )


def _ordered(stages: tuple[Any, ...], where: str) -> None:
    """Refuse an order that undoes itself: channels, ranks, zeros, clusters, then QAT."""
    order = [list(STAGES.values()).index(type(stage)) for stage in stages]
    if sorted(set(order)) != order:
        received = ", ".join(type(stage).__name__.lower() for stage in stages)
        raise UsageError(
            f"{where}: wanted each kind at most once and in the order {', '.join(STAGES)}."
            f" Received: {received}"
        )


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""
