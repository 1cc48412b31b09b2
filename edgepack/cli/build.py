"""``edgepack build`` and ``edgepack demo``: one model in, one bundle or verdict a device."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgepack.cli import output
from edgepack.cli.check import Json, Profiles, Strict, devices_of
from edgepack.units import format_bytes, parse_bytes
from edgepack.verdict import Outcome

if TYPE_CHECKING:
    from edgepack.building.pipeline import Product
    from edgepack.building.recipe import Recipe

DEMO_PROFILES = ("clinic-tablet-1gb-armv7", "midrange-phone-arm64", "nucleo-l4r5zi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What ``build`` was asked for, before anything is opened."""

    model: Path
    data: str
    profiles: Sequence[str]
    recipe: str
    out: Path
    task: str | None = None
    pixels: str = "raw"
    seed: int = 0
    strict: bool = False
    allow_code: bool = False
    evidence: str = "8 MiB"
    sign_key: Path | None = None
    micro: Literal["c", "tflm"] = "c"
    name: str | None = None
    sandbox: bool = True


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the bundles.")]
RecipeName = Annotated[
    str,
    typer.Option("--recipe", "-r", help="Built-in recipe or .toml file (see docs/recipes.md)."),
]


def build(
    model: Annotated[
        Path, typer.Argument(help=".keras, .h5 or SavedModel folder.", show_default=False)
    ],
    data: Annotated[
        str,
        typer.Option("--data", "-d", help="x.npz, image folder, tfds:NAME, file.py:function."),
    ],
    profile: Profiles,
    recipe: RecipeName = "prune-cluster-qat",
    task: Annotated[
        str | None,
        typer.Option("--task", help="classification, regression or reconstruction."),
    ] = None,
    micro: Annotated[
        str, typer.Option("--micro", help="Sources for microcontrollers: c or tflm.")
    ] = "c",
    out: Out = Path("out"),
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, max=2**31 - 1, help="Of every random choice."),
    ] = 0,
    pixels: Annotated[
        str, typer.Option("--pixels", help="Image folders: raw 0-255, unit 0-1, signed -1-1.")
    ] = "raw",
    evidence: Annotated[
        str, typer.Option("--evidence", help="Test rows that travel along; '0 B' keeps them.")
    ] = "8 MiB",
    sign_key: Annotated[
        Path | None, typer.Option("--sign-key", help="Ed25519 private key (PEM).")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="In the bundles' names; default: the file's.")
    ] = None,
    allow_code: Annotated[
        bool,
        typer.Option("--allow-code", help="Run Lambda layers and pickled code of the model."),
    ] = False,
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox/--no-sandbox", help="Run the dynamic gates where they can."),
    ] = True,
    strict: Strict = False,
    json_: Json = False,
) -> int:
    """Compress a Keras model, judge it for each device, and write one bundle a device."""
    request = Request(
        model=model,
        data=data,
        profiles=profile,
        recipe=recipe,
        out=out,
        task=task,
        pixels=pixels,
        seed=seed,
        strict=strict,
        allow_code=allow_code,
        evidence=evidence,
        sign_key=sign_key,
        micro=_route(micro),
        name=name,
        sandbox=sandbox,
    )
    return carry_out(request, json_)


def demo(
    out: Out = Path("out/demo"),
    profile: Annotated[
        list[str] | None, typer.Option("--profile", "-p", help="Other devices than the three.")
    ] = None,
    recipe: RecipeName = "prune-cluster-qat",
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox/--no-sandbox", help="Run the dynamic gates where they can."),
    ] = True,
    json_: Json = False,
) -> int:
    """Train a small CNN on scikit-learn's digits and bundle it for three devices."""
    from edgepack.demo import prepare

    with output.progress() as bars:
        bars.say("training the demo model (8x8 handwritten digits)")
        model, data = prepare(out, bars.step)
    request = Request(
        model=model,
        data=str(data),
        profiles=profile or DEMO_PROFILES,
        recipe=recipe,
        out=out,
        sandbox=sandbox,
        name="digits",
    )
    return carry_out(request, json_)


def carry_out(request: Request, json_: bool) -> int:
    """Run a request to its end: bundles, tables, exit code."""
    started = time.monotonic()
    with output.progress() as bars:
        products = _products(request, bars)
    paths = _write(request, products)
    seconds = time.monotonic() - started
    outcomes = [product.verdict.outcome for product in products]
    if json_:
        output.emit(_as_json(products, paths, outcomes, seconds))
    else:
        _show(products, paths, seconds)
    return output.exit_code(outcomes, request.strict)


