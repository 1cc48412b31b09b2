"""``edgepack profiles``: what devices are known, and what is wrong with a profile file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgepack.cli import output
from edgepack.cli.options import Json, TfliteFile, group

app = group("List, check and create device profiles.")


@app.command("list")
def list_(json_: Json = False) -> int:
    """List all devices, your own and the built-in."""
    from edgepack.profiles import catalogue
    from edgepack.units import format_bytes

    profiles, skipped = catalogue.load_usable()
    for why in skipped:
        output.warn(f"skipped {why}")
    if json_:
        plain = [{"name": p.name, "title": p.title, "kind": p.kind} for p in profiles]
        output.print_json(
            {"schema": "edgepack.profiles/1", "profiles": plain, "skipped": list(skipped)}
        )
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
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="PROFILE", help="Device name or .toml file.", show_default=False
        ),
    ],
) -> int:
    """Print a profile as JSON, inherited keys included."""
    from edgepack.profiles import catalogue

    typer.echo(catalogue.load(name).model_dump_json(by_alias=True, indent=2, exclude_none=True))
    return 0


@app.command("check")
def check(
    file: Annotated[
        str,
        typer.Argument(
            metavar="PROFILE", help="Profile file (.toml) or device name.", show_default=False
        ),
    ],
    json_: Json = False,
) -> int:
    """List all errors of a profile file."""
    from edgepack.profiles import catalogue

    path = catalogue.file_of(file)
    found = catalogue.problems(path)
    if json_:
        plain = [problem.as_json() for problem in found]
        verdict = "fail" if found else "pass"
        output.print_json(
            {
                "schema": "edgepack.profile-check/1",
                "file": str(path),
                "verdict": verdict,
                "problems": plain,
            }
        )
    else:
        output.print_lines(*(p.says for p in found) if found else (f"{path}: no errors",))
    return 3 if found else 0


@app.command("suggest")
def suggest(
    model: TfliteFile,
    json_: Json = False,
) -> int:
    """List devices that fit a .tflite, tightest first."""
    from edgepack.errors import InputError
    from edgepack.file_kinds import read_tflite
    from edgepack.gates import static
    from edgepack.profiles import catalogue
    from edgepack.tflite.flatbuffer import read

    data = read_tflite(model)
    try:
        facts = read(data)
    except InputError as error:
        raise InputError(f"{model}: {error}") from error
    profiles, skipped = catalogue.load_usable()
    for why in skipped:
        output.warn(f"skipped {why}")
    found = static.suggest(facts, profiles, static.judge)
    if json_:
        plain = [one.as_json() for one in found]
        output.print_json(
            {
                "schema": "edgepack.suggest/1",
                "model": str(model),
                "devices": plain,
                "skipped": list(skipped),
            }
        )
    else:
        output.print_lines(
            *(one.says for one in found) if found else ("no known device can take it",)
        )
        output.print_lines(f"{len(found)} of {len(profiles)} devices")
    return 0


@app.command("probe")
def probe(
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the new profile.")
    ] = None,
    adb: Annotated[
        bool, typer.Option("--adb", help="Probe an attached phone instead of this machine.")
    ] = False,
    serial: Annotated[
        str | None,
        typer.Option(
            "--serial",
            "-s",
            metavar="SERIAL",
            help="Serial number of the phone, if several are attached.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Profile file to write (.toml); default: stdout.",
            readable=False,
        ),
    ] = None,
) -> int:
    """Create a profile of this machine or a phone."""
    import datetime

    from edgepack.errors import UsageError
    from edgepack.files import write_whole
    from edgepack.profiles import catalogue
    from edgepack.profiles import probe as probing

    if out is not None and out.suffix != ".toml":
        raise UsageError(f"--out {out}: a profile is known by its file; name it .toml")
    if out is not None:
        # A profile is known by its file's name; another one inside would be refused.
        if name is not None and name != out.stem:
            raise UsageError(f"--name {name!r} and --out {out}: name the file {name}.toml")
        name = out.stem
    if name is not None:
        catalogue.check_profile_name(name)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    if adb:
        from edgepack.device.links.adb import connect

        text = probing.attached_phone(connect(serial), today, name=name)
    else:
        text = probing.this_machine(today, name=name)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_whole(out, text.encode())
        output.print_lines(str(out))
    return 0
