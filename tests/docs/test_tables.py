"""Lists and tables of the pages against the code that they tell of."""

from __future__ import annotations

import ast
import dataclasses
import re
import signal
import textwrap
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import edgepack
from converters.quantized.int8 import Int8
from edgepack import api, errors
from edgepack.cli import main, output
from edgepack.firmware.compiler.lower.program import OPERATORS
from edgepack.gates.finding import Outcome
from edgepack.pipeline import recipe
from tests.docs.test_gate_tables import names, rows
from tests.test_architecture import HOUSE, ROOMS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def test_the_operators_of_plain_c_are_those_that_are_lowered() -> None:
    text = (DOCS / "micro.md").read_text("utf-8")
    listed = text.partition("## What the C compiler takes")[2].split("\n\n")[1]
    told = re.findall(
        r"\b[A-Z][A-Z0-9_]{2,}\b", re.sub(r"\([^)]*\)", "", listed).split(". ")[0]
    )
    assert told == sorted(OPERATORS)


def test_every_built_in_recipe_has_a_row() -> None:
    told = [name for row in rows("recipes.md", "# Recipes") for name in names(row[0])]
    assert sorted(told) == list(recipe.names())


def settings_of(kind: type) -> dict[str, object]:
    return {field.name: field.default for field in dataclasses.fields(kind)}


#: Settings that every stage which trains takes; one sentence tells of them.
SHARED = {"attention", "features", "layers"}


def test_every_stage_has_a_row_with_its_settings_and_defaults() -> None:
    kinds = recipe.STAGES | {"[int8]": Int8}
    kinds |= {f"[{name}]": made for name, (made, _) in recipe.REWRITES.items()}
    table = {names(row[0])[0]: row[1] for row in rows("stages.md", "# Stages")}
    assert list(table) == list(kinds)
    for kind, cell in table.items():
        told = dict(TOLD.findall(cell))
        if reference := re.search(r"the rest as `(\w+)`", cell):
            told = dict(TOLD.findall(table[reference[1]])) | told
        known = settings_of(kinds[kind])
        wrong = {n: d for n, d in told.items() if n in known and number(known[n]) != number(d)}
        assert not wrong, kind
        own = {n for n, _ in TOLD.findall(cell)}
        assert own <= set(known) <= set(told) | SHARED | UNTOLD, kind


#: ``name`` (default) in a cell of the table.
TOLD = re.compile(r"`(\w+)` \(`?([^)`]+)`?\)")
#: Settings that only refuse what no device gains from.
UNTOLD = {"pattern"}


def number(value: object) -> object:
    """Return a default as a number where it is one: ``1e-3`` and 0.001 are the same."""
    try:
        return float(str(value))
    except ValueError:
        return str(value).lower()


def blocks(page: Path, language: str) -> Iterator[str]:
    """Yield the fenced blocks of one language in a page."""
    fence = re.compile(rf"^ *```{language}\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
    yield from map(textwrap.dedent, fence.findall(page.read_text("utf-8")))


def test_the_recipes_that_pages_show_are_recipes() -> None:
    shown = 0
    for page in PAGES:
        for block in blocks(page, "toml"):
            if "[[stage]]" in block:
                whole = block if block.startswith("schema") else f"schema = 1\n{block}"
                assert recipe.parse(whole.encode(), "shown", page.name).stages
                shown += 1
    assert shown >= 2


def test_the_exit_codes_are_those_that_commands_leave_with() -> None:
    told = [
        int(code)
        for row in rows("verdicts.md", "the profile does not ask it to.")
        for code in row[0].split(",")
    ]
    tree = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {each.exit_code for each in tree if issubclass(each, errors.EdgepackError)}
    codes |= {output.exit_code([found], strict=True) for found in Outcome}
    codes |= {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    assert sorted(told) == sorted(codes | {main.READER_LEFT})


def test_the_readme_tells_the_exit_code_of_each_verdict() -> None:
    told = {names(row[0])[0]: row[2] for row in rows("../README.md", "## What a verdict means")}
    for found in Outcome:
        code, strict = (output.exit_code([found], strict=strict) for strict in (False, True))
        expected = str(code) if code == strict else f"{code}; with `--strict` {strict}"
        assert told[found.value].startswith(expected)


def test_the_schemas_of_json_are_those_that_commands_print() -> None:
    schema = re.compile(r"edgepack\.[a-z-]+/\d+")
    printed = {
        node.value
        for path in (ROOT / "edgepack/cli").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if schema.fullmatch(node.value)
    }
    text = (DOCS / "verdicts.md").read_text("utf-8")
    assert set(schema.findall(text)) == printed


def test_the_rooms_of_the_house_are_those_of_their_decision() -> None:
    text = (DOCS / "adr/0019-the-house-second-storey.md").read_text("utf-8")
    listed = text.partition("from the\n  imports:")[2].partition(";")[0]
    assert tuple(names(listed)) == tuple(
        room for room in HOUSE if room not in {"api", "ground"}
    )


def test_the_rooms_of_the_converters_are_those_of_their_decision() -> None:
    text = (DOCS / "adr/0001-the-house.md").read_text("utf-8")
    assert set(
        names(text.partition("so they are in rooms:")[2].partition("`draft`")[0])
    ) == set(ROOMS)


def python_blocks() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, block in enumerate(blocks(page, "python"), 1):
            yield f"{page.name}-{number}", block


@pytest.mark.parametrize(
    "code", [pytest.param(code, id=name) for name, code in python_blocks()]
)
def test_python_that_a_page_shows_compiles_and_its_imports_resolve(code: str) -> None:
    tree = ast.parse(code)
    compile(tree, "page", "exec")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = import_module(str(node.module))
            for alias in node.names:
                known = hasattr(module, alias.name) or (
                    hasattr(module, "__path__") and find_spec(f"{node.module}.{alias.name}")
                )
                assert known, f"{node.module} has no {alias.name}"


def test_the_page_of_python_tells_every_public_name() -> None:
    told = set(names((DOCS / "python.md").read_text("utf-8")))
    called = {name.partition("(")[0] for name in told}
    assert set(api.__all__) <= called
    assert set(api.__all__) <= set(edgepack.__all__)
