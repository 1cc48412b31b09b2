"""Tables as the text of a TOML file, in the layout of the built-in profiles."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

Value = str | int | float | list[str] | None
Table = dict[str, Value]

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_LONGEST = 300


def one_line(text: str) -> str:
    """Return ``text`` as a short line without control characters, whatever it held."""
    return " ".join(_UNPRINTABLE.sub(" ", text).split())[:_LONGEST]


def document(top: Table, tables: Mapping[str, Table | list[Table] | None]) -> str:
    """Return the TOML text of ``top`` and then each table; what is None or empty is left out.

    A list becomes an array of tables. Strings are made one line and quoted, so no text of
    a device can become TOML.
    """
    lines = _pairs(top)
    for name, content in tables.items():
        if isinstance(content, list):
            for item in content:
                lines += ["", f"[[{name}]]", *_pairs(item)]
        elif content and (pairs := _pairs(content)):
            lines += ["", f"[{name}]", *pairs]
    return "\n".join(lines) + "\n"


def _pairs(table: Table) -> list[str]:
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
