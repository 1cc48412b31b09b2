"""The figures of docs/emulation.md, measured again.

    python benchmarks/emulation.py images            size, seconds, same id twice
    python benchmarks/emulation.py counts            two runs to the last digit, overhead
    python benchmarks/emulation.py memory            verdicts around the measured need
    python benchmarks/emulation.py bench [PROFILE …] every gate on other people's models

Needs an engine (docker/engine.sh). Models are the .tflite files below EDGEPACK_DATA, else
below ../shared/data beside the checkout.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.emulation.bench import BenchOptions, BenchRun, bench
from edgepack.gates import sandbox
from edgepack.inference.host import HostRuntime
from edgepack.inference.protocol import ExitStatus, Job
from edgepack.profiles import catalogue
from edgepack.profiles.hardware import SourcedBytes
from edgepack.profiles.profile import Profile
from edgepack.sandbox.container import ContainerRuntime
from edgepack.sandbox.engine import Engine, require
from edgepack.sandbox.images import ImageSpec, build, known
from edgepack.tflite import flatbuffer

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("EDGEPACK_DATA", ROOT.parent / "shared/data"))
FIVE = (
    "mlperf_tiny/anomaly_detection/ad01_int8.tflite",
    "mlperf_tiny/image_classification/pretrainedResnet_quant.tflite",
    "mlperf_tiny/keyword_spotting/kws_ref_model.tflite",
    "mlperf_tiny/visual_wake_words/vww_96_int8.tflite",
    "third_party_models/coral/mobilenet_v1_0.25_128_quant.tflite",
)
ARM = (
    ImageSpec("tflite-runtime", "2.14.0", "arm64"),
    ImageSpec("tflite-runtime", "2.14.0", "armv7"),
    ImageSpec("ai-edge-litert", "1.4.0", "arm64"),
)


def random_rows(model: bytes, rows: int) -> tuple[NDArray[Any], ...]:
    """Return seeded rows for every input tensor: uniform codes, or normal floats."""
    rng = np.random.default_rng(0)
    found = []
    for tensor in flatbuffer.read(model).inputs:
        shape = (rows, *tensor.shape[1:])
        kind = np.dtype(tensor.dtype)
        if kind.kind in "iu":
            edges = np.iinfo(kind)
            found.append(rng.integers(edges.min, edges.max, shape, kind, endpoint=True))
        else:
            found.append(rng.standard_normal(shape).astype(kind))
    return tuple(found)


def models() -> Iterator[tuple[str, bytes]]:
    for path in sorted(DATA.rglob("*.tflite")):
        yield path.name, path.read_bytes()


def row(*cells: object) -> None:
    print(" | ".join(str(cell) for cell in cells), flush=True)


def images(engine: Engine) -> None:
    row("image", "MB", "seconds", "same id twice")
    for spec in known():
        ids, seconds = [], []
        for _ in range(2):
            start = time.monotonic()
            made = build(
                [spec.arch], spec.package, version=spec.version, force=True, engine=engine
            )[0]
            seconds.append(time.monotonic() - start)
            ids.append(made.identity)
        row(spec.tag, round(made.size_bytes / 1e6, 1), f"{max(seconds):.1f}", ids[0] == ids[1])


def counts(engine: Engine) -> None:
    row("model", "image", "instructions", "two runs equal", "overhead in CPU time")
    for spec in ARM:
        runtime = ContainerRuntime(engine=engine, spec=spec, counted=True)
        for name in FIVE:
            model = (DATA / name).read_bytes()
            job = Job(model=model, inputs=random_rows(model, 1)[0], repeats=5, warmup=2)
            one, other = runtime.run(job), runtime.run(job)
            plain = [replace(runtime, counted=False).run(job) for _ in range(2)]
            took = [
                statistics.fmean(trace.process_cpu_s for trace in pair)
                for pair in ((one, other), plain)
            ]
            row(
                Path(name).stem,
                spec.tag,
                one.instructions.total,
                one.instructions.each == other.instructions.each,
                f"{took[0] / took[1]:.2f}x ({took[0]:.2f} s of {took[1]:.2f} s)",
            )


def memory_verdicts(engine: Engine) -> None:
    shares = (0.5, 0.9, 0.97, 1.03, 1.1, 2.0)
    row("model", "image", "need KiB", *shares)
    for profile in (
        catalogue.load("clinic-tablet-1gb-armv7"),
        catalogue.load("midrange-phone-arm64"),
    ):
        for name, model in models():
            rows = random_rows(model, 2)
            if len(rows) != 1:
                continue
            trial = BenchRun.of(engine, profile, model, BenchOptions(seconds=0.1))
            free = trial.native.run(Job(model=model, inputs=rows[0][:1], repeats=20, warmup=3))
            if free.status is not ExitStatus.OK:
                row(name, trial.native.spec.tag, free.says)
                continue
            need = sandbox.need_bytes(free)
            verdicts = [
                BenchRun.of(
                    engine, granted(profile, need, share), model, BenchOptions(seconds=0.1)
                )
                .memory(rows[0])[0]
                .verdict.value
                for share in shares
            ]
            row(name, trial.native.spec.tag, need // 1024, *verdicts)


def granted(profile: Profile, need: int, share: float) -> Profile:
    budget = SourcedBytes(value=int(need * share), source="policy: a benchmark")
    return profile.model_copy(update={"ram": profile.ram.model_copy(update={"budget": budget})})


def benches(engine: Engine, profiles: list[str]) -> None:
    row("profile", "model", "seconds", "instructions", "verdicts")
    for profile in [catalogue.load(name) for name in profiles]:
        for name, model in models():
            rows = random_rows(model, 16)
            golden = HostRuntime().run(Job(model=model, inputs=rows[0], kernels="reference"))
            if golden.outputs is None:
                row(profile.name, name, golden.says)
                continue
            result = bench(model, profile, rows[0], golden.outputs, engine=engine)
            figures = result.figures
            counted = figures.instructions if figures is not None else None
            row(
                profile.name,
                name,
                figures.seconds if figures is not None else "-",
                counted.total if counted is not None else "-",
                " ".join(f"{f.gate}={f.verdict.value}" for f in result.findings),
            )


def main(arguments: list[str]) -> int:
    what, rest = (arguments[0] if arguments else ""), arguments[1:]
    engine = require()
    steps = {
        "images": lambda: images(engine),
        "counts": lambda: counts(engine),
        "memory": lambda: memory_verdicts(engine),
        "bench": lambda: benches(
            engine, rest or ["clinic-tablet-1gb-armv7", "midrange-phone-arm64"]
        ),
    }
    if what not in steps:
        print(__doc__, file=sys.stderr)
        return 2
    steps[what]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
