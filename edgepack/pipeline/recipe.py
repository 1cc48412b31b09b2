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
import json
import re
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from converters.draft import Rewrite, Stage
from converters.quantized.int8 import Int8
from converters.quantized.qat import Qat
from converters.structure.channels import Channels
from converters.structure.collaborate import Collaborate
from converters.structure.lowrank import LowRank
from converters.tflite.blocks import Blocks
from converters.tflite.narrow import Narrow
from converters.weights.cluster import Cluster
from converters.weights.prune import Prune
from edgepack import toml_file
from edgepack.compat import weight_forms
from edgepack.errors import UsageError
from edgepack.files import read_whole
from edgepack.suggestions import did_you_mean, nearest
from edgepack.toml_file import LARGEST_FILE_BYTES, InvalidFile, Loc, Problem, TomlFile, shown

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
#: of weights (``compat.weight_forms``) that a device must gain from.
REWRITES: dict[str, tuple[type[Any], str]] = {
    "blocks": (Blocks, "blocks"),
    "narrow": (Narrow, "int4"),
}
#: Kind, key and value of a stage that ask for a form no device gains from -> that form.
_NOWHERE_GAINED: dict[tuple[str, str, Any], str] = {
    ("prune", "block", 4): "1x4",
    ("prune", "pattern", "1x4"): "1x4",
    ("prune", "pattern", "2:4"): "2:4",
}
#: What a stage says of a setting out of its range: ``epochs: wanted 1 or more. Received: 0``.
_OF_SETTING = re.compile(r"(?:(\w+): )?wanted (.*)\. Received: (.*)", re.DOTALL)
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
    stages: tuple[Stage, ...]
    int8: Int8
    rewrites: tuple[Rewrite, ...] = ()

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms of weights that its rewrites make."""
        kinds = [kind_of(step) for step in self.rewrites]
        return tuple(REWRITES[kind][1] for kind in kinds if kind in REWRITES)

    def words(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """Return each step as (class, settings): JSON values for a bundle's provenance."""
        steps: tuple[object, ...] = (*self.stages, self.int8, *self.rewrites)
        return tuple((type(step).__name__, _settings_of(step)) for step in steps)


def kind_of(step: Stage | Rewrite) -> str:
    """Return what a step is called in recipes and reports: ``prune`` for ``Prune``."""
    return type(step).__name__.lower()


