"""Help texts: whole noun phrases, a metavar each, and no colours for who asks for none."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from edgepack.cli import output
from edgepack.cli.main import app


def commands(command: Any = None, name: str = "edgepack") -> Iterator[tuple[str, Any]]:
    command = typer.main.get_command(app) if command is None else command
    yield name, command
    for word, each in getattr(command, "commands", {}).items():
        yield from commands(each, f"{name} {word}")


EVERY = dict(commands())
#: What a list of commands has room for on a line of 80, beside the longest name.
SHORT = 60


@pytest.mark.parametrize("name", EVERY)
def test_every_command_says_in_one_line_what_it_does(name: str) -> None:
    text = (EVERY[name].help or "").strip()
    first = text.splitlines()[0]
    assert first[0].isupper()
    assert first.endswith(".")
    if name != "edgepack":
        assert len(first) <= SHORT, "the list of commands would cut it short"


@pytest.mark.parametrize("name", EVERY)
def test_every_option_has_a_phrase_and_names_what_it_takes(name: str) -> None:
    for each in EVERY[name].params:
        if each.name in {"help", "version"}:
            continue
        text = each.help or ""
        assert text.endswith("."), (each.name, text)
        assert text[0].isupper() or text.startswith("benchmark_model"), (each.name, text)
        assert len(text.split()) >= 2, (each.name, text)
    shown = CliRunner().invoke(app, [*name.split()[1:], "--help"]).output
    assert "--help" in shown
    shown = shown[shown.index("Options:") :]  # typer shows an argument's type in any case
    assert not re.search(r"<(str|int|float|path|list)\b", shown), "a Python type, no metavar"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_figures_are_aligned_to_the_right_and_words_to_the_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [("a", "on board", "1.0 KiB", "-0.5%"), ("b", "x", "not stated", "10.0%")]
    output.table("title", ("name", "kind", "RAM", "share"), rows)
    *_, first, second, _ = capsys.readouterr().out.splitlines()
    assert first == "│ a    │ on board │    1.0 KiB │ -0.5% │"
    assert second == "│ b    │ x        │ not stated │ 10.0% │"


@pytest.mark.parametrize(("asked", "escapes"), [("1", False), ("", True)])
def test_no_color_is_honoured(
    monkeypatch: pytest.MonkeyPatch, asked: str, escapes: bool
) -> None:
    """no-color.org: any value that is not empty."""
    monkeypatch.setenv("NO_COLOR", asked)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stdout", Terminal())
    output.table("title", ("head",), [("cell",)])
    assert ("\x1b[" in sys.stdout.getvalue()) is escapes  # type: ignore[attr-defined]
