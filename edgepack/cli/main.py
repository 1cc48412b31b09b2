"""Commands, exit codes and one-line errors.

Exit codes: 0 done (a verdict may be inconclusive and says so), 1 the question could not
be answered, 2 wrong usage, 3 a gate failed (with --strict also: a gate is open),
130 interrupted.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from typing import Annotated, Any

import typer

from converters.errors import ConversionError
from edgepack import __version__
from edgepack.cli import android, build, check, devices, images, trial
from edgepack.errors import EdgepackError, UsageError

FAILED_GATE = 3
_INTERRUPTED = 130
_STOPPED = "interrupted; finished stages are kept, the same command goes on from there"

app = typer.Typer(
    name="edgepack",
    help="One trained Keras model in; for every device a bundle that was proven to fit it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(build.demo)
app.command("build")(build.build)
app.command("check")(check.check)
app.command("validate")(trial.validate)
app.command("bench")(trial.bench)
app.command("report")(trial.report)
app.add_typer(devices.app, name="profiles")
app.add_typer(images.app, name="images")
app.add_typer(android.app, name="android")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"edgepack {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and the doors' log.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code; every failure is one line on stderr."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words:
        words = ["--help"]
    stopped: list[int] = []

    def stop(number: int, frame: object) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, stop)
    try:
        code = app(words, standalone_mode=False) or 0
        if code == _INTERRUPTED:  # what typer makes of Ctrl-C, without a word
            raise KeyboardInterrupt
        sys.exit(code)
    except (KeyboardInterrupt, typer.Abort):
        _fail(_STOPPED, words)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our stdout left; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except typer.TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        if message:
            _fail(f"{message} (see --help)", words)
        sys.exit(UsageError.exit_code)
    except Exception as error:  # noqa: BLE001 - the last door: every failure is one line
        if stopped:  # what Ctrl-C cut short may raise anything on its way up
            _fail(_STOPPED, words)
            sys.exit(_INTERRUPTED)
        _raise_if_debugging(words)
        known = isinstance(error, ConversionError | EdgepackError)
        _fail(str(error) if known else _defect(error), words)
        sys.exit(error.exit_code if isinstance(error, EdgepackError) else 1)


def _defect(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller batch or fewer samples"
    return f"a defect in edgepack: {type(error).__name__}: {error}; --debug shows it"


def _raise_if_debugging(words: list[str]) -> None:
    if "--debug" in words:
        raise  # noqa: PLE0704 - called from an except block only


def _fail(message: str, words: list[str]) -> None:
    line = " ".join(message.split())
    print(f"edgepack: {line}", file=sys.stderr)
    if "--json" in words:
        out: dict[str, Any] = {"schema": "edgepack.error/1", "error": line}
        print(json.dumps(out))  # ASCII: a name that is no text must not break it
