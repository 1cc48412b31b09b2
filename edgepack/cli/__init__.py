"""The command line: the only place where doors meet core."""

from edgepack.cli.main import app, main

__all__ = ["app", "main"]
