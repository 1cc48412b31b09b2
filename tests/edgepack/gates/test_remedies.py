"""A remedy names only commands that exist, with the file they take and options they have."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from edgepack.cli.main import app
from edgepack.file_kinds import TAKES

ROOT = Path(__file__).resolve().parents[3]
#: Where findings are worded.
PLACES = (
    "edgepack/gates", "edgepack/bundle/validation.py", "edgepack/firmware/bench.py",
    "edgepack/firmware/emulator", "edgepack/emulation", "edgepack/compat",
    "edgepack/sandbox/engine.py", "edgepack/sandbox/images/inventory.py",
    "edgepack/inference", "edgepack/pipeline/tools.py", "edgepack/pipeline/prebuilt.py",
)  # fmt: skip
#: The argument of a command in a remedy tells the kind of file; none where it takes none.
MODEL_OF_KIND = {"keras": "MODEL.keras", "tflite": "MODEL.tflite", "bundle": "BUNDLE"}
ARGUMENTS = {
    "build": "MODEL.keras", "bundle": "MODEL.tflite",
    "check": "MODEL.tflite", "profiles suggest": "MODEL.tflite",
    "validate": "BUNDLE", "bench": "BUNDLE", "report": "BUNDLE",
    "android run": "BUNDLE", "android pull": "BUNDLE",
}  # fmt: skip
MENTION = re.compile(r"\bedgepack ([a-z]+(?: [a-z]+)?)((?: [A-Z][\w.]*)?)")
OPTION = re.compile(r"--[a-z][a-z-]*")


def commands() -> dict[str, Any]:
    """Return every command by its words, groups included."""
    found: dict[str, Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        if words:
            found[" ".join(words)] = command
        for name, child in getattr(command, "commands", {}).items():
            walk(child, (*words, name))

    walk(typer.main.get_command(app), ())
    return found


COMMANDS = commands()


def options_of(command: str) -> set[str]:
    parameters = COMMANDS[command].params
    return {option for each in parameters for option in (*each.opts, *each.secondary_opts)}


def texts() -> Iterator[tuple[str, str]]:
    """Yield (place, text) of every string in the modules that word findings, no docstrings."""
    for place in PLACES:
        path = ROOT / place
        assert path.exists(), f"{place} has moved: name where its findings are worded"
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            tree = ast.parse(file.read_text("utf-8"))
            docs = {
                id(node.body[0].value)
                for node in ast.walk(tree)
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
                and node.body
                and isinstance(node.body[0], ast.Expr)
            }
            inner = {
                id(part)
                for node in ast.walk(tree)
                if isinstance(node, ast.JoinedStr)
                for part in ast.walk(node)
                if part is not node
            }
            for node in ast.walk(tree):
                if id(node) in docs or id(node) in inner:
                    continue
                text = _text(node)
                if text:
                    yield f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", text


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "VALUE" for part in node.values)
    return ""


MENTIONS = [
    (place, text)
    for place, text in texts()
    if MENTION.search(text) and not re.search(r"edgepack (?:is|has|of|under)\b", text)
]


def test_remedies_were_found_to_walk() -> None:
    assert len(MENTIONS) >= 10


@pytest.mark.parametrize(("place", "text"), MENTIONS, ids=[place for place, _ in MENTIONS])
def test_a_remedy_names_commands_with_what_they_take(place: str, text: str) -> None:
    mentions = list(MENTION.finditer(text))
    ends = [found.start() for found in mentions[1:]] + [len(text)]
    for found, end in zip(mentions, ends, strict=True):
        words, argument = found[1], found[2].strip()
        name = words if words in COMMANDS else words.split(" ", maxsplit=1)[0]
        assert name in COMMANDS, f"{place}: no command 'edgepack {words}'"
        assert "commands" not in vars(COMMANDS[name]), f"{place}: {name} is a group"
        wanted = ARGUMENTS.get(name, "")
        takes = any(each.param_type_name == "argument" for each in COMMANDS[name].params)
        assert takes == bool(wanted), f"{place}: say here what file 'edgepack {name}' takes"
        assert argument == wanted, f"{place}: 'edgepack {name}' takes {wanted or 'no file'}"
        named = set(OPTION.findall(text[found.end() : end]))
        assert named <= options_of(name), f"{place}: {name} has no {named - options_of(name)}"
        for each in COMMANDS[name].params:  # followed word for word, it must run
            if each.param_type_name == "option" and each.required:
                assert named & set(each.opts), f"{place}: {name} wants {each.opts[0]}"


@pytest.mark.parametrize("kind", TAKES)
def test_the_kinds_of_file_are_those_that_the_commands_tell_apart(kind: str) -> None:
    command = re.search(r"edgepack ([a-z]+)", TAKES[kind])
    assert command is not None
    assert ARGUMENTS[command[1]] == MODEL_OF_KIND[kind]


def test_an_option_without_its_command_is_one_that_some_command_has() -> None:
    known = {option for name in COMMANDS for option in options_of(name)}
    for place, text in texts():
        if not MENTION.search(text) and "edgepack/gates" in place:
            assert set(OPTION.findall(text)) <= known, (place, text)
