"""``edgepack images``: the sandbox's images, made here without a registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from edgepack.cli import output
from edgepack.cli.options import Json, group
from edgepack.units import format_bytes

if TYPE_CHECKING:
    from edgepack.sandbox.images.inventory import ImageStatus

app = group("Build and list the sandbox images.")

Arch = Annotated[
    list[str] | None,
    typer.Option(
        "--arch",
        "-a",
        metavar="ARCH",
        help="Architecture: amd64, arm64 or armv7; may be repeated; default: all.",
    ),
]


@app.command("build")
def build(
    arch: Arch = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="NAME",
            help="Runtime: tflite-runtime or ai-edge-litert; default: both.",
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(
            "--runtime-version",
            metavar="VERSION",
            help="Release of the runtime; default: that of the built-in profiles.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Rebuild images that are present.")
    ] = False,
    json_: Json = False,
) -> int:
    """Build images that are absent or stale."""
    from edgepack.sandbox.images import maker

    with output.progress() as bars:
        made = maker.build(arch, runtime, version=version, force=force, progress=bars.say)
    _show(made, json_)
    return 0


@app.command("list")
def list_(json_: Json = False) -> int:
    """List all images and their state."""
    from edgepack.sandbox import engine
    from edgepack.sandbox.images import inventory

    _show(inventory.list_images(engine.require()), json_)
    return 0


def _show(images: Sequence[ImageStatus], json_: bool) -> None:
    if json_:
        plain = [image.as_json() for image in images]
        output.print_json({"schema": "edgepack.images/1", "images": plain})
        return
    output.table(
        f"{len(images)} images",
        ("image", "state", "size", "id"),
        [
            (
                image.spec.tag,
                image.state,
                format_bytes(image.size_bytes) if image.size_bytes else "",
                image.identity.removeprefix("sha256:")[:12],
            )
            for image in images
        ],
    )
