"""The figures of docs/latency.md, measured again, and the tables they rest on.

    python benchmarks/latency.py                     error of every level, device and model
    python benchmarks/latency.py nasbench            nets of others, with and without points
    python benchmarks/latency.py count [FOLDER]      edgepack/cost/counts.toml, made again
    python benchmarks/latency.py fit                 edgepack/cost/latency_fit.toml, made again

``count`` and ``nasbench`` need an engine (docker/engine.sh) and TensorFlow; what they count is
kept in FOLDER (EDGEPACK_COUNTS, else the system's temporary folder) and not counted again.
``nasbench`` reads nasbench201_latency below EDGEPACK_DATA, else below ../shared/data beside
the checkout: it judges, and nothing of it is in the product.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import math
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.latency_nets import NETS, Net, convert, keras
from edgepack.cost import conformal, latency, points
from edgepack.cost.conformal import Residual
from edgepack.cost.rate_model import OWN, Observation, RateModel, Spread
from edgepack.cost.work import CLASSES, INSTRUCTION_SETS, Work, work_of
from edgepack.inference.protocol import Job
from edgepack.profiles import catalogue
from edgepack.sandbox.container import ContainerRuntime
from edgepack.sandbox.engine import require
from edgepack.sandbox.images.spec import ImageSpec
from edgepack.tflite import flatbuffer

ROOT = Path(__file__).resolve().parents[1]
COST = ROOT / "edgepack/cost"
DATA = Path(os.environ.get("EDGEPACK_DATA", ROOT.parent / "shared/data"))
CACHE = Path(os.environ.get("EDGEPACK_COUNTS", Path(tempfile.gettempdir()) / "edgepack-counts"))
#: The release that stands in for a device decides the count: one for each architecture.
RELEASES = {
    "armv7-a": ImageSpec("tflite-runtime", "2.14.0", "armv7"),
    "armv8.0-a": ImageSpec("ai-edge-litert", "1.4.0", "arm64"),
    "armv8.2-a+dotprod": ImageSpec("ai-edge-litert", "1.4.0", "arm64"),
}
CORES = {
    "armv7-a": "cortex-a7",
    "armv8.0-a": "cortex-a72",
    "armv8.2-a+dotprod": "cortex-a76",
}
#: Smallest spreads that the search may find: the published runtimes each ran one kind of
#: kernels, so that the figures alone cannot tell that runtimes differ.
FLOORS = {"runtime": 0.05, "psi": 0.03, "psi_device": 0.03, "noise": 0.03, "core_code": 0.03}
SEARCHED = ("noise", "mix_device", "mix_core", "core", "device", "family", "code", "core_code",
            "runtime", "psi_device", "psi_middle", "noise_threads")  # fmt: skip


def row(*cells: object) -> None:
    print(" | ".join(str(cell) for cell in cells), flush=True)


# ---- counts


@dataclass(frozen=True, slots=True)
class Counted:
    """One net, counted."""

    work: Work
    kernels: str
    runtime: str


def counted(name: str, net: Net, code: tuple[str, str, str], folder: Path) -> Counted:
    """Return the work of a net on an instruction set; from the folder where it was counted.

    Args:
        code: precision, instruction set, kernels.
    """
    precision, isa, kernels = code
    spec, cpu = RELEASES[isa], CORES[isa]
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / f"{name}-{precision}.tflite"
    if not model.exists():
        model.write_bytes(convert(net, precision))
    facts = flatbuffer.read(model.read_bytes())
    kept = folder / f"{name}-{precision}-{spec.package}-{spec.version}-{cpu}-{kernels}.json"
    if not kept.exists():
        shape, rng = (1, *facts.inputs[0].shape[1:]), np.random.default_rng(0)
        codes = rng.integers(-128, 127, shape, np.int8)
        inputs = codes if precision == "int8" else rng.standard_normal(shape).astype("f")
        runtime = ContainerRuntime(engine=require(), spec=spec, qemu_cpu=cpu, counted=True)
        job = Job(
            model=model.read_bytes(),
            inputs=inputs,
            kernels="default" if kernels == "xnnpack" else kernels,
            repeats=5,
            warmup=1,
            timeout_s=900,
        )
        trace = runtime.run(job)
        if trace.instructions is None:
            raise SystemExit(f"{kept.stem}: {trace.says}")
        told = {
            "by_class": dict(trace.instructions.by_class),
            "kernels": "xnnpack" if trace.delegates else "builtin",
            "runtime": trace.runtime,
        }
        kept.write_text(json.dumps(told))
    told = json.loads(kept.read_text())
    return Counted(work_of(facts, told["by_class"]), told["kernels"], told["runtime"])


def wanted() -> list[tuple[str, str, str, str]]:
    """Return what the points of the profiles need: model, precision, set, kernels."""
    found = set()
    for name in catalogue.names(Path("/nonexistent")):
        profile = catalogue.load(name, Path("/nonexistent"))
        isa = INSTRUCTION_SETS.get(profile.cpu.qemu_cpu or "")
        for point in profile.calibration if isa else ():
            found.add((point, isa))
    keys = set()
    for point, isa in found:
        model, kernels = points.plain_name(point.model), points.kernels_of(point)
        precision = {"uint8": "int8"}.get(point.precision, point.precision)
        if model in NETS and (isa, kernels) != ("armv7-a", "xnnpack"):
            keys.add((model, precision, str(isa), kernels))
    zoo = [each for each in points.published() if each.core == "Cortex-A7"]
    keys |= {(e.model, e.precision, "armv7-a", e.kernels) for e in zoo if e.model in NETS}
    for isa in ("armv8.0-a", "armv8.2-a+dotprod"):  # what a typical model's classes come from
        for precision in ("float32", "int8"):
            for kernels in ("builtin", "xnnpack"):
                keys.add(("mobilenet_v1_0.25_128", precision, isa, kernels))
    return sorted(keys)


def count(folder: Path) -> None:
    """Write counts.toml."""
    lines = [
        "# Work of one inference of published architectures, counted here under qemu-user 7.2",
        "# with one thread (benchmarks/latency.py count makes this table again; the nets are",
        "# those of benchmarks/latency_nets.py).",
    ]
    for model, precision, isa, kernels in wanted():
        found = counted(model, NETS[model], (precision, isa, kernels), folder)
        if found.kernels != kernels:
            raise SystemExit(f"{model} {precision} on {isa}: {found.kernels}, not {kernels}")
        work = found.work
        classes = ", ".join(f"{name} = {work.by_class[name]}" for name in CLASSES)
        row(model, precision, isa, kernels, work.instructions)
        lines += [
            "",
            "[[count]]",
            f'model = "{model}"',
            f'precision = "{precision}"',
            f'instruction_set = "{isa}"',
            f'kernels = "{kernels}"',
            f'cpu = "{CORES[isa]}"',
            f'runtime = "{found.runtime}"',
            f"operators = {work.operators}",
            f"weight_bytes = {work.weight_bytes}",
            f"kinds = {json.dumps(sorted(work.kinds))}",
            f"by_class = {{ {classes} }}",
        ]
    (COST / "counts.toml").write_text("\n".join(lines) + "\n")


# ---- fit


def fit() -> None:
    """Write latency_fit.toml: spreads by marginal likelihood, intervals by leaving out."""
    known = points.published()
    spread = searched(known, Spread())
    intervals = conformal.intervals(conformal.left_out(known, spread))
    made = latency.Fit(spread, intervals, latency.digest(known))
    (COST / "latency_fit.toml").write_text(latency.fit_toml(made))
    print(latency.fit_toml(made))


def searched(known: Sequence[Observation], spread: Spread) -> Spread:
    """Return the spreads under which the figures are most likely, one at a time."""
    best = RateModel(known, spread).log_evidence()
    for _ in range(3):
        for name in SEARCHED:
            for factor in (1.6, 1 / 1.6):
                while True:
                    value = getattr(spread, name) * factor
                    if not FLOORS.get(name, 0.02) <= value <= 0.8:
                        break
                    tried = replace(spread, **{name: value})
                    evidence = RateModel(known, tried).log_evidence()
                    if evidence <= best + 0.05:
                        break
                    best, spread = evidence, tried
    return spread


# ---- figures


def published() -> None:
    """Print what was left out and how it was met, by level, then device, then model."""
    spread = latency.fitted().spread
    known = points.published()
    residuals = conformal.left_out(known, spread)
    row(
        "level",
        "figures",
        "coverage",
        "width",
        "median error",
        "90th percentile",
        "within 15 %",
    )
    for level, interval in conformal.intervals(residuals).items():
        own = [each for each in residuals if each.level == level]
        row(
            level,
            interval.figures,
            f"{interval.coverage:.0%}",
            f"{interval.width:.2f}",
            *errors(own),
        )
    for what in ("device", "model"):
        row(
            what,
            "level",
            "figures",
            "within the level's interval",
            "",
            "median error",
            "p90",
            "15 %",
        )
        groups: dict[tuple[str, str], list[Residual]] = defaultdict(list)
        for each in residuals:
            if each.level in ("runtime", "core", "family"):
                groups[getattr(each.observation, what), each.level].append(each)
        for (name, level), own in sorted(groups.items()):
            quantile = conformal.intervals(residuals)[level].quantile
            inside = float(np.mean([each.score <= quantile for each in own]))
            row(name, level, len(own), f"{inside:.0%}", *errors(own))


def errors(residuals: Sequence[Residual]) -> tuple[str, str, str]:
    """Return median, 90th percentile and share within 15 % of the middles' relative errors."""
    off = np.array([abs(math.expm1(-each.error)) for each in residuals])
    return (
        f"{np.median(off):.1%}",
        f"{np.quantile(off, 0.9):.1%}",
        f"{np.mean(off <= 0.15):.0%}",
    )


