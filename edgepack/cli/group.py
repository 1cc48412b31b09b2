"""A command of commands: alone it shows its help."""

from __future__ import annotations

import typer


def group(says: str) -> typer.Typer:
    """Return a group of commands that shows its help when none is named."""
    app = typer.Typer(rich_markup_mode=None)

    @app.callback(invoke_without_command=True, help=says)
    def _alone(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())
            raise typer.Exit

    return app