def _settings_of(step: Any) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(step)))
    return settings


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
        UsageError: no built-in recipe of that name; names the nearest one.
        InputError: the file cannot be read.
        InvalidFile: mistakes in it, each with its line.
    """
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        raw = read_whole(path, LARGEST_FILE_BYTES, "a recipe")
        return parse(raw, path.stem, name_or_path)
    if name_or_path not in names():
        raise UsageError(
            f"recipe {name_or_path!r} does not exist{did_you_mean(name_or_path, names())};"
            f" built in: {', '.join(names())}, or give a .toml file"
        )
    file = resources.files("edgepack.pipeline") / "recipes" / f"{name_or_path}.toml"
    return parse(file.read_bytes(), name_or_path, name_or_path)


def parse(raw: bytes, name: str, where: str) -> Recipe:
    """Return the recipe written in ``raw``.

    Raises:
        InvalidFile: every unknown key or kind, value out of range and wrong order, in the
            order of the lines; or the one reason why ``raw`` is no TOML at all.
    """
    file = toml_file.parse(raw, where)
    reading = _Reading(file)
    recipe = reading.recipe(name)
    if recipe is None:
        raise InvalidFile(*sorted(reading.problems, key=lambda one: one.line or 0))
    return recipe


class _Reading:
    """One pass over a recipe's tables, which collects the mistakes it meets."""

    def __init__(self, file: TomlFile) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def recipe(self, name: str) -> Recipe | None:
        """Return the recipe, or None where there are ``problems``."""
        table = self.file.data
        self._known_keys(table, {"schema", "title", "stage", "int8", *REWRITES}, (), "")
        if table.get("schema") != 1 or isinstance(table["schema"], bool):
            self._found(("schema",), "", "schema = 1", shown(table.get("schema")))
        stages = self._stages(table.get("stage", []))
        int8 = self._settings(Int8, table.get("int8", {}), ("int8",), "int8")
        rewrites = tuple(
            self._settings(kind, table[key], (key,), key)
            for key, (kind, _) in REWRITES.items()
            if key in table
        )
        if self.problems:
            return None
        title = str(table.get("title", name))
        return Recipe(name=name, title=title, stages=stages, int8=int8, rewrites=rewrites)

    def _stages(self, written: Any) -> tuple[Any, ...]:
        if not isinstance(written, list) or not all(isinstance(row, dict) for row in written):
            self._found(("stage",), "", "[[stage]] tables", shown(written))
            return ()
        stages = tuple(self._stage(dict(row), n) for n, row in enumerate(written))
        self._in_order([row.get("kind") for row in written])
        return stages

    def _stage(self, row: dict[str, Any], position: int) -> Any:
        loc: Loc = ("stage", position)
        kind = row.pop("kind", None)
        if not isinstance(kind, str) or kind not in STAGES:
            wanted, key = f"one of {', '.join(STAGES)}", f"stage {position + 1}: kind"
            got = "none" if kind is None else shown(kind)
            self._found((*loc, "kind"), key, wanted, got, nearest(str(kind), STAGES))
            return None
        key = f"stage {position + 1} ({kind})"
        for (refused, setting, value), form in _NOWHERE_GAINED.items():
            if kind == refused and row.get(setting) == value:
                self._found(
                    (*loc, setting),
                    f"{key}: {setting}",
                    "block = 16 for dense kernels, or neither block nor pattern",
                    f"{json.dumps(row.pop(setting))}, which gains nothing on any device: "
                    f"{weight_forms.NOWHERE[form]}",
                )
        return self._settings(STAGES[kind], row, loc, key)

    def _settings(self, kind: type[Any], written: Any, loc: Loc, key: str) -> Any:
        """Return ``kind(**written)``; None where a setting is a mistake."""
        if not isinstance(written, dict):
            return self._found(loc, key, f"a table [{key}]", shown(written))
        before = len(self.problems)
        known = {field.name for field in dataclasses.fields(kind)}
        self._known_keys(written, known, loc, key)
        settings = {name: value for name, value in written.items() if name in known}
        wrong: set[str] = set()
        while True:
            # As JSON, whose strict reading takes a list for a tuple and "16" or true for no
            # number.
            given = json.dumps(settings, default=str)
            try:
                made = TypeAdapter(kind).validate_json(given, strict=True)
            except ValidationError as error:
                # A wrong type hides every range, and a range the next: once more without,
                # as long as none is asked of a setting that was left out for its mistake.
                details = [each for each in error.errors() if not _asks_of(each, wrong)]
                named = {self._mistake(each, settings, loc, key) for each in details}
                wrong |= named & settings.keys()
                if not named & settings.keys():
                    return None
                settings = {name: settings[name] for name in settings.keys() - named}
            else:
                return made if len(self.problems) == before else None

    def _mistake(
        self, detail: ErrorDetails, settings: dict[str, Any], loc: Loc, key: str
    ) -> str:
        """Note one of pydantic's errors in a user's words; return the setting it names."""
        name = str(detail["loc"][0]) if detail["loc"] else ""
        message = detail["msg"].removeprefix("Value error, ")
        if match := _OF_SETTING.fullmatch(message):  # a stage checks its ranges itself
            name, wanted, got = match[1] or name, match[2], match[3]
        else:
            wanted = _WANTED.get(detail["type"]) or message[:1].lower() + message[1:]
            got = shown(settings.get(name))
        meant = ""
        if detail["type"] == "literal_error":
            choices = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
            wanted, meant = ", ".join(choices) or wanted, nearest(str(settings[name]), choices)
            wanted = wanted.removeprefix("input should be ")
        self._found((*loc, name), f"{key}: {name}" if name else key, wanted, got, meant)
        return name

    def _known_keys(self, table: dict[str, Any], known: set[str], loc: Loc, key: str) -> None:
        for name in table:
            if name not in known:
                wanted, got = f"one of {', '.join(sorted(known))}", f"unknown key {shown(name)}"
                self._found((*loc, name), key, wanted, got, nearest(name, sorted(known)))

    def _in_order(self, kinds: list[Any]) -> None:
        """Refuse an order that undoes itself: channels, ranks, zeros, clusters, then QAT."""
        order = list(STAGES)
        ranks = [order.index(kind) if kind in order else None for kind in kinds]
        known = [(rank, n) for n, rank in enumerate(ranks) if rank is not None]
        for (before, _), (rank, position) in pairwise(known):
            if rank <= before:
                wanted = f"each kind at most once and in the order {', '.join(STAGES)}"
                got = ", ".join(str(kind) for kind in kinds)
                return self._found(("stage", position, "kind"), "stage", wanted, got)
        return None

    def _found(self, loc: Loc, key: str, wanted: str, got: str, meant: str = "") -> None:
        self.problems.append(
            Problem(
                file=self.file.where,
                line=self.file.nearest_line_of(loc),
                key=key,
                wanted=wanted,
                got=got,
                nearest=meant or None,
            )
        )


def _asks_of(detail: ErrorDetails, names: set[str]) -> bool:
    """Return whether the message of a mistake speaks of one of these settings."""
    return not names.isdisjoint(re.findall(r"\w+", detail["msg"]))
