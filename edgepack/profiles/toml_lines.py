"""Where each key of a TOML text stands, so that a mistake can be shown with its line.

``tomllib`` keeps no positions. This scanner reads a text that ``tomllib`` has accepted and
builds nothing but line numbers; it decides nothing about validity.
"""

from __future__ import annotations

import contextlib
import re
import tomllib

Loc = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_SKIP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]\}\n#]*")


def lines(text: str) -> dict[Loc, int]:
    """Return the line, from 1, of each key, table header and array item of ``text``.

    Keys are paths as pydantic reports them: ``("cpu", "cores", 0, "name")``. A text that
    is no TOML yields the lines found up to the point where it stops being one.
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
