"""``edgepack check``: the static gates for anybody's .tflite; no TensorFlow, no engine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack.cli import output
from edgepack.cli.options import Json, Profiles, Strict, TfliteFile

if TYPE_CHECKING:
    from edgepack.profiles.profile import Profile

CEILING_BYTES = 2 * 1024**3


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
    from edgepack.cli import file_kinds
    from edgepack.files import read_whole

    file_kinds.wanted(model, "tflite")
    return read_whole(model, CEILING_BYTES, "a .tflite model")


def check(
    model: TfliteFile,
    profile: Profiles,
    json_: Json = False,
    strict: Strict = False,
) -> int:
    """Run the static gates of a .tflite for given devices."""
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
