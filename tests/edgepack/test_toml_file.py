"""The scanner's lines against what a person counts, and against random TOML."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.toml_file import Problem, lines

TEXT = '''# a comment with = and [brackets]
title = "a # no comment"

[cpu]
isa = "armv7" # why
features = [
    "neon", # one
    "vfp",
]

[[cpu.cores]]
name = """two
lines"""
count = 4

[[cpu.cores]]
"na\\u006de" = 'x = "y"'

[ram]
total = { value = "1 GiB", source = "a, page" }
budget.value = "32 MiB"
budget.source = """say ""hi"""""

[[runtimes]]
op_versions = { CONV_2D = 3 }
'''


@pytest.mark.parametrize(
    ("loc", "line"),
    [
        (("title",), 2),
        (("cpu",), 4),
        (("cpu", "isa"), 5),
        (("cpu", "features"), 6),
        (("cpu", "features", 0), 7),
        (("cpu", "features", 1), 8),
        (("cpu", "cores", 0), 11),
        (("cpu", "cores", 0, "name"), 12),
        (("cpu", "cores", 0, "count"), 14),
        (("cpu", "cores", 1), 16),
        (("cpu", "cores", 1, "name"), 17),
        (("ram", "total", "source"), 20),
        (("ram", "budget"), 21),
        (("ram", "budget", "source"), 22),
        (("runtimes", 0), 24),
        (("runtimes", 0, "op_versions", "CONV_2D"), 25),
    ],
)
def test_each_key_stands_where_it_is_read(loc: tuple[str | int, ...], line: int) -> None:
    tomllib.loads(TEXT)
    assert lines(TEXT)[loc] == line


def test_a_key_that_is_not_there_has_no_line() -> None:
    assert ("ram", "page") not in lines(TEXT)


@pytest.mark.parametrize("text", ["a = ", "= 1", "[", '"', "a = [1, ", "{}", "\ufeff", "a.b."])
def test_what_is_no_toml_is_no_crash(text: str) -> None:
    lines(text)


keys = st.text("ab-_0", min_size=1, max_size=3)
scalars = st.one_of(
    st.integers(0, 9),
    st.booleans(),
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=6),
)


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + "".join(f"  {_inline(item)}, # {item!r}\n" for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "'" + value.replace("'", "") + "'"
    return str(value)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += _paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _paths(item, (*path, index))
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        keys,
        st.one_of(
            scalars,
            st.lists(scalars, max_size=3),
            st.dictionaries(keys, scalars, max_size=3),
        ),
        max_size=5,
    )
)
def test_every_key_and_item_of_any_document_has_a_line(data: dict[str, Any]) -> None:
    text = "".join(f"{key} = {_inline(value)}\n" for key, value in data.items())
    parsed = tomllib.loads(text)
    found = lines(text)
    for path in _paths(parsed):
        assert path in found
    tops = {path[0]: line for path, line in found.items() if len(path) == 1}
    for key, line in tops.items():
        assert text.splitlines()[line - 1].startswith(f"{key} =")


@pytest.mark.parametrize(("length", "whole"), [(299, True), (300, True), (301, False)])
def test_a_mistake_is_a_short_line_whatever_was_received(length: int, whole: bool) -> None:
    said = Problem(file="r.toml", line=3, key="epochs", wanted="1 to 9", got="9" * length).says
    assert said.endswith("9" * length if whole else "9...")
    assert len(said) <= len("r.toml:3: epochs: wanted 1 to 9. Received: ") + 300
