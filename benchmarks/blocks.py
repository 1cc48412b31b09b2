"""What blocks of zeros buy on a net that is mostly dense, beside int8 and single zeros.

    python benchmarks/blocks.py [ARM …]      all of ``arms`` without a name

The anomaly detector of MLPerf Tiny, fine-tuned on windows of spoken digits (see
``real_data.log_mels``): bytes, download bytes, r2 of the reconstruction, and instructions an
inference under QEMU. Needs an engine with its images and the files below EDGEPACK_DATA.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import forms
import real_data

from converters.draft import Draft, Samples, Training
from converters.tflite import tflite_edit
from edgepack.gates import accuracy
from edgepack.pipeline import recipe
from edgepack.tflite.flatbuffer import read

IMAGES = tuple(image for image in forms.IMAGES if image[0] == "tflite-runtime")


def arms() -> Iterator[tuple[str, recipe.Recipe]]:
    """Yield the recipes compared, by name."""
    for name in ("int8", "qat", "prune-qat", "blocks-qat"):
        yield name, recipe.load(name)
    blocks = recipe.load("blocks-qat")
    prune, *rest = blocks.stages
    others = {
        "blocks-qat, sparsity 0.75": replace(prune, sparsity=0.75),
        "blocks-qat, by size": replace(prune, reconstruct=False, epochs=8),
    }
    for name, stage in others.items():
        yield name, replace(blocks, stages=(stage, *rest))


def made(model: object, whole: recipe.Recipe, samples: Samples) -> bytes:
    """Return the file that a recipe makes of ``model``."""
    training = Training(task="reconstruction", original=model)
    draft = Draft(model)
    for stage in whole.stages:
        draft = stage(draft, samples, training)
    tflite: bytes = whole.int8(draft, samples, training).tflite
    for rewrite in whole.rewrites:
        tflite, _ = rewrite(tflite)
    return tflite


def main(*wanted: str) -> None:
    """Print one Markdown row a recipe, of those wanted."""
    from converters import keras2
    from converters.reading.loading import load

    path = real_data.ROOT / "mlperf_tiny/anomaly_detection/ad01.h5"
    model, parts = load(path).model, real_data.log_mels()
    samples = Samples(**parts, **{f"y_{k[2:]}": v for k, v in parts.items()})
    before = keras2.predict(model, samples.x_test)
    machines = " | ".join(f"instructions {image[2]}" for image in IMAGES)
    print(f"| recipe | bytes | download bytes | r2 | {machines} |")
    print("|" + "---|" * (4 + len(IMAGES)), flush=True)
    for name, whole in arms():
        if wanted and name not in wanted:
            continue
        tflite = made(model, whole, samples)
        facts = read(tflite)
        after = tflite_edit.outputs(tflite, samples.x_test).astype("float32")
        found = accuracy.compare("reconstruction", samples.y_test, before, after)
        counts = " | ".join(f"{forms.count(tflite, image):,}" for image in IMAGES)
        sizes = f"{facts.flatbuffer_bytes:,} | {facts.download_bytes:,}"
        print(f"| {name} | {sizes} | {found.score_now:.4f} | {counts} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
