"""Turn the answers of runtimes into edgepack/compat/tables/versions.json and kernels.json."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TABLES = Path(__file__).resolve().parents[1] / "edgepack" / "support" / "tables"
LINES = ("tflite", "litert", "tflm")
REFERENCE = "litert-2.3.0"


def write_tables(folder: str) -> None:
    """Write both tables from every ``*.answers.json`` of a folder."""
    with Path(folder, "models.pkl").open("rb") as file:
        zoo = pickle.load(file)[0]  # noqa: S301 - written beside it by runtime_truth.py
    answers: dict[str, Any] = {
        path.name.removesuffix(".answers.json"): json.loads(path.read_text())
        for path in Path(folder).glob("*.answers.json")
    }
    releases = {
        line: sorted((r for r in answers if r.startswith(line + "-")), key=_order)
        for line in LINES
    }
    bare = {line: [r.partition("-")[2] for r in found] for line, found in releases.items()}
    names = sorted({name for answer in answers.values() for name in answer["known"]})
    versions = {
        name: {
            line: _changes(
                (r.partition("-")[2], _highest(name, r, answers[r]["known"])) for r in found
            )
            for line, found in releases.items()
        }
        for name in names
    }
    _write("versions.json", bare, {n: _present(v, 0) for n, v in versions.items()})
    kernels: dict[str, dict[str, Any]] = {}
    tried: dict[str, list[str]] = {}
    for key, op, dtype, version, variant, _, _ in zoo:
        status = {
            line: _changes(
                (r.partition("-")[2], _status(key, r, answers, dtype)) for r in found
            )
            for line, found in releases.items()
        }
        signature = dtype + (f"/{variant}" if variant else "")
        known = kernels.setdefault(op, {})
        tried.setdefault(op, []).append(signature)
        if signature in known and version > 1:  # the same use under a later version
            signature += f"@{version}"
        known[signature] = _present(status, "refused")
    run = {op: {use: at for use, at in known.items() if at} for op, known in kernels.items()}
    nowhere = {op: sorted(set(uses) - set(run[op])) for op, uses in tried.items() if op in run}
    _write("kernels.json", bare, run, {op: uses for op, uses in nowhere.items() if uses})
    _delegation(folder, zoo)


def _delegation(folder: str, zoo: list[Any]) -> None:
    """Write what each release hands to XNNPACK, by operator and dtypes."""
    found: dict[str, Any] = {
        path.name.removesuffix(".delegated.json"): json.loads(path.read_text())
        for path in Path(folder).glob("*.delegated.json")
    }
    releases = {
        line: sorted((r for r in found if r.startswith(line + "-")), key=_order)
        for line in ("tflite", "litert")
    }
    bare = {line: [r.partition("-")[2] for r in known] for line, known in releases.items()}
    ops: dict[str, dict[str, Any]] = {}
    for key, op, dtype, version, variant, _, _ in zoo:
        probe = _PROBES.get(op, "")
        key_of = f"{op} {dtype} {probe}" if probe and dtype in ("float32", "int8") else key
        signature = dtype + (f"/{variant}" if variant else "")
        known = ops.setdefault(op, {})
        if signature in known and version > 1:
            signature += f"@{version}"
        lines = {
            line: _changes((r.partition("-")[2], bool(found[r].get(key_of))) for r in some)
            for line, some in releases.items()
        }
        kept = _present(lines, False)
        if kept:
            known[signature] = kept
    _write("delegation.json", bare, {op: known for op, known in ops.items() if known})


#: Operators whose zoo model XNNPACK leaves for its shape: the variation that it takes.
_PROBES = {"STRIDED_SLICE": "step1"}


def _order(release: str) -> list[int]:
    return [int(part) for part in release.partition("-")[2].split(".")]


def _highest(name: str, release: str, known: dict[str, list[int]]) -> int:
    found = known.get(name, [])
    first = found[0] if found else 0
    if found != list(range(first, first + len(found))):
        raise ValueError(f"{release} {name}: versions with a gap {found}")
    return found[-1] if found else 0


def _status(key: str, release: str, answers: dict[str, Any], dtype: str) -> str:
    says = answers[release]["ran"][key]
    if not says.startswith("ok"):
        return "refused"
    truth = answers[REFERENCE]["ran"][key]
    if not truth.startswith("ok"):
        return "ok"
    got, wanted = json.loads(says[3:]), json.loads(truth[3:])
    if len(got) != len(wanted):
        return "wrong"
    largest = max(map(abs, wanted), default=0)
    allowed = 0.02 * largest + 1e-3 if "float" in dtype else 3
    close = all(abs(a - b) <= allowed for a, b in zip(got, wanted, strict=True))
    return "ok" if close else "wrong"


def _changes(sequence: Iterable[tuple[str, Any]]) -> list[list[Any]]:
    found: list[list[Any]] = []
    for release, value in sequence:
        if not found or found[-1][1] != value:
            found.append([release, value])
    return found


def _present(lines: dict[str, list[list[Any]]], absent: Any) -> dict[str, Any]:
    """Drop lines that never had it, and a leading absence."""
    kept = {}
    for line, changes in lines.items():
        trimmed = changes[1:] if changes and changes[0][1] == absent else changes
        if trimmed:
            kept[line] = trimmed
    return kept


def _write(
    name: str,
    releases: dict[str, list[str]],
    ops: dict[str, Any],
    tried: dict[str, list[str]] | None = None,
) -> None:
    TABLES.mkdir(exist_ok=True)
    lines = ",\n".join(f'  "{op}": {json.dumps(ops[op])}' for op in sorted(ops))
    head = json.dumps(releases)
    source = (
        "measured: benchmarks/runtime_truth.py ran every entry on these releases "
        "(tflite: tflite-runtime wheels 2.7-2.14, tensorflow wheels otherwise; litert: "
        "ai-edge-litert wheels; tflm: tflite-micro wheels), x86-64, builtin kernels"
    )
    more = f' "tried": {json.dumps(tried)},\n' if tried else ""
    top = f' "source": "{source}",\n "releases": {head},\n{more} "ops": {{\n'
    text = f"{{\n{top}{lines}\n }}\n}}\n"
    json.loads(text)
    (TABLES / name).write_text(text)
    print(name, len(text), "bytes,", len(ops), "operators")
