"""One profile file as tables with their lines, and how a child's tables lie over its parent's.

The file is hostile until read: a bounded, regular file of UTF-8, parsed by ``tomllib``,
not deeper than a profile can be. Nothing here knows what the keys mean.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgepack.profiles.problem import Problem, Wrong
from edgepack.profiles.toml_lines import Loc, lines

LARGEST_FILE_BYTES = 256 * 1024
_DEEPEST = 8
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_AT_LINE = re.compile(r"\s*\(at line (\d+), column (\d+)\)")


class Unreadable(Wrong):
    """There is no file to find mistakes in: absent, forbidden, or no regular file."""


@dataclass(frozen=True)
class Layer:
    """A file's own tables.

    Attributes:
        extends: what the file says it inherits; only ``parent`` is to be believed.
    """

    path: Path
    text: str
    data: dict[str, Any]
    extends: Any

    @property
    def parent(self) -> str | None:
        """The name of the profile or family this one inherits; never a path.

        Raises:
            Wrong: ``extends`` is no bare name.
        """
        if self.extends is None or (
            isinstance(self.extends, str) and NAME.fullmatch(self.extends)
        ):
            return self.extends
        raise Wrong(
            Problem(
                file=str(self.path),
                line=self.line_of(("extends",)),
                key="extends",
                wanted="the bare name of a profile or family",
                got=repr(self.extends)[:80],
            )
        )

    @cached_property
    def _lines(self) -> dict[Loc, int]:
        return lines(self.text)

    def line_of(self, loc: Loc) -> int | None:
        """Return the line of exactly that key; None where the file does not hold it."""
        return self._lines.get(loc)


def read_layer(path: Path) -> Layer:
    """Return the tables of the file at ``path``.

    Raises:
        Unreadable: absent, forbidden, not a regular file.
        Wrong: too large, not UTF-8, not TOML, too deep.
    """
    text = _text_of(path)
    try:
        data = tomllib.loads(text)
    except RecursionError:
        raise _wrong(path, f"tables nested at most {_DEEPEST} deep", "deeper nesting") from None
    except ValueError as error:
        at = _AT_LINE.search(str(error))
        says = _AT_LINE.sub("", str(error))
        raise _wrong(path, "TOML", says, int(at[1]) if at else None) from error
    if _depth(data) > _DEEPEST:
        raise _wrong(path, f"tables nested at most {_DEEPEST} deep", "deeper nesting")
    return Layer(path, text, data, data.pop("extends", None))


def merged(layers: tuple[Layer, ...]) -> dict[str, Any]:
    """Return the tables of the first layer laid over those it extends, in that order."""
    result: dict[str, Any] = {}
    for layer in reversed(layers):
        result = _over(result, layer.data)
    return result


def _over(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """Lay tables over tables; a list, a value or a table with its own source is replaced whole.

    A number inherited beside another's source would be a lie, so a table with a ``source``
    is one statement, and ``x_source`` goes when ``x`` is replaced.
    """
    result = {k: v for k, v in parent.items() if k.removesuffix("_source") not in child}
    for key, value in child.items():
        old = parent.get(key)
        result[key] = value
        tables = isinstance(old, dict) and isinstance(value, dict)
        if tables and "source" not in value and "source" not in parent[key]:
            result[key] = _over(parent[key], value)
    return result


def _text_of(path: Path) -> str:
    wanted = "a profile file"
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(path, flags)
    except (OSError, ValueError) as error:
        got = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) == errno.ELOOP:  # what O_NOFOLLOW makes of a link
            got = "a symbolic link; copy the file instead"
        raise Unreadable(Problem(file=str(path), wanted=wanted, got=got)) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Unreadable(Problem(file=str(path), wanted=wanted, got="no regular file"))
    with os.fdopen(handle, "rb") as stream:
        raw = stream.read(LARGEST_FILE_BYTES + 1)
    if len(raw) > LARGEST_FILE_BYTES:
        raise _wrong(path, f"at most {LARGEST_FILE_BYTES} B", "a larger file")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _wrong(path, "UTF-8 text", f"byte 0x{raw[error.start]:02x}", line) from error


def _depth(data: Any) -> int:
    deepest, open_ = 0, [(data, 0)]
    while open_:
        value, depth = open_.pop()
        deepest = max(deepest, depth)
        if isinstance(value, dict):
            open_.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            open_.extend((item, depth + 1) for item in value)
    return deepest


def _wrong(path: Path, wanted: str, got: str, line: int | None = None) -> Wrong:
    return Wrong(Problem(file=str(path), line=line, wanted=wanted, got=got))
