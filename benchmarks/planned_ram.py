"""Planned RAM against what the sandbox needs, on other people's models.

    python benchmarks/planned_ram.py [--profile P …] [MODEL.tflite …]

One Markdown row a model and profile: planned bytes, the bytes the model adds to the
process of the profile's runtime (gate peak_ram_sandbox), and planned over needed. A ratio
below 1 is a plan that is under. Models are the .tflite files below EDGEPACK_DATA, else
below ../shared/data beside the checkout. Without models or without a container engine and
the images it prints the reason and ends with 0.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

import numpy as np

from edgepack.emulation.bench import BenchOptions, BenchRun
from edgepack.errors import EdgepackError
from edgepack.gates import sandbox
from edgepack.inference.protocol import ExitStatus, Job
from edgepack.planning.peak import plan_memory
from edgepack.profiles import catalogue
from edgepack.profiles.profile import Profile
from edgepack.sandbox.engine import Engine, NoEngine, available
from edgepack.tflite import flatbuffer

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("EDGEPACK_DATA", ROOT.parent / "shared/data"))
#: tflite 2.14 on armv7, and litert 1.4 on arm64.
PROFILES = ("clinic-tablet-1gb-armv7", "raspberry-pi-4")


def needed(engine: Engine, profile: Profile, model: bytes) -> tuple[int | None, str]:
    """Return (bytes that the model adds to its process, why not)."""
    rng, rows = np.random.default_rng(0), []
    for tensor in flatbuffer.read(model).inputs:
        shape, kind = (1, *tensor.shape[1:]), np.dtype(tensor.dtype)
        if np.issubdtype(kind, np.floating):
            rows.append(rng.standard_normal(shape).astype(kind))
        else:
            edges = np.iinfo(kind)
            rows.append(rng.integers(edges.min, edges.max, shape, kind, endpoint=True))
    run = BenchRun.of(engine, profile, model, BenchOptions())
    job = Job(
        model=model,
        inputs=rows[0],
        more_inputs=tuple(rows[1:]),
        kernels=run.kernels,
        warmup=1,
        repeats=5,
    )
    trace = run.native.run(job)
    if trace.status is not ExitStatus.OK:
        return None, f"{trace.status.value}: {trace.says}"
    return sandbox.need_bytes(trace), f"{trace.delegates} delegates"


def main() -> int:
    """Return 0; print the table, or why there is none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--profile", action="append")
    parser.add_argument("--parts", action="store_true", help="also the parts of each plan")
    asked = parser.parse_args()
    models = asked.models or sorted(DATA.rglob("*.tflite"))
    if not models:
        print(f"skipped: no .tflite below {DATA} (set EDGEPACK_DATA)")
        return 0
    engine = available()
    if isinstance(engine, NoEngine):
        print(f"skipped: {engine.reason}")
        return 0
    print("| profile | model | planned | needed | planned/needed |\n|---|---|---|---|---|")
    ratios = []
    for name in asked.profile or PROFILES:
        profile = catalogue.load(name)
        for path in models:
            try:
                plan = plan_memory(flatbuffer.read(path.read_bytes()), profile)
                need, says = needed(engine, profile, path.read_bytes())
            except EdgepackError as error:
                print(f"| {name} | {path.name} | – | – | {error} |", flush=True)
                continue
            if need is None:
                print(f"| {name} | {path.name} | {plan.total:,} | – | {says} |", flush=True)
                continue
            ratios.append(plan.total / need)
            print(
                f"| {name} | {path.name} | {plan.total:,} | {need:,} | {ratios[-1]:.2f} |",
                flush=True,
            )
            if asked.parts:
                print("    ", says, "; ".join(f"{what} {size:,}" for what, size in plan.parts))
    if ratios:
        under = sum(ratio < 1 for ratio in ratios)
        print(
            f"\n{len(ratios)} pairs: {under} under; median {statistics.median(ratios):.2f}, "
            f"least {min(ratios):.2f}, most {max(ratios):.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
