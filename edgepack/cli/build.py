"""``edgepack build`` and ``edgepack demo``: one model in, one bundle or verdict a device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgepack.cli import output
from edgepack.cli.build_results import as_json, show, write
from edgepack.cli.options import Json, Profiles, SandboxOption, Strict

if TYPE_CHECKING:
    from edgepack.pipeline.pack import Product
    from edgepack.pipeline.request import BuildRequest, Progress, Resolved

DEMO_PROFILES = ("clinic-tablet-1gb-armv7", "midrange-phone-arm64", "nucleo-l4r5zi")


Data = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        metavar="DATA",
        help="Data set: .npz file, image folder, tfds:NAME or file.py:function.",
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="TASK",
        help="Task: classification, multilabel, regression or reconstruction;"
        " default: by loss and targets.",
    ),
]
Micro = Annotated[
    str,
    typer.Option(
        "--micro",
        metavar="ROUTE",
        help="Sources for microcontrollers: c (plain C99) or tflm (TFLite Micro).",
    ),
]
Pixels = Annotated[
    str,
    typer.Option(
        "--pixels",
        metavar="RANGE",
        help="Pixel range of images: raw (0 to 255), unit (0 to 1) or signed (-1 to 1).",
    ),
]
Evidence = Annotated[
    str,
    typer.Option(
        "--evidence",
        metavar="SIZE",
        help="Test rows to put into the bundle, such as '8 MiB'; '0 B' puts none.",
    ),
]
SignKey = Annotated[
    Path | None,
    typer.Option(
        "--sign-key",
        metavar="FILE",
        help="Ed25519 private key (PEM) to sign with.",
        readable=False,
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="Model name in the names of bundles; default: the file's.",
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="Allow code from the model file: Lambda layers and pickled objects.",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out", "-o", metavar="DIR", help="Output folder of the bundles.", readable=False
    ),
]
RecipeName = Annotated[
    str,
    typer.Option(
        "--recipe",
        "-r",
        metavar="RECIPE",
        help="Built-in recipe or .toml file (docs/recipes.md).",
    ),
]


def build(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="Keras model: .keras file, .h5 file or SavedModel folder.",
            show_default=False,
            readable=False,
        ),
    ],
    data: Data,
    profile: Profiles,
    recipe: RecipeName = "prune-cluster-qat",
    task: Task = None,
    micro: Micro = "c",
    out: Out = Path("out"),
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            max=2**31 - 1,
            metavar="N",
            help="Random seed of initialisation, shuffling and augmentation.",
        ),
    ] = 0,
    augment: Annotated[
        list[str] | None,
        typer.Option(
            "--augment",
            metavar="VIEW",
            help="Random training views: hflip, vflip, rotate90, translate (repeatable).",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            metavar="MODEL",
            help="Keras model of the same task to distil from.",
            readable=False,
        ),
    ] = None,
    pixels: Pixels = "raw",
    evidence: Evidence = "8 MiB",
    sign_key: SignKey = None,
    name: NameOption = None,
    allow_code: AllowCode = False,
    sandbox: SandboxOption = True,
    strict: Strict = False,
    json_: Json = False,
) -> int:
    """Compress a Keras model into one bundle per device."""
    from edgepack.pipeline.data.loading import present
    from edgepack.pipeline.request import BuildRequest, resolve

    request = BuildRequest(
        model=model,
        data=data,
        profiles=profile,
        recipe=recipe,
        out=out,
        task=task,
        pixels=pixels,
        seed=seed,
        augment=tuple(augment or ()),
        teacher=teacher,
        allow_code=allow_code,
        evidence=evidence,
        sign_key=sign_key,
        micro=micro,
        name=name,
        sandbox=sandbox,
    )
    resolved = resolve(request)
    present(request.data)
    return carry_out(request, resolved, out, strict=strict, json_=json_)


def demo(
    out: Out = Path("out/demo"),
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            "-p",
            metavar="PROFILE",
            help="Target device: name or .toml file; may be repeated; default: three devices.",
        ),
    ] = None,
    recipe: RecipeName = "prune-cluster-qat",
    sandbox: SandboxOption = True,
    json_: Json = False,
) -> int:
    """Build bundles of a small CNN on embedded data."""
    from edgepack.pipeline.demo import DATA, MODEL, prepare
    from edgepack.pipeline.request import BuildRequest, resolve

    request = BuildRequest(
        model=out / MODEL,
        data=str(out / DATA),
        profiles=profile or DEMO_PROFILES,
        recipe=recipe,
        out=out,
        sandbox=sandbox,
        name="digits",
    )
    resolved = resolve(request)
    with output.progress() as bars:
        bars.say("training the demo model (8x8 handwritten digits)")
        prepare(out, bars.step)
    return carry_out(request, resolved, out, strict=False, json_=json_)


def carry_out(
    request: BuildRequest, resolved: Resolved, out: Path, *, strict: bool, json_: bool
) -> int:
    """Run a build to its end: bundles, tables, exit code."""
    from edgepack.pipeline.request import run

    return finish(lambda bars: run(request, resolved, bars), out, strict=strict, json_=json_)


def finish(
    make: Callable[[Progress], Sequence[Product]], out: Path, *, strict: bool, json_: bool
) -> int:
    """Make products, write and show them; return the exit code."""
    started = time.monotonic()
    with output.progress() as bars:
        products = make(bars)
    paths = write(products, out, strict=strict)
    seconds = time.monotonic() - started
    outcomes = [product.verdict.outcome for product in products]
    if json_:
        output.print_json(as_json(products, paths, seconds))
    else:
        show(products, paths, seconds)
    return output.exit_code(outcomes, strict)
