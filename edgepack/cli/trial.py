"""``edgepack validate``, ``bench`` and ``report``: a finished bundle, judged again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgepack.cli import output
from edgepack.cli.check import Json, Strict

if TYPE_CHECKING:
    from edgepack.bundle import Bundle

BundleFile = Annotated[Path, typer.Argument(help="A .edgepack file.", show_default=False)]
OtherProfile = Annotated[
    str | None,
    typer.Option("--profile", "-p", help="Another device than the bundle's own."),
]


def opened(path: Path) -> Bundle:
    """Return the bundle at ``path``, its digests checked."""
    from edgepack import bundle, store

    return bundle.unpack(
        store.read_whole(path, bundle.CEILING_BYTES, "an .edgepack bundle"), str(path)
    )


def validate(
    bundle: BundleFile,
    profile: OtherProfile = None,
    trust: Annotated[
        Path | None,
        typer.Option("--trust", help="Ed25519 public key (PEM) that must have signed it."),
    ] = None,
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox/--no-sandbox", help="Run the dynamic gates where they can."),
    ] = True,
    strict: Strict = False,
    json_: Json = False,
) -> int:
    """Judge a bundle again: digests, static gates, goldens, accuracy, sandbox."""
    from edgepack import catalogue, store, validation
    from edgepack.cli.means import trial_of
    from edgepack.runtimes.host import HostRuntime

    whole = opened(bundle)
    device = catalogue.load(profile) if profile else validation.profile_of(whole)
    key = None if trust is None else store.read_whole(trust, 64 * 1024, "a public key")
    _, verdict = validation.validate(
        whole,
        device,
        HostRuntime(),
        trial_of(sandbox=sandbox),
        trusted_pem=key,
        trusted_name=str(trust),
    )
    if json_:
        output.emit(
            output.as_json(
                "edgepack.validate/1", verdict, bundle=str(bundle), profile=device.name
            )
        )
    else:
        typer.echo(f"{bundle.name} on {device.title}")
        typer.echo("\n".join(output.lines(verdict.findings)))
        typer.echo(output.closing(device.name, verdict))
    return output.exit_code([verdict.outcome], strict)
