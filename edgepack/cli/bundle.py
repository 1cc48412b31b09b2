"""``edgepack bundle``: a .tflite that was made elsewhere, judged and bundled as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgepack.cli.build import (
    AllowCode,
    Data,
    Evidence,
    Micro,
    NameOption,
    Out,
    Pixels,
    SignKey,
    Task,
    finish,
)
from edgepack.cli.options import Json, Profiles, SandboxOption, Strict, TfliteFile


def bundle(
    model: TfliteFile,
    data: Data,
    profile: Profiles,
    float_: Annotated[
        Path | None,
        typer.Option(
            "--float",
            metavar="REF",
            help="Float model of the file (.tflite or Keras) to compare it with.",
            readable=False,
        ),
    ] = None,
    min_accuracy: Annotated[
        float | None,
        typer.Option(
            "--min-accuracy",
            metavar="X",
            help="Least accuracy, exact match or R² on the test rows (0 to 1).",
        ),
    ] = None,
    task: Task = None,
    micro: Micro = "c",
    out: Out = Path("out"),
    pixels: Pixels = "raw",
    evidence: Evidence = "8 MiB",
    sign_key: SignKey = None,
    name: NameOption = None,
    allow_code: AllowCode = False,
    sandbox: SandboxOption = True,
    strict: Strict = False,
    json_: Json = False,
) -> int:
    """Bundle a finished .tflite as it is, for given devices."""
    from edgepack.pipeline.data.loading import present
    from edgepack.pipeline.prebuilt import BundleRequest, resolve, run

    request = BundleRequest(
        model=model,
        data=data,
        profiles=profile,
        reference=float_,
        min_accuracy=min_accuracy,
        out=out,
        task=task,
        pixels=pixels,
        allow_code=allow_code,
        evidence=evidence,
        sign_key=sign_key,
        micro=micro,
        name=name,
        sandbox=sandbox,
    )
    target = resolve(request)
    present(request.data)
    return finish(lambda bars: run(request, target, bars), out, strict=strict, json_=json_)
