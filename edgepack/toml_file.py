"""A TOML file that a person wrote: its tables, the line of each key, every mistake in it.

The file is hostile until read: bounded, UTF-8, parsed by ``tomllib``, not deeper than any
file here can be. Nothing in this module knows what the keys mean; profiles and recipes do.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import json
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from edgepack.errors import InputError

#: Path of a key as pydantic reports it: ``("cpu", "cores", 0, "name")``.
Loc = tuple[str | int, ...]
#: What one value of a written TOML table may be; None and what is empty are left out.
Value = str | int | float | list[str] | None
TomlTable = dict[str, Value]

LARGEST_FILE_BYTES = 256 * 1024
_DEEPEST = 8
_LONGEST_SHOWN = 80
_LONGEST_LINE = 300
#: So many mistakes are in the message of one exception; it holds all of them.
_MOST_SAID = 5
_AT_LINE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_ONE_WORD = re.compile(r"[A-Za-z0-9_.+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A mistake: where it is, what was wanted, what was received, what was perhaps meant.

    Attributes:
        line: from 1; None where the file as a whole is meant.
        key: dotted path, list items from 0: ``cpu.cores.0.count``.
        nearest: the word that was probably meant; None where none is near.
    """

    file: str
    line: int | None = None
    key: str = ""
    wanted: str
    got: str
    nearest: str | None = None

    @property
    def says(self) -> str:
        """The mistake as one line."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        meant = self.nearest
        if meant and _ONE_WORD.fullmatch(meant):  # a phrase carries its own quotes
            meant = repr(meant)
        ending = f", did you mean {meant}?" if meant else ""
        got = self.got
        if len(got) > _LONGEST_LINE:  # a number of 4,000 digits, a list of 3,000 stages
            got = f"{got[: _LONGEST_LINE - 3]}..."
        return f"{place}:{key} wanted {self.wanted}. Received: {got}{ending}"

    def as_json(self) -> dict[str, Any]:
        """Return the mistake for ``--json``."""
        return asdict(self)


class InvalidFile(InputError):  # noqa: N818 - reads as a state, not as a fault
    """A file with mistakes; ``problems`` holds each of them, the message the first few."""

    def __init__(self, *problems: Problem) -> None:
        said = [problem.says for problem in problems[:_MOST_SAID]]
        if len(problems) > _MOST_SAID:
            more = len(problems) - _MOST_SAID
            said.append(f"and {more} more mistake{'s' if more > 1 else ''}")
        super().__init__("; ".join(said))
        self.problems = problems


class UnreadableFile(InvalidFile):
    """There is no file to find mistakes in: absent, forbidden, or no regular file."""


@dataclass(frozen=True)
class TomlFile:
    """The tables of one file, and where each of their keys stands.

    Attributes:
        where: the file as messages name it.
    """

    where: str
    text: str
    data: dict[str, Any]

    @cached_property
    def _lines(self) -> dict[Loc, int]:
        return lines(self.text)

    def line_of(self, loc: Loc) -> int | None:
        """Return the line of exactly that key; None where the file does not hold it."""
        return self._lines.get(loc)

    def nearest_line_of(self, loc: Loc) -> int | None:
        """Return the line of that key, or of the nearest table above it."""
        found = (self.line_of(loc[:length]) for length in range(len(loc), 0, -1))
        return next((line for line in found if line is not None), None)


def read(path: Path, what: str) -> TomlFile:
    """Return the tables of the regular file at ``path``; no symbolic link is followed.

    Args:
        what: what the file should be, for messages: ``a profile file``.

    Raises:
        UnreadableFile: absent, forbidden, not a regular file.
        InvalidFile: too large, not UTF-8, not TOML, too deep.
    """
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(path, flags)
    except (OSError, ValueError) as error:
        got = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.ELOOP:  # what O_NOFOLLOW makes of a link
            got = "a symbolic link; copy the file instead"
        raise UnreadableFile(Problem(file=str(path), wanted=what, got=got)) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UnreadableFile(Problem(file=str(path), wanted=what, got="no regular file"))
    with os.fdopen(handle, "rb") as stream:
        raw = stream.read(LARGEST_FILE_BYTES + 1)
    return parse(raw, str(path))


def parse(raw: bytes, where: str) -> TomlFile:
    """Return the tables written in ``raw``.

    Raises:
        InvalidFile: too large, not UTF-8, not TOML, too deep.
    """
    if len(raw) > LARGEST_FILE_BYTES:
        raise _invalid(where, f"at most {LARGEST_FILE_BYTES} B", "a larger file")
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _invalid(where, "UTF-8 text", f"byte 0x{raw[error.start]:02x}", line) from error
    try:
        data = copy.deepcopy(_tables(text))  # callers take keys out of theirs
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError as error:
        at = _AT_LINE.search(str(error))
        says = _AT_LINE.sub("", str(error))
        if "int_max_str_digits" in says:  # Python's own limit, of which a user knows nothing
            says = "a number of too many digits"
        last_line = text.rstrip("\n").count("\n") + 1
        at_line = int(at[1] or last_line) if at else None
        raise _invalid(where, "TOML", says, at_line) from error
    if _depth(data) > _DEEPEST:
        raise _too_deep(where)
    return TomlFile(where, text, data)


@lru_cache(maxsize=128)
def _tables(text: str) -> dict[str, Any]:
    """Return the tables of a text; a family of profiles is read once, not once a device."""
    return tomllib.loads(text)


def _too_deep(where: str) -> InvalidFile:
    return _invalid(where, f"tables nested at most {_DEEPEST} deep", "deeper nesting")


def _invalid(where: str, wanted: str, got: str, line: int | None = None) -> InvalidFile:
    return InvalidFile(Problem(file=where, line=line, wanted=wanted, got=got))


def _depth(data: Any) -> int:
    deepest, pending = 0, [(data, 0)]
    while pending:
        value, depth = pending.pop()
        deepest = max(deepest, depth)
        if isinstance(value, dict):
            pending.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            pending.extend((item, depth + 1) for item in value)
    return deepest


def shown(value: Any) -> str:
    """Return ``value`` as a short single line, strings in quotes, truth as TOML writes it."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def one_line(text: str) -> str:
    """Return ``text`` as a short line without control characters, whatever it held."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split())[:_LONGEST_LINE]


def document(top: TomlTable, tables: Mapping[str, TomlTable | list[TomlTable] | None]) -> str:
    """Return the TOML text of ``top`` and then each table; what is None or empty is left out.

    A list becomes an array of tables. Strings are made one line and quoted, so no text of
    a device can become TOML.
    """
    written = _pairs(top)
    for name, content in tables.items():
        if isinstance(content, list):
            for item in content:
                written += ["", f"[[{name}]]", *_pairs(item)]
        elif content and (pairs := _pairs(content)):
            written += ["", f"[{name}]", *pairs]
    return "\n".join(written) + "\n"


def _pairs(table: TomlTable) -> list[str]:
    return [
        f"{key} = {_value(value)}"
        for key, value in table.items()
        if value not in (None, [], "")
    ]


def _value(value: Value) -> str:
    if isinstance(value, str):
        return json.dumps(one_line(value), ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return repr(value)


_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_SKIP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]\}\n#]*")


def lines(text: str) -> dict[Loc, int]:
    """Return the line, from 1, of each key, table header and array item of ``text``.

    ``tomllib`` keeps no positions. A text that is no TOML yields the lines found up to the
    point where it stops being one; nothing is decided about validity.
    """
    scanner = _Scanner(text)
    with contextlib.suppress(ValueError, IndexError, RecursionError):
        scanner.document()  # the caller has tomllib's own message; lines are only an aid
    return scanner.found


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Loc, int] = {}
        self.counts: dict[Loc, int] = {}
        self.counted_to = (0, 1)

    def document(self) -> None:
        table: Loc = ()
        while True:
            self._skip(_SKIP)
            if self.at >= len(self.text):
                return
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Loc:
        line = self._line()
        array = self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        self._skip(_BLANK)
        names = self._dotted()
        self._skip(_BLANK)
        self.at += 2 if array else 1
        path: Loc = ()
        for position, name in enumerate(names):
            path += (name,)
            self.found.setdefault(path, line)
            if path not in self.counts and not (array and position == len(names) - 1):
                continue
            if array and position == len(names) - 1:
                self.counts[path] = self.counts.get(path, -1) + 1
            path += (self.counts[path],)
            self.found.setdefault(path, line)
        return path

    def _pair(self, table: Loc) -> None:
        line = self._line()
        path = table
        for name in self._dotted():
            path += (name,)
            self.found.setdefault(path, line)
        self._skip(_BLANK)
        if self.text[self.at] != "=":
            raise ValueError("no '='")
        self.at += 1
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Loc) -> None:
        first = self.text[self.at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._items(path)
        elif first == "{":
            self._inline(path)
        else:
            self._skip(_SCALAR)

    def _items(self, path: Loc) -> None:
        self.at += 1
        index = 0
        while True:
            self._skip(_SKIP)
            if self.text[self.at] == "]":
                self.at += 1
                return
            here = (*path, index)
            self.found.setdefault(here, self._line())
            self._value(here)
            index += 1
            self._skip(_SKIP)
            if self.text[self.at] == ",":
                self.at += 1

    def _inline(self, path: Loc) -> None:
        self.at += 1
        while True:
            self._skip(_SKIP)
            if self.text[self.at] == "}":
                self.at += 1
                return
            self._pair(path)
            self._skip(_SKIP)
            if self.text[self.at] == ",":
                self.at += 1

    def _dotted(self) -> list[str]:
        names = [self._name()]
        while True:
            self._skip(_BLANK)
            if self.at >= len(self.text) or self.text[self.at] != ".":
                return names
            self.at += 1
            self._skip(_BLANK)
            names.append(self._name())

    def _name(self) -> str:
        if self.text[self.at] in "\"'":
            start = self.at
            self._string()
            name: str = tomllib.loads(f"name = {self.text[start : self.at]}")["name"]
            return name
        match = _BARE.match(self.text, self.at)
        if match is None:
            raise ValueError("no key")
        self.at = match.end()
        return match[0]

    def _string(self) -> None:
        quote = self.text[self.at]
        mark = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(mark)
        while not self.text.startswith(mark, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
            if self.at > len(self.text):
                raise ValueError("open string")
        self.at += len(mark)
        if len(mark) == 3:  # up to two more quotes may belong to the string's end
            while self.text.startswith(quote, self.at):
                self.at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def _line(self) -> int:
        seen, line = self.counted_to
        line += self.text.count("\n", seen, self.at)
        self.counted_to = (self.at, line)
        return line
