"""What each runtime release was measured to run; edgepack/compat/tables/*.json, read once.

The tables are answers of the runtimes themselves (benchmarks/runtime_truth.py), not of
their documentation: ADD version 4 is taken by TensorFlow Lite 2.4 and refused by 2.5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any


@cache
def table(name: str) -> Mapping[str, Any]:
    """Return one table of the package, such as ``versions``."""
    text = (
        resources.files("edgepack.compat").joinpath("tables", f"{name}.json").read_text("utf-8")
    )
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def measured_release(line: str, version: str) -> str | None:
    """Return the measured release that stands for ``version``; None if it is older than all.

    The same minor release of TensorFlow Lite (its patches change no operator), else the
    newest measured one that is not newer: an older release never takes what it refused.
    """
    wanted = release_key(version)
    found = None
    for release in table("versions")["releases"][line]:
        known = release_key(release)
        if known <= wanted or (line == "tflite" and known[:2] == wanted[:2]):
            found = release
    return found


@cache
def release_key(version: str) -> tuple[int, ...]:
    """Return a release as numbers that sort: ``2.14.0``, or a TFLM snapshot's time."""
    if snapshot := re.search(r"20[0-9]{6}(?:[0-9]{6})?", version):
        return (int(snapshot[0].ljust(14, "0")),)
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3])


def value_at(changes: list[list[Any]], release: str, absent: Any) -> Any:
    """Return the value that holds at a measured release, from a list of changes."""
    value = absent
    for since, then in changes:
        if release_key(since) <= release_key(release):
            value = then
    return value


def highest_version(op: str, line: str, release: str) -> int:
    """Return the highest version of an operator that a release takes; 0 where it has none."""
    changes = table("versions")["ops"].get(op, {}).get(line, [])
    return int(value_at(changes, release, 0))


def first_release(op: str, version: int, line: str) -> str | None:
    """Return the first measured release from which on an operator's version is taken."""
    return _since(table("versions")["ops"].get(op, {}).get(line, []), lambda v: v >= version)


def kernel_status(op: str, signature: str, version: int, line: str, release: str) -> str | None:
    """Return ``ok``, ``refused`` or ``wrong`` of one use; None where it was not measured."""
    known = table("kernels")["ops"].get(op)
    if known is None:
        return None
    changes = measured_use(known, signature, version)
    if changes is None:  # ran on no release of any line, or was not tried
        return "refused" if signature in table("kernels").get("tried", {}).get(op, ()) else None
    return str(value_at(changes.get(line, []), release, "refused"))


def first_correct_release(op: str, signature: str, version: int, line: str) -> str | None:
    """Return the first measured release that computes one use right, and all after it."""
    changes = measured_use(table("kernels")["ops"].get(op, {}), signature, version) or {}
    return _since(changes.get(line, []), lambda status: status == "ok")


def measured_use(
    known: Mapping[str, Any], signature: str, version: int
) -> Mapping[str, Any] | None:
    """Return what was measured of a use; a variant that was not stands for its plain form."""
    plain = signature.partition("/")[0]
    for key in (f"{signature}@{version}", signature, f"{plain}@{version}", plain):
        if key in known:
            found: Mapping[str, Any] = known[key]
            return found
    return None


def _since(changes: list[list[Any]], holds: Any) -> str | None:
    first = None
    for since, value in changes:
        if not holds(value):
            first = None
        elif first is None:
            first = since
    return first
