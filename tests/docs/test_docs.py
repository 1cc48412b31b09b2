"""The pages against the code: paths, links, commands, options, numbers of decisions."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from edgepack.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
TOPS = "edgepack|converters|device_profiles|docker|tests|android_harness|benchmarks|docs"
#: A path of this project, wherever it stands in a page; ``*`` and ``NAME`` are left open.
PATH = re.compile(rf"(?<![\w/.-])(?:{TOPS})/[\w./*-]+")
#: Names that begin like a path of ours and are none: JSON schemas, container images.
NO_PATH = re.compile(r"^edgepack/(?:[a-z-]+:|debs\.txt|_docker|profiles$)|^edgepack\.")
LINK = re.compile(r"\]\(([^)#\s]+)")
#: The command line, built once: every page shows dozens of commands.
PROGRAM: Any = typer.main.get_command(app)
#: Options that every command takes, or the program before its command.
GLOBAL = {"--help", "-h", "--version", "--debug"}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    # An ADR tells of its day; those that speak of the present are held to it like any page.
    absent = [
        found
        for found in (path.rstrip(".") for path in PATH.findall(page.read_text("utf-8")))
        if not NO_PATH.match(found) and not list(ROOT.glob(found.rstrip("/")))
    ]
    assert not absent


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    targets = [t for t in LINK.findall(page.read_text("utf-8")) if "://" not in t]
    assert not [t for t in targets if not (page.parent / t).exists()]


def lines_of_code(text: str) -> Iterator[str]:
    """Yield what stands in backticks, in fenced blocks and in indented ones."""
    fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.strip()
        else:
            yield from re.findall(r"`([^`]+)`", line)


def commands() -> Iterator[tuple[Path, list[str]]]:
    """Yield the words of each command line of a page, comments left out."""
    for page in PAGES:
        for code in lines_of_code(page.read_text("utf-8")):
            line = re.split(r"  | #", code)[0].replace("…", " ")
            if line.startswith("edgepack "):
                yield page, shlex.split(line)[1:]


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that ``words`` name and the words that are left for it."""
    found: Any = PROGRAM
    rest = list(words)
    while rest and hasattr(found, "commands") and rest[0] in found.commands:
        found = found.commands[rest.pop(0)]
    return found, rest


def test_every_command_that_a_page_shows_exists_with_its_options() -> None:
    seen, wrong = 0, []
    for page, words in commands():
        command, rest = command_of(words)
        known = getattr(command, "commands", {})
        word = rest[0] if rest else ""
        if known and word.isalpha() and word.islower():
            wrong.append(f"{name(page)}: edgepack {' '.join(words)}: no command {word!r}")
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | GLOBAL
        strange = {w.split("=")[0] for w in rest if re.match(r"--?[a-z]", w)} - options
        wrong += [f"{name(page)}: edgepack {' '.join(words)}: {strange}"] if strange else []
        seen += 1
    assert not wrong
    assert seen > 20, "the pages' commands are no longer found"


def test_decisions_are_numbered_without_holes_and_by_their_titles() -> None:
    files = sorted((ROOT / "docs/adr").glob("*.md"))
    numbers = [int(file.name.split("-")[0]) for file in files]
    assert numbers == list(range(1, len(files) + 1))
    for number, file in zip(numbers, files, strict=True):
        assert file.read_text("utf-8").startswith(f"# {number}. "), file.name


def test_every_decision_says_what_it_rests_on_and_costs() -> None:
    for file in (ROOT / "docs/adr").glob("*.md"):
        text = file.read_text("utf-8")
        for part in ("## Context", "## Decision", "## Price"):
            assert part in text, f"{file.name} has no {part}"


def test_the_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    absent = [p.name for p in (ROOT / "docs").glob("*.md") if f"docs/{p.name}" not in text]
    assert not absent
