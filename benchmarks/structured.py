"""What cutting channels and ranks costs and gains, against the controls that matter.

    python benchmarks/structured.py malaria --seeds 0 1 2 --out runs.csv
    python benchmarks/structured.py resnet8 --arms control channels --out runs.csv
    python benchmarks/structured.py --summary runs.csv

Arms: ``baseline``; ``control``, the baseline given the same extra epochs, labels counting;
``width``, a narrower net of no less cost than ``channels``, trained as long in all;
``channels``, ``lowrank`` and ``collaborate``, the stages; ``chain``, channels with zeros,
clusters and quantization-aware training after it. Each becomes int8 after training; its answers
to the test rows are compared row by row with the int8 baseline's. Instructions are emulated
(one inference, tflite-runtime 2.14.0, arm64, builtin kernels) where an engine answers.
Rows are appended as they are made; right and wrong answers are kept beside them, from which
``--summary`` pools the seeds: mean loss and a 95 % interval over test rows.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from structured_nets import NETS
from structured_summary import summary

from converters.draft import Draft, Training
from converters.learning.augment import ALIASES, VIEWS
from converters.quantized.int8 import Int8
from converters.structure.channels import Channels
from converters.structure.collaborate import Collaborate
from converters.structure.lowrank import LowRank
from edgepack.gates import accuracy
from edgepack.inference import scoring
from edgepack.inference.host import HostRuntime
from edgepack.inference.protocol import Job
from edgepack.pipeline import recipe
from edgepack.sandbox.container import ContainerRuntime
from edgepack.sandbox.engine import NoEngine, available
from edgepack.sandbox.images import ImageSpec
from edgepack.tflite.flatbuffer import read
from edgepack.tflite.inspection import FactsInspector

FIELDS = (
    *("net", "seed", "arm", "kept", "macs", "weights", "val_accuracy", "float_accuracy"),
    *("int8_accuracy", "drop", "drop_low", "drop_high", "instructions"),
    *("flatbuffer_bytes", "deflated_bytes", "seconds"),
)
ARMS = ("baseline", "control", "width", "channels", "lowrank", "collaborate", "chain")
#: Arms that cost ``--macs`` of the baseline.
SMALL = ARMS[2:]


class Run:
    """One net and seed: its baseline, trained once, and the arms made of it."""

    def __init__(self, net: str, seed: int, asked: argparse.Namespace) -> None:
        self.make, data, self.first = NETS[net]
        self.first = asked.first or self.first
        self.net, self.seed, self.asked, self.samples = net, seed, asked, data()
        views = tuple(asked.augment)
        self.training = Training(
            task="classification", seed=seed, augment=views, inspector=FactsInspector()
        )
        self.stage = Channels(
            epochs=asked.extra - (asked.steps - 1),  # one epoch after each cut but the last
            steps=asked.steps,
            learning_rate=asked.rate,
            distillation=asked.distillation,
            **self.cut(),
        )
        self.out = Path(asked.out)
        self.slim: Draft | None = None  # what ``stage`` made, once an arm has run it

    def cut(self) -> dict[str, Any]:
        """Return the settings that the stages which cut channels share."""
        return {
            "macs": self.asked.macs,
            "per_output": self.asked.per_output,
            "multiple": self.asked.multiple,
            "minimum": self.asked.multiple,
            "floor": self.asked.floor,
            "reconstruct": True,
        }

    def fit(
        self, model: Any, epochs: int, rate: float, teacher: Any = None, share: float = -1
    ) -> Any:
        """Train ``model`` by the one loop; with a teacher it distils, as the stages do."""
        from converters.learning import finetune, objective, recalibrate

        share = self.stage.distillation if share < 0 else share
        plan = finetune.FineTuneSettings(
            stage="fit",
            epochs=epochs,
            learning_rate=rate,
            distillation=share if teacher is not None else 0.0,
        )
        goal = objective.objective(model, self.training)
        hooks = recalibrate.recalibration(model, self.samples, self.training, plan.distillation)
        finetune.fine_tune(
            model, goal, self.samples, self.training, plan, teacher=teacher, hooks=hooks
        )
        return model

    def baseline(self) -> Any:
        """Return the baseline, from its file where a run before this one made it."""
        from converters import keras2

        keras2.seed(self.seed)
        model, kept = self.make(), self.out.with_suffix(f".{self.net}-{self.seed}.weights.h5")
        if not self.first:
            return model
        if kept.exists():
            model.load_weights(kept)
        else:
            self.fit(model, self.first, 3e-3)
            model.save_weights(kept)
        return model

    def arm(self, name: str, base: Any) -> Draft:
        """Return the draft of one arm."""
        from converters import keras2

        training = replace(self.training, original=base)
        if name == "baseline":
            return Draft(base)
        if name == "control":
            # Learning its own function again would teach it nothing: labels count here.
            rate, share = self.stage.learning_rate, min(0.7, self.stage.distillation)
            return Draft(self.fit(keras2.copy(base), self.asked.extra, rate, base, share))
        if name == "width":
            keras2.seed(self.seed)
            slim, rate = self.narrow(base), 3e-3
            if self.first:
                slim, rate = self.fit(slim, self.first, rate), self.stage.learning_rate
            return Draft(self.fit(slim, self.asked.extra, rate, base))
        draft = Draft(base)
        for stage in self.stages(name):
            if stage is self.stage and self.slim is not None:
                draft = self.slim  # the same stage on the same draft gives the same
                continue
            draft = stage(draft, self.samples, training)
            if stage is self.stage:
                self.slim = draft
        return draft

    def stages(self, name: str) -> tuple[Any, ...]:
        """Return the stages of an arm that has some."""
        if name == "channels":
            return (self.stage,)
        if name == "chain":
            return (self.stage, *recipe.load("prune-cluster-qat").stages)
        alike = {
            "epochs": self.asked.extra,
            "learning_rate": self.asked.rate,
            "distillation": self.asked.distillation,
        }
        if name == "collaborate":
            return (Collaborate(**alike, **self.cut()),)
        return (LowRank(macs=self.asked.macs, per_output=self.asked.per_output, **alike),)

    def narrow(self, base: Any) -> Any:
        """Return the widest net within the share of the cost that the cut keeps, untrained."""

        def cost(model: Any) -> float:
            channels = channel_graph(network.read(canonical.simplify(model))[0])
            return channels.macs(channels.sizes, self.asked.per_output)

        from converters.graph import canonical, network
        from converters.structure.channels_graph import channel_graph

        budget = self.asked.macs * cost(base)
        for width in np.arange(1.0, 0.1, -0.02):
            slim = self.make(float(width))
            if cost(slim) <= budget:
                return slim
        raise SystemExit(f"{self.net}: no width at {self.asked.macs:.0%} of the cost")

    def row(self, name: str, base: Any, before: NDArray[Any] | None) -> dict[str, Any]:
        """Return the CSV row of one arm and append its right answers to the folder."""
        from converters import keras2
        from converters.graph.network import parameters

        started = time.monotonic()
        draft = self.arm(name, base)
        took, s = time.monotonic() - started, self.samples
        # The counted runtime, 2.14, misreads dense layers that are per channel.
        tflite = Int8(per_channel_dense=False)(draft, s, self.training).tflite
        facts = read(tflite)
        scores = scoring.scores(HostRuntime(), tflite, facts, s.x_test)
        found = accuracy.compare(
            "classification", s.y_test, scores if before is None else before, scores
        )
        val, right = (
            (accuracy.top1(keras2.predict(draft.model, x)) == y).mean()
            for x, y in ((s.x_val, s.y_val), (s.x_test, s.y_test))
        )
        kept = self.asked.macs if name in SMALL else 1
        stem = self.out.with_suffix(f".{self.net}-{self.seed}-{name}-{kept:g}")
        np.save(stem.with_name(stem.name + ".npy"), scores)
        stem.with_name(stem.name + ".tflite").write_bytes(tflite)
        numbers = (
            *(self.net, self.seed, name, kept, facts.macs),
            *(parameters(draft.model), f"{val:.5f}", f"{right:.5f}", f"{found.score_now:.5f}"),
            *(f"{found.drop:.5f}", *(f"{edge:.5f}" for edge in found.drop_interval)),
            *(instructions(tflite), len(tflite), len(zlib.compress(tflite, 9))),
            f"{took:.0f}",
        )
        return dict(zip(FIELDS, numbers, strict=True))


def instructions(tflite: bytes) -> int | str:
    """Return the emulated instructions of one inference, or why there is no count."""
    engine = available()
    if isinstance(engine, NoEngine):
        return "no engine"
    spec = ImageSpec("tflite-runtime", "2.14.0", "arm64")
    runtime = ContainerRuntime(engine=engine, spec=spec, counted=True)
    shape = read(tflite).inputs[0].shape
    rows = np.random.default_rng(0).integers(-128, 128, shape, np.int8)
    job = Job(model=tflite, inputs=rows, kernels="builtin", repeats=3, warmup=1)
    trace = runtime.run(job)
    return trace.instructions.total if trace.instructions is not None else trace.says


def append(path: Path, row: dict[str, Any]) -> None:
    """Add ``row`` to the CSV, with a head where it is new."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(" ".join(f"{key}={value}" for key, value in row.items()), flush=True)