def _products(request: Request, bars: output.Progress) -> tuple[Product, ...]:
    from converters.draft import Training
    from edgepack import store
    from edgepack.building import data, pipeline
    from edgepack.building.assembly import Order
    from edgepack.building.data_forms import PIXELS
    from edgepack.building.line import Line, Source
    from edgepack.cli import meant
    from edgepack.cli.means import means_of
    from edgepack.errors import UsageError
    from edgepack.fidelity import TASKS

    # Everything that can be wrong cheaply is asked before anything that takes minutes.
    profiles = devices_of(request.profiles)
    steps = _recipe(request.recipe)
    if request.task is not None and request.task not in TASKS:
        raise UsageError(f"--task: wanted {', '.join(TASKS)}. Received: {request.task!r}")
    if request.pixels not in PIXELS:
        raise UsageError(f"--pixels: wanted {', '.join(PIXELS)}. Received: {request.pixels!r}")
    if request.pixels != "raw" and not data.holds_images(request.data):
        raise UsageError(
            f"--pixels {request.pixels}: for image folders and tfds: only;"
            f" {request.data} gives rows as the model takes them"
        )
    name = _name(request)
    sign = _signer(request.sign_key)
    evidence_bytes = _evidence(request.evidence)
    meant.apart("--out", request.out, [request.model])
    store.prove_writable(request.out)
    source = Source(request.model, store.Cache(store.default_cache()), request.allow_code)
    bars.say(f"reading {request.model}")
    task = request.task or source.card.task
    if task is None:
        raise UsageError(
            f"{request.model}: carries no compiled loss, so its task is unknown;"
            f" give --task {'|'.join(TASKS)}"
        )
    samples = data.load(
        request.data,
        input_shape=source.card.input_shape,
        output_shape=source.card.output_shape,
        task=task,
        pixels=request.pixels,
        seed=request.seed,
    )
    line = Line(
        source, steps, samples, Training(task=task, seed=request.seed, progress=bars.step)
    )
    order = Order(
        name=name,
        task=task,
        preprocessing=data.preprocessing(request.data, samples, request.pixels),
        evidence_bytes=evidence_bytes,
        sign=sign,
    )
    means = means_of(micro=request.micro, sandbox=request.sandbox, say=bars.say)
    return pipeline.build(line, profiles, order, means)


def _recipe(given: str) -> Recipe:
    """Return the recipe; a mistake in a file is the file's, not the command's.

    Raises:
        UsageError: no built-in recipe of that name.
        InputError: the file is missing, unreadable or wrong.
    """
    from edgepack.building import recipe
    from edgepack.errors import InputError, UsageError

    try:
        return recipe.load(given)
    except UsageError as error:
        if given.endswith(".toml"):
            raise InputError(str(error)) from error
        raise


def _name(request: Request) -> str:
    """Return the model's name as it may stand in a file's name."""
    from edgepack.errors import UsageError

    if request.name is None:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", request.model.stem)[:60].strip(".-")
        return plain or "model"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}", request.name):
        raise UsageError(
            "--name: wanted at most 60 letters, digits, dots, dashes and underscores."
            f" Received: {request.name!r}"
        )
    return request.name


def _route(word: str) -> Literal["c", "tflm"]:
    from edgepack.errors import UsageError

    if word == "c":
        return "c"
    if word == "tflm":
        return "tflm"
    raise UsageError(f"--micro: wanted c or tflm. Received: {word!r}")


def _evidence(text: str) -> int:
    from edgepack.errors import UsageError

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise UsageError(f"--evidence: {error}") from error


def _signer(key: Path | None) -> Callable[[bytes], bytes] | None:
    """Return a function that signs with ``key``; a bad key shows before the build."""
    if key is None:
        return None
    from edgepack import signing, store

    pem = store.read_whole(key, 64 * 1024, "a private key")
    signing.sign(b"a trial", pem, str(key))
    return lambda text: signing.sign(text, pem, str(key))


def _write(request: Request, products: Sequence[Product]) -> dict[str, Path]:
    """Write what may be written: never a failed bundle, with --strict no open one."""
    from edgepack import bundle, store

    paths: dict[str, Path] = {}
    for product in products:
        open_ = product.verdict.outcome is Outcome.INCONCLUSIVE
        if product.data is None or (open_ and request.strict):
            continue
        name = f"{product.made.order.name}-{product.profile.name}{bundle.SUFFIX}"
        store.write_whole(request.out / name, product.data)
        paths[product.profile.name] = request.out / name
    return paths


def _as_json(
    products: Sequence[Product],
    paths: dict[str, Path],
    outcomes: Sequence[Outcome],
    seconds: float,
) -> dict[str, Any]:
    from edgepack.store import sha256

    made = [
        output.as_json(
            "edgepack.product/1",
            product.verdict,
            profile=product.profile.name,
            bundle=str(paths[product.profile.name]) if product.profile.name in paths else None,
            bundle_sha256=sha256(product.data) if product.data else None,
            fidelity=product.made.fidelity.as_json(),
            steps=[step.model_dump() for step in product.made.steps],
            notes=list(product.made.notes),
        )
        for product in products
    ]
    return {
        "schema": "edgepack.build/1",
        "verdict": output.worst(outcomes).value,
        "findings": [f | {"profile": m["profile"]} for m in made for f in m["findings"]],
        "seconds": round(seconds, 1),
        "products": made,
    }


def _show(products: Sequence[Product], paths: dict[str, Path], seconds: float) -> None:
    first = products[0]
    output.table(
        f"What each step gained and lost ({first.made.fidelity.samples:,} test samples)",
        ("step", first.made.fidelity.score, "flatbuffer", "download", "zeros", "values/kernel"),
        [
            (
                step.stage,
                f"{step.score:.4f}",
                format_bytes(step.flatbuffer_bytes),
                format_bytes(step.download_bytes),
                f"{step.zeros_share:.1%}",
                str(step.codes),
            )
            for step in first.made.steps
        ],
    )
    for note in first.made.notes:
        typer.echo(f"note: {note}")
    for product in products:
        typer.echo(f"\n{product.profile.title}")
        typer.echo("\n".join(output.lines(product.verdict.findings)))
        typer.echo(output.closing(product.profile.name, product.verdict))
        path = paths.get(product.profile.name)
        if path is not None:
            mark = "" if product.verdict.outcome is Outcome.PASS else " (marked unproven)"
            typer.echo(f"  bundle: {path}{mark}")
        else:
            typer.echo("  no bundle was written")
    typer.echo(f"\n{seconds:.0f} s in all")
