"""Build bundles from other people's models and print what was gained and lost.

    python benchmarks/real_models.py [--recipe R] [MODEL …]

One Markdown row a model and recipe: float and int8 score with intervals, the published int8
file on the same rows, sizes, zeros, distinct values, seconds. Sizes and scores repeat to
the last digit; seconds are of this machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import real_data

from edgepack.gates import accuracy
from edgepack.inference import scoring
from edgepack.inference.host import HostRuntime
from edgepack.tflite.flatbuffer import read

HERE = Path(__file__).resolve().parent
TINY = "mlperf_tiny"
#: model file, data function, task, published int8 file on the same samples (or None)
MODELS = {
    "resnet8": (
        f"{TINY}/image_classification/pretrainedResnet.h5",
        "cifar10",
        "classification",
        f"{TINY}/image_classification/pretrainedResnet_quant.tflite",
    ),
    "kws": (
        f"{TINY}/keyword_spotting/kws_ref_model",
        "keywords",
        "classification",
        f"{TINY}/keyword_spotting/kws_ref_model.tflite",
    ),
    "vww": (
        f"{TINY}/visual_wake_words/vww_96.h5",
        "wake_words",
        "classification",
        f"{TINY}/visual_wake_words/vww_96_int8.tflite",
    ),
    "autoencoder": (
        f"{TINY}/anomaly_detection/ad01.h5",
        "log_mels",
        "reconstruction",
        f"{TINY}/anomaly_detection/ad01_int8.tflite",
    ),
    "malaria": (
        "third_party_models/malaria_jitensinha98/Malaria_cells_Classifier.h5",
        "malaria",
        "classification",
        None,
    ),
}


def published(name: str) -> str:
    """Return the score of the published int8 file on the same test rows."""
    _, data, task, path = MODELS[name]
    if path is None:
        return "none published"
    arrays = getattr(real_data, data)()
    x = arrays["x_test"]
    y = x if task == "reconstruction" else arrays["y_test"].astype(np.int64)
    model = (real_data.ROOT / path).read_bytes()
    out = scoring.scores(HostRuntime(), model, read(model), x)
    found = accuracy.compare(task, y, out, out)
    return f"{found.score_now:.4f}"


def row(name: str, recipe: str, profile: str) -> str:
    """Return the Markdown row of one build, made by the command line."""
    path, data, task, _ = MODELS[name]
    with tempfile.TemporaryDirectory() as out:
        command = [
            *(sys.executable, "-m", "edgepack", "build", str(real_data.ROOT / path)),
            *("--data", f"{HERE / 'real_data.py'}:{data}", "--profile", profile),
            *("--recipe", recipe, "--task", task, "--out", out, "--no-sandbox", "--json"),
        ]
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - started
    if done.returncode not in {0, 3}:
        return f"| {name} | {recipe} | {done.stderr.strip()} |"
    made = json.loads(done.stdout)["products"][0]
    f, last, plain = made["fidelity"], made["steps"][-1], made["steps"][1]
    low, high = f["drop_interval"]
    share = last["download_bytes"] / plain["download_bytes"]
    failed = [g["gate"] for g in made["findings"] if g["verdict"] == "fail"]
    cells = (
        name,
        recipe,
        f"{f['samples']}",
        f"{f['float_score']:.4f} [{f['float_interval'][0]:.3f}, {f['float_interval'][1]:.3f}]",
        f"{f['score_now']:.4f} [{f['score_interval'][0]:.3f}, {f['score_interval'][1]:.3f}]",
        f"{f['drop']:+.4f} [{low:+.4f}, {high:+.4f}]",
        published(name),
        f"{last['flatbuffer_bytes']:,}",
        f"{last['download_bytes']:,} ({share:.1%})",
        f"{last['zeros_share']:.1%}",
        f"{last['codes']}",
        f"{seconds:.0f}",
        ", ".join(failed) or "none",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    wanted = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    wanted.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    wanted.add_argument("--recipe", "-r", action="append")
    wanted.add_argument("--profile", "-p", default="clinic-tablet-1gb-armv7")
    asked = wanted.parse_args()
    head = (
        "model",
        "recipe",
        "test rows",
        "float",
        "int8",
        "drop",
        "published int8",
        "flatbuffer B",
        "download B (of plain int8's)",
        "zeros",
        "values",
        "s",
        "failed gates",
    )
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for name in asked.models or list(MODELS):
        for recipe in asked.recipe or ["int8", "prune-cluster-qat"]:
            print(row(name, recipe, asked.profile), flush=True)


if __name__ == "__main__":
    main()
