"""``edgepack check``: the static gates for anybody's .tflite; no TensorFlow, no engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgepack.cli import output

CEILING_BYTES = 2 * 1024**3

Profiles = Annotated[
    list[str],
    typer.Option("--profile", "-p", help="Device name or .toml file; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]
Strict = Annotated[bool, typer.Option("--strict", help="An open gate fails too (exit 3).")]


def check(
    model: Annotated[Path, typer.Argument(help="A .tflite file.", show_default=False)],
    profile: Profiles,
    json_: Json = False,
    strict: Strict = False,
) -> int:
    """Judge a .tflite against devices by what the file alone tells."""
    from edgepack.check import check as judge
    from edgepack.errors import InputError
    from edgepack.profiles import catalogue
    from edgepack.store import read_whole

    devices = [catalogue.load(name) for name in profile]
    data = read_whole(model, CEILING_BYTES, "a .tflite model")
    try:
        judged = [(device, *judge(data, device)) for device in devices]
    except InputError as error:
        raise InputError(f"{model}: {error}") from error
    outcomes = [verdict.outcome for _, _, verdict in judged]
    if json_:
        made = [
            output.as_json("edgepack.check/1", verdict, model=str(model), profile=device.name)
            for device, _, verdict in judged
        ]
        # One profile gives the promised object itself; several give them under one roof.
        output.emit(
            made[0]
            if len(made) == 1
            else {
                "schema": "edgepack.checks/1",
                "verdict": output.worst(outcomes).value,
                "findings": [
                    f | {"profile": m["profile"]} for m in made for f in m["findings"]
                ],
                "checks": made,
            }
        )
    else:
        for device, _, verdict in judged:
            typer.echo(f"{model.name} on {device.title}")
            typer.echo("\n".join(output.lines(verdict.findings)))
            typer.echo(output.closing(device.name, verdict))
    return output.exit_code(outcomes, strict)