#: Devices of nasbench201_latency: column, profile.
OTHERS = (("raspi4", "raspberry-pi-4"), ("pixel3", "pixel-3"), ("pixel2", "pixel-2"))
NETS_COUNTED = 32
CALIBRATION = (0, 1, 5, 20)
REPEATS = 10


def nasbench(folder: Path) -> None:
    """Print how nets of NAS-Bench-201 are met from 0, 1, 5 and 20 measured others.

    Of nets that carry convolutions which nothing reads the devices ran these, a rebuilt one
    does not: "clean" leaves such nets out.
    """
    place = DATA / "nasbench201_latency"
    if not place.exists():
        print(f"skipped: {place} is not there")
        return
    builder = _builder(place / "nb201_keras.py")
    rows = {r["nb201_idx"]: r for r in _table(place / "handed_phones_300.csv.gz")}
    pi = {r["nb201_idx"]: r["raspi4"] for r in _table(place / "handed_raspi4_1500.csv.gz")}
    safe = [r for r in rows.values() if builder.safe(r["arch_str"])]
    order = np.random.default_rng(1).permutation(len(safe))
    chosen = [safe[i] for i in order[:NETS_COUNTED]]
    row(
        "kernels",
        "device",
        "nets",
        "points",
        "level",
        "median",
        "p90",
        "15 %",
        "width",
        "within",
    )
    for kernels in ("xnnpack", "builtin"):
        works = {}
        for each in chosen:
            net = Net(32, 3, lambda a=each["arch_str"]: builder.build(a, keras()))
            name = f"nb{each['nb201_idx']}"
            works[name] = counted(name, net, ("float32", "armv8.0-a", kernels), folder).work
        for column, device in OTHERS:
            profile = catalogue.load(device)
            core = points.microarchitecture(profile.cpu.cores[0].name)
            figures = []
            for each in chosen:
                key = each["nb201_idx"]
                ms = float(pi[key] if column == "raspi4" else each[column])
                figures.append(Observation(
                    work=works[f"nb{key}"].units(), device=device, core=core.core,
                    clock_mhz=profile.cpu.cores[0].clock_mhz or 1000.0, family=core.family,
                    runtime=OWN, kernels=kernels, precision="float32", model=f"nb{key}",
                    ms=ms, rounding=points.rounding(ms),
                ))  # fmt: skip
            clean = [not _unread(builder, each["arch_str"]) for each in chosen]
            for which, keep in (("all", [True] * len(chosen)), ("clean", clean)):
                usable = [figure for figure, yes in zip(figures, keep, strict=True) if yes]
                for given in CALIBRATION:
                    row(kernels, f"{device} {which}", len(usable), given, *_met(usable, given))


