"""``edgepack check``: the static gates for anybody's .tflite; no TensorFlow, no engine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgepack.cli import output

if TYPE_CHECKING:
    from edgepack.profiles.profile import Profile

CEILING_BYTES = 2 * 1024**3

Profiles = Annotated[
    list[str],
    typer.Option("--profile", "-p", help="Device name or .toml file; may be repeated."),
]
#: No path is tested by typer: who opens it says in one line what is wrong, with exit 1.
TfliteFile = Annotated[
    Path, typer.Argument(help="A .tflite file.", show_default=False, readable=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="An inconclusive gate fails too (exit 3).")
]


def devices_of(given: Iterable[str]) -> list[Profile]:
    """Return the profiles of names and files, each device once.

    Raises:
        UsageError: an unknown name, or two profiles that share one.
    """
    from edgepack.errors import UsageError
    from edgepack.profiles import catalogue

    found: dict[str, Profile] = {}
    for word in dict.fromkeys(given):
        profile = catalogue.load(word)
        if found.setdefault(profile.name, profile) != profile:
            raise UsageError(f"--profile {word}: another profile is named {profile.name} too")
    return list(found.values())


def tflite_bytes(model: Path) -> bytes:
    """Return the bytes of a .tflite file.

    Raises:
        InputError: unreadable, too large, or plainly something else.
    """
    from edgepack.cli import file_kinds as meant
    from edgepack.files import read_whole

    meant.wanted(model, "tflite")
    return read_whole(model, CEILING_BYTES, "a .tflite model")


def check(
    model: TfliteFile,
    profile: Profiles,
    json_: Json = False,
    strict: Strict = False,
) -> int:
    """Judge a .tflite against devices by what the file alone tells."""
    from edgepack.errors import InputError
    from edgepack.gates.static import check as judge

    devices = devices_of(profile)
    data = tflite_bytes(model)
    try:
        judged = [(device, judge(data, device)[1]) for device in devices]
    except InputError as error:
        raise InputError(f"{model}: {error}") from error
    outcomes = [verdict.outcome for _, verdict in judged]
    if json_:
        found = [
            finding.as_json() | {"profile": device.name}
            for device, verdict in judged
            for finding in verdict.findings
        ]
        output.emit(
            {
                "schema": "edgepack.check/2",
                "model": str(model),
                "verdict": output.worst(outcomes).value,
                "findings": found,
                "verdicts": {device.name: v.outcome.value for device, v in judged},
            }
        )
    else:
        for device, verdict in judged:
            output.judged(f"{model.name} on {device.title}", device.name, verdict)
    return output.exit_code(outcomes, strict)
