"""``edgepack profiles``: what devices are known, and what is wrong with a profile file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgepack.cli import output
from edgepack.cli.check import CEILING_BYTES, Json

app = typer.Typer(help="The device catalogue.", rich_markup_mode=None)


@app.command("list")
def list_(json_: Json = False) -> int:
    """List every device, the user's own and the built-in."""
    from edgepack.profiles import catalogue
    from edgepack.units import format_bytes

    profiles = [catalogue.load(name) for name in catalogue.names()]
    if json_:
        plain = [{"name": p.name, "title": p.title, "kind": p.kind} for p in profiles]
        output.emit({"schema": "edgepack.profiles/1", "profiles": plain})
        return 0
    output.table(
        f"{len(profiles)} devices",
        ("name", "device", "kind", "isa", "runtime", "RAM for a model"),
        [
            (
                p.name,
                p.title,
                p.kind,
                p.cpu.isa,
                f"{p.runtime.name} {p.runtime.version}",
                format_bytes(p.ram.budget.value) if p.ram.budget else "not stated",
            )
            for p in profiles
        ],
    )
    return 0


@app.command("show")
def show(name: str) -> int:
    """Print one profile whole, inherited parts and sources included, as JSON."""
    from edgepack.profiles import catalogue

    typer.echo(catalogue.load(name).model_dump_json(by_alias=True, indent=2, exclude_none=True))
    return 0


@app.command("check")
def check(file: Path, json_: Json = False) -> int:
    """Explain every mistake of a profile file."""
    from edgepack.profiles import catalogue

    found = catalogue.problems(file)
    if json_:
        plain = [problem.as_json() for problem in found]
        verdict = "fail" if found else "pass"
        output.emit(
            {"schema": "edgepack.profile-check/1", "verdict": verdict, "problems": plain}
        )
    else:
        typer.echo("\n".join(p.says for p in found) or f"{file}: a sound profile")
    return 3 if found else 0


@app.command("suggest")
def suggest(
    model: Annotated[Path, typer.Argument(help="A .tflite file.", show_default=False)],
    json_: Json = False,
) -> int:
    """List every device that can take a .tflite, the tightest fit first."""
    from edgepack import gates
    from edgepack.errors import InputError
    from edgepack.profiles import catalogue
    from edgepack.store import read_whole
    from edgepack.suggest import suggest as fitting
    from edgepack.tflite.flatbuffer import read

    data = read_whole(model, CEILING_BYTES, "a .tflite model")
    try:
        facts = read(data)
    except InputError as error:
        raise InputError(f"{model}: {error}") from error
    profiles = [catalogue.load(name) for name in catalogue.names()]
    found = fitting(facts, profiles, gates.judge)
    if json_:
        plain = [one.as_json() for one in found]
        output.emit({"schema": "edgepack.suggest/1", "model": str(model), "devices": plain})
    else:
        typer.echo("\n".join(one.says for one in found) or "no known device can take it")
        typer.echo(f"{len(found)} of {len(profiles)} devices")
    return 0


@app.command("probe")
def probe(
    name: Annotated[str | None, typer.Option("--name", help="Of the new profile.")] = None,
    adb: Annotated[
        bool, typer.Option("--adb", help="Probe an attached phone, not this machine.")
    ] = False,
    serial: Annotated[
        str | None, typer.Option("--serial", "-s", help="Which phone, if several.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write it here; else to stdout.")
    ] = None,
) -> int:
    """Write a profile of this machine, or of an attached phone, from what it says itself."""
    import datetime

    from edgepack.errors import UsageError
    from edgepack.profiles import probe as probing
    from edgepack.store import write_whole

    if out is not None:
        # A profile is known by its file's name; another one inside would be refused.
        if name is not None and name != out.stem:
            raise UsageError(f"--name {name!r} and --out {out}: name the file {name}.toml")
        name = out.stem
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    if adb:
        from edgepack.device.adb import attached

        text = probing.attached_phone(attached(serial), today, name=name)
    else:
        text = probing.this_machine(today, name=name)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_whole(out, text.encode())
        typer.echo(str(out))
    return 0
