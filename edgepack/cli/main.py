"""Commands, exit codes and one-line errors.

Exit codes: 0 done (a verdict may be inconclusive and says so), 1 the question could not
be answered, 2 wrong usage, 3 a gate failed (with --strict also: a gate is inconclusive),
130 interrupted (143 by SIGTERM), 141 whoever read the output left before its end.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import select
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from converters.errors import ConversionError
from edgepack import __version__
from edgepack.cli import (
    android,
    build,
    bundle,
    bundles,
    check,
    images,
    output,
    profiles,
    signals,
)
from edgepack.errors import EdgepackError, UsageError

READER_LEFT = 141  # as of any program that SIGPIPE ends
#: What a file system answers about a path: no fault of ours, whoever asked.
_THEIRS = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EIO}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_GOES_ON = "; finished stages are kept, the same command goes on from there"

app = typer.Typer(
    name="edgepack",
    help="Compress a Keras model for given devices, prove that it fits each, and bundle it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(build.demo)
app.command("build")(build.build)
app.command("bundle")(bundle.bundle)
app.command("check")(check.check)
app.command("validate")(bundles.validate)
app.command("bench")(bundles.bench)
app.command("report")(bundles.report)
app.add_typer(profiles.app, name="profiles")
app.add_typer(images.app, name="images")
app.add_typer(android.app, name="android")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"edgepack {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Print tracebacks and the debug log.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code; every failure is one line on stderr."""
    words = sys.argv[1:] if arguments is None else arguments
    _open_streams()
    signals.watch()
    try:
        code = _run(words or ["--help"])
        sys.stdout.flush()  # here, where a full disk or a reader that left can be told
        signals.ignore()  # a signal that comes now would only break Python's own leaving
        sys.exit(code)
    except (KeyboardInterrupt, typer.Abort):
        _stopped(words)
    except typer.TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        signals.ignore()
        _fail(f"{message} (see --help)", words)
        sys.exit(UsageError.exit_code)
    except Exception as error:  # noqa: BLE001 - last resort: every failure is one line
        if signals.received():  # what Ctrl-C cut short may raise anything on its way up
            _stopped(words)
        if isinstance(error, BrokenPipeError) and _reader_left():
            _mute()
            sys.exit(READER_LEFT)
        signals.ignore()
        _raise_if_debugging(words)
        known = isinstance(error, ConversionError | EdgepackError)
        _fail(str(error) if known else _unforeseen(error), words)
        sys.exit(error.exit_code if isinstance(error, EdgepackError) else 1)


def _open_streams() -> None:
    """Give a program whose streams were closed (``>&-``) something to write to."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for our whole life
    if isinstance(sys.stdout, TextIOWrapper):  # a name that is no text, or an ASCII terminal
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(words: list[str]) -> int:
    """Return the exit code of a command; typer's own runner would hide signals and pipes."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("edgepack", list(words)) as context:
            return int(command.invoke(context) or 0)
    except typer.Exit as end:
        return end.exit_code


def _stopped(words: list[str]) -> NoReturn:
    signals.ignore()
    builds = {"build", "demo"} & set(words[:2])
    _fail(f"interrupted{_GOES_ON if builds else ''}", words)
    # An interrupt that leaves code given to exec() as text (imports make namedtuples and
    # dataclasses so) marks the interpreter, and "python -m" then ends by SIGINT whatever it
    # was told to exit with (run_eval_code_obj and Py_RunMain of CPython 3.11). Running any
    # such code to its end takes the mark away.
    exec("")  # noqa: S102
    sys.exit(signals.exit_code())


def _reader_left() -> bool:
    """Return whether stdout is a pipe that nobody reads any more."""
    try:
        pipe = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        return False  # closed, or no file at all
    state = select.poll()
    state.register(pipe, select.POLLOUT)
    return any(event & select.POLLERR for _, event in state.poll(0))


def _mute() -> None:
    """Throw away what stdout still holds, or Python complains of it when it leaves."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unforeseen(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller batch or fewer samples"
    if isinstance(error, OSError) and error.errno in _FULL:
        where = error.filename or "the output"
        return f"{where}: cannot write: {error.strerror}; free some space and run it again"
    if isinstance(error, OSError) and error.filename is not None and error.errno in _THEIRS:
        return f"{error.filename}: {error.strerror}"
    return f"a defect in edgepack: {type(error).__name__}: {error}; edgepack --debug … shows it"


def _raise_if_debugging(words: list[str]) -> None:
    if "--debug" in words:
        raise  # noqa: PLE0704 - called from an except block only


def _fail(message: str, words: list[str]) -> None:
    line = output.printable(" ".join(message.split()))
    print(f"edgepack: {line}", file=sys.stderr)
    if "--json" not in words:
        return
    out: dict[str, Any] = {"schema": "edgepack.error/1", "error": line}
    try:
        print(json.dumps(out), flush=True)  # ASCII: a name that is no text must not break it
    except OSError:
        _mute()  # stdout is what failed; stderr has told it
