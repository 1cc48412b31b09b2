"""Whether our android stubs are honest: each member exists in the platform, and since when.

The levels come from the declarations of the npm package @nativescript/types-android, which
lists API 21 to 37 with ``@since`` where a member is younger than 21.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_OPEN = re.compile(r"(?:declare|export) (?:abstract )?(module|class|interface) ([\w$]+)")
_SINCE = re.compile(r"@since (\d+)")
_MEMBER = re.compile(r"public (?:static )?(?:abstract )?([\w$]+)(\(|:)(.*)$")
#: Members that the declarations leave out: they list no native methods.
#: Source: developer.android.com, android.os.Debug: getPss "Added in API level 14".
UNLISTED = {"android.os.Debug.getPss(0)": 1}


@dataclass(frozen=True)
class Member:
    """A member of a stub: ``android.os.Debug``, ``getPss``, number of arguments or None."""

    owner: str
    name: str
    arguments: int | None

    def __str__(self) -> str:
        count = "" if self.arguments is None else f"({self.arguments})"
        return f"{self.owner}.{self.name}{count}"


@dataclass(frozen=True)
class Platform:
    """Level at which each member appeared (21 stands for 21 or earlier), and the parents."""

    members: dict[tuple[str, str, int | None], int]
    parents: dict[str, str]
    classes: dict[str, int]

    def since(self, member: Member) -> int | None:
        """Return the level of a member or of the one it inherits, None where there is none."""
        if str(member) in UNLISTED:
            return UNLISTED[str(member)]
        owner: str | None = member.owner
        for _ in range(32):
            if owner is None:
                return None
            found = self.members.get((owner, member.name, member.arguments))
            if found is not None:
                return max(found, self.classes.get(owner, 21))
            owner = self.parents.get(owner)
        return None


def read(declarations: Path) -> Platform:
    """Return what the declarations say of every class below ``android``."""
    members: dict[tuple[str, str, int | None], int] = {}
    parents: dict[str, str] = {}
    classes: dict[str, int] = defaultdict(lambda: 21)
    stack: list[tuple[str, str]] = []
    since = 21
    for raw in declarations.read_text("utf-8").splitlines():
        line = raw.strip()
        if line.startswith(("/**", "*", "//")):
            found = _SINCE.search(line)
            since = int(found[1]) if found else since
            continue
        opened = _OPEN.match(line)
        if opened and line.endswith("{"):
            stack.append((opened[1], opened[2]))
            name = ".".join(word for _, word in stack)
            if opened[1] != "module":
                classes[name] = since
                parent = re.search(r"extends ([\w.$]+)", line)
                if parent:
                    parents[name] = parent[1]
        elif line.startswith("}") and stack:
            stack.pop()
        elif stack and stack[-1][0] != "module":
            _note(members, ".".join(word for _, word in stack), line, since)
            if line.endswith("{"):  # a block inside a member, such as an inline type
                stack.append(("class", "#"))
        since = 21
    return Platform(members, parents, dict(classes))


def _note(
    members: dict[tuple[str, str, int | None], int], owner: str, line: str, since: int
) -> None:
    found = _MEMBER.match(line)
    if not found:
        return
    name, kind, rest = found[1], found[2], found[3]
    key = (owner, name, _count(rest) if kind == "(" else None)
    members[key] = min(members.get(key, 1000), since)


def _count(rest: str) -> int:
    """Return how many parameters a list has that begins after its bracket."""
    depth, commas, empty = 0, 0, True
    for each in rest:
        if each == ")" and depth == 0:
            break
        depth += (each in "(<[{") - (each in ")>]}")
        commas += each == "," and depth == 0
        empty = empty and each == " "
    return 0 if empty else commas + 1


_CLASS = re.compile(r"(?:class|interface) (\S+)")
_JAVAP = re.compile(r"^\s+(?:[\w.$<>?\[\] ]+ )?([\w.$]+)\((.*)\)(?: throws .*)?;$")
_FIELD = re.compile(r"^\s+[\w.$<>?\[\] ]+ ([\w$]+)(?: = .*)?;$")


def stubbed(javap: str) -> Iterable[Member]:
    """Yield every member that ``javap -protected`` lists of the stubs."""
    owner = ""
    for line in javap.splitlines():
        opened = _CLASS.search(line)
        if opened and line.rstrip().endswith("{"):
            owner = opened[1].split("<")[0].replace("$", ".")
            continue
        called = _JAVAP.match(line)
        if called:
            name = called[1].replace("$", ".")
            inside = called[2].strip()
            count = _count(inside + ")") if inside else 0
            yield Member(owner, "constructor" if name == owner else name, count)
            continue
        held = _FIELD.match(line)
        if held:
            yield Member(owner, held[1], None)
