"""Arguments and options that several commands share, and groups of commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: No path is tested by typer: who opens it says in one line what is wrong, with exit 1.
BundleFile = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE", help="Bundle (.edgepack file).", show_default=False, readable=False
    ),
]
TfliteFile = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", help="TFLite model (.tflite file).", show_default=False, readable=False
    ),
]
Profiles = Annotated[
    list[str],
    typer.Option(
        "--profile",
        "-p",
        metavar="PROFILE",
        help="Target device: name or .toml file; may be repeated.",
    ),
]
OtherProfile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        "-p",
        metavar="PROFILE",
        help="Device to judge it for: name or .toml file; default: the bundle's own.",
    ),
]
SandboxOption = Annotated[
    bool,
    typer.Option(
        "--sandbox/--no-sandbox", help="Run the bundle in a stand-in for its device, or not."
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 3 also if a gate is inconclusive.")
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object to stdout instead of text.")
]


def group(says: str) -> typer.Typer:
    """Return a group of commands that shows its help when none is named."""
    app = typer.Typer(rich_markup_mode=None)

    @app.callback(invoke_without_command=True, help=says)
    def _alone(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())
            raise typer.Exit

    return app
