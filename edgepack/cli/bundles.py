"""``edgepack validate``, ``bench`` and ``report``: a finished bundle, judged again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgepack.cli import output
from edgepack.cli.options import BundleFile, Json, OtherProfile, SandboxOption, Strict
from edgepack.units import format_bytes

if TYPE_CHECKING:
    from edgepack.measurements.bench_figures import (
        BenchFigures,
        InstructionFigures,
        LatencyFigures,
        MemoryFigures,
        SandboxTimes,
    )


def validate(
    bundle: BundleFile,
    profile: OtherProfile = None,
    trust: Annotated[
        Path | None,
        typer.Option(
            "--trust",
            metavar="FILE",
            help="Ed25519 public key (PEM) that must have signed the bundle.",
            readable=False,
        ),
    ] = None,
    sandbox: SandboxOption = True,
    strict: Strict = False,
    json_: Json = False,
) -> int:
    """Check a bundle and run all gates again.

    Digests, signature, static gates, goldens, accuracy and the dynamic gates.
    """
    from edgepack import api
    from edgepack.bundle import validation

    whole = api.load_bundle(bundle)
    device = api.load_profile(profile) if profile else validation.profile_of(whole)
    verdict = api.validate(whole, device, trust=trust, sandbox=sandbox)
    if json_:
        output.print_json(
            output.as_json(
                "edgepack.validate/1", verdict, bundle=str(bundle), profile=device.name
            )
        )
    else:
        output.print_verdict(f"{bundle.name} on {device.title}", device.name, verdict)
    return output.exit_code([verdict.outcome], strict)


def bench(
    bundle: BundleFile,
    profile: OtherProfile = None,
    repeats: Annotated[
        int,
        typer.Option(
            "--repeats",
            "-n",
            metavar="N",
            min=1,
            max=1_000_000,
            help="Minimum number of timed inferences.",
        ),
    ] = 20,
    warmup: Annotated[
        int,
        typer.Option(
            "--warmup",
            metavar="N",
            min=0,
            max=10_000,
            help="Number of untimed inferences beforehand.",
        ),
    ] = 3,
    full: Annotated[
        bool,
        typer.Option("--full", help="Time at least 1,024 inferences and 60 s, as MLPerf does."),
    ] = False,
    soak: Annotated[
        float,
        typer.Option(
            "--soak",
            metavar="MINUTES",
            min=0,
            max=24 * 60,
            help="Length of a soak test in minutes; fails if memory grows.",
        ),
    ] = 0.0,
    strict: Strict = False,
    json_: Json = False,
) -> int:
    """Run a bundle in a stand-in for its device.

    Tests goldens and memory, counts instructions, estimates latency.
    """
    from edgepack import api
    from edgepack.bundle import validation

    whole = api.load_bundle(bundle)
    device = api.load_profile(profile) if profile else validation.profile_of(whole)
    options = api.BenchOptions(repeats=repeats, warmup=warmup, full=full, soak_minutes=soak)
    with output.progress() as bars:
        result = api.bench(whole, device, options=options, say=bars.say)
    verdict, figures = result.verdict, result.figures
    if json_:
        output.print_json(
            output.as_json(
                "edgepack.bench/1",
                verdict,
                bundle=str(bundle),
                profile=device.name,
                figures={} if figures is None else figures.as_json(),
            )
        )
    else:
        more = [f"        {line}" for line in bench_summary(figures)]
        output.print_verdict(f"{bundle.name} on {device.title}", device.name, verdict, *more)
    return output.exit_code([verdict.outcome], strict)


def bench_summary(figures: BenchFigures | None) -> list[str]:
    """Return the figures behind the gates, a line a subject; none for what was not run."""
    if figures is None:
        return []
    shown = {
        "ran in": f"{figures.image}, {figures.kernels} kernels (engine {figures.engine})",
        "instructions": _counts(figures.instructions),
        "memory": _memory(figures.memory),
        "device time": _latency(figures.latency),
        "this machine": _times(figures.sandbox_times),
        "whole bench": f"{figures.seconds:.1f} s",
    }
    width = max(len(name) for name in shown)
    return [f"{name:<{width}}  {says}" for name, says in shown.items() if says]


def _counts(found: InstructionFigures | None) -> str:
    if found is None or not found.total:
        return ""
    counts = [pair for pair in found.by_class.items() if pair[0] != "total" and pair[1]]
    ranked = sorted(counts, key=lambda pair: -pair[1])
    shares = ", ".join(f"{name} {count / found.total:.1%}" for name, count in ranked)
    return f"{found.total:,} an inference, counted: {shares}"


def _memory(found: MemoryFigures | None) -> str:
    if found is None or found.need_bytes is None:
        return ""
    need, budget = found.need_bytes, found.budget_bytes
    return f"{format_bytes(need)} needed of {format_bytes(budget)} ({need / budget:.1%})"


def _latency(found: LatencyFigures | None) -> str:
    return "" if found is None else f"{found.low_ms:g} to {found.high_ms:g} ms, {found.how}"


def _times(found: SandboxTimes | None) -> str:
    if found is None or found.wall_ms is None:
        return ""
    wall = found.wall_ms
    times = f"p50 {wall.p50:g} ms, p90 {wall.p90:g} ms, p99 {wall.p99:g} ms"
    return f"{times} of {found.inferences:,} inferences; no latency of the device"


def report(
    bundles: Annotated[
        list[Path],
        typer.Argument(
            metavar="BUNDLE",
            help="Bundles, or folders of bundles.",
            show_default=False,
            readable=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="HTML file to write.", readable=False),
    ] = Path("report.html"),
    json_: Json = False,
) -> int:
    """Write an HTML report about bundles."""
    from edgepack import files
    from edgepack.api import load_bundle
    from edgepack.bundle.archive import SUFFIX
    from edgepack.errors import InputError, UsageError
    from edgepack.report import page

    found: list[Path] = []
    for place in bundles:
        whole = os.path.isdir(place)  # noqa: PTH112 - Path.is_dir raises where it may not look
        inside = sorted(place.glob(f"*{SUFFIX}")) if whole else [place]
        if not inside:
            below = sorted({str(path.parent) for path in place.glob(f"*/*{SUFFIX}")})
            instead = f"; its folders do: {' '.join(below[:3])}" if below else ""
            raise InputError(f"{place}: holds no {SUFFIX} file{instead}")
        found += inside
    # A bundle that is named and lies in a named folder is shown once.
    found = list({os.path.realpath(path): path for path in found}.values())
    if out.suffix == SUFFIX:
        raise UsageError(f"--out {out}: a page is no bundle; name it .html")
    files.refuse_output_over_input("--out", out, found)
    shown = [(load_bundle(path), files.digest_of_tree(path)) for path in found]
    files.write_whole(out, page(shown).encode())
    if json_:
        output.print_json(
            {"schema": "edgepack.report/1", "page": str(out), "bundles": len(shown)}
        )
    else:
        output.print_lines(f"{out}: {len(shown)} bundle{'s' if len(shown) > 1 else ''}")
    return 0