def _met(figures: Sequence[Observation], given: int) -> tuple[str, ...]:
    rng, fitted = np.random.default_rng(0), latency.fitted()
    known = points.published()
    found: list[Residual] = []
    widths, within = [], []
    for _ in range(REPEATS if given else 1):
        order = rng.permutation(len(figures))
        own, asked = [figures[i] for i in order[:given]], [figures[i] for i in order[given:]]
        model = RateModel([*own, *known], fitted.spread)
        level = conformal.level_of(asked[0], model.observations)
        deviations = fitted.intervals[level].quantile
        if given >= latency.OWN_FIGURES:
            deviations = conformal.quantile([float(s) for s in model.scores()[:given]])
        for each in asked:
            predicted = model.predict(each)
            error = math.log(each.ms) - predicted.log_ms
            found.append(Residual(level, each, error, predicted.deviation))
            widths.append(math.exp(2 * deviations * predicted.deviation))
            within.append(found[-1].score <= deviations)
    return level, *errors(found), f"{np.median(widths):.2f}", f"{np.mean(within):.0%}"


def _unread(builder: Any, arch: str) -> bool:
    """Return whether a cell has a convolution that its output does not depend on."""
    cell = builder.parse(arch)
    need, live = builder._need(cell), builder._live(cell)
    return any(
        op.startswith("nor") and (node not in need or source not in live)
        for node, edges in enumerate(cell, 1)
        for op, source in edges
    )


def _table(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") as file:
        return list(csv.DictReader(file))


def _builder(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("nb201_keras", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(arguments: list[str]) -> int:
    what = arguments[0] if arguments else "published"
    folder = Path(arguments[1]) if len(arguments) > 1 else CACHE
    steps = {
        "published": published,
        "nasbench": lambda: nasbench(folder),
        "count": lambda: count(folder),
        "fit": fit,
    }
    if what not in steps:
        print(__doc__, file=sys.stderr)
        return 2
    steps[what]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
