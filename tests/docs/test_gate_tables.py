"""The tables of gates in the pages are the gates that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from edgepack.gates import expected
from edgepack.gates.expected import BUNDLE, DATA, FIRMWARE, OTHER, REPORT, SANDBOX, STATIC

ROOT = Path(__file__).resolve().parents[2]
ALL = {*STATIC, *DATA, *BUNDLE, *SANDBOX, *REPORT, *OTHER}.union(*FIRMWARE.values())


def rows(page: str, heading: str) -> list[tuple[str, ...]]:
    """Return the rows of the first table below a heading, without its two first lines."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    assert heading in text, f"{page} has no {heading!r}"
    found: list[tuple[str, ...]] = []
    for line in text.partition(heading)[2].splitlines():
        if line.startswith("|"):
            found.append(tuple(cell.strip() for cell in line.strip("|").split("|")))
        elif found:
            break
    return found[2:]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_table_of_verdicts_names_every_gate_once() -> None:
    told = [name for row in rows("verdicts.md", "## The gates") for name in names(row[0])]
    assert len(told) == len(set(told))
    assert set(told) == ALL | {"delegate:…"}


def test_the_static_gates_have_their_page() -> None:
    table = rows("gates.md", "length and index is checked before it is followed.")
    told = [name for row in table for name in names(row[0])]
    assert told == [*STATIC, "delegate:NAME"]


def test_the_table_of_devices_is_what_they_are_asked() -> None:
    table = rows("verdicts.md", "### Which gates a device is asked")
    told = [tuple(names(row[1])) for row in table]
    assert told == [SANDBOX, FIRMWARE["c"], FIRMWARE["tflm"], FIRMWARE["npu"]]


def test_what_else_is_asked_is_told_in_words() -> None:
    text = (ROOT / "docs/verdicts.md").read_text("utf-8")
    words = text.partition("### Which gates a device is asked")[2].partition("|")[0]
    assert {*DATA, *BUNDLE} <= set(names(words))


#: Functions whose first argument is the name of a gate.
NAMING = {
    "at_most", "range_at_most", "inconclusive", "passed", "failed", "unanswered", "_refusal",
    "_finding", "_told", "_no_value_wrong",
}  # fmt: skip


def named_in(path: Path) -> set[str]:
    """Return the names of gates that a module gives to findings as plain strings."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        given = [word.value for word in node.keywords if word.arg == "gate"]
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        given += node.args[:1] if called in NAMING else []
        found |= {
            each.value
            for each in given
            if isinstance(each, ast.Constant) and isinstance(each.value, str)
        }
    return found


@pytest.mark.parametrize(
    "room", ["gates", "bundle", "firmware", "emulation", "pipeline", "cli"]
)
def test_no_finding_has_a_name_that_is_not_listed(room: str) -> None:
    for path in sorted((ROOT / "edgepack" / room).rglob("*.py")):
        assert named_in(path) <= ALL, f"{path}: list it in {expected.__name__}"


def test_names_of_gates_were_found() -> None:
    found = set().union(*(named_in(p) for p in (ROOT / "edgepack/gates").glob("*.py")))
    assert {"storage", "accuracy_drop", "calibration", "arena", "device_hashes"} <= found