def main() -> None:
    """Run the arms asked for, or sum up."""
    wanted = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    wanted.add_argument("net", nargs="?", choices=sorted(NETS))
    wanted.add_argument("--seeds", type=int, nargs="+", default=[0])
    wanted.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS[:4]))
    wanted.add_argument("--macs", type=float, default=0.42, help="share of the cost kept")
    wanted.add_argument("--steps", type=int, default=3, help="cuts on the way")
    wanted.add_argument("--floor", type=float, default=0.4, help="see Cut")
    wanted.add_argument("--multiple", type=int, default=8, help="see Cut")
    wanted.add_argument("--augment", nargs="*", default=[], choices=[*VIEWS, *ALIASES])
    wanted.add_argument("--distillation", type=float, default=0.7)
    wanted.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    wanted.add_argument("--per-output", type=float, default=50.0, help="see Channels")
    wanted.add_argument("--first", type=int, help="epochs of the baseline")
    wanted.add_argument("--extra", type=int, default=16, help="epochs after it")
    wanted.add_argument("--out", default="structured.csv")
    wanted.add_argument("--summary", type=Path, metavar="CSV")
    asked = wanted.parse_args()
    if asked.summary:
        return summary(asked.summary)
    if not asked.net:
        wanted.error("name a net, or --summary CSV")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for seed in asked.seeds:
        run = Run(asked.net, seed, asked)
        base, before = run.baseline(), None
        for name in dict.fromkeys(["baseline", *asked.arms]):
            kept = Path(asked.out)
            row = run.row(name, base, before)
            append(kept, row)
            if name == "baseline":
                stem = kept.with_suffix(f".{run.net}-{seed}-baseline-1")
                before = np.load(stem.with_name(stem.name + ".npy"))
    return None


if __name__ == "__main__":
    main()
