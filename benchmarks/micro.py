"""Compiled models against TFLM: bits, instructions, RAM and flash, as a Markdown table.

    python benchmarks/micro.py [--rows 100] [--only resnet8]

Models are read from the folder that EDGEPACK_DATA names, else from ``../shared/data`` beside
the checkout. Needs gcc, arm-none-eabi-gcc, qemu-system-arm and tflite-micro. Instructions are
counted by the emulator; they are not cycles. TFLM's arena is the smallest that works on this
64-bit machine; its flash is the model array alone, without the interpreter's code.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepack.firmware import goldens, tflm_arena
from edgepack.firmware.compiler import c99
from edgepack.firmware.emulator import run as emulate
from edgepack.firmware.emulator.targets import TARGETS
from edgepack.tflite.facts import Facts

ROOT = Path(
    os.environ.get(
        "EDGEPACK_DATA", Path(__file__).resolve().parents[1].parent / "shared" / "data"
    )
)
TINY, OTHERS = "mlperf_tiny", "third_party_models"
MODELS = {
    "resnet8": f"{TINY}/image_classification/pretrainedResnet_quant.tflite",
    "ds-cnn": f"{TINY}/keyword_spotting/kws_ref_model.tflite",
    "mobilenet 0.25": f"{TINY}/visual_wake_words/vww_96_int8.tflite",
    "autoencoder": f"{TINY}/anomaly_detection/ad01_int8.tflite",
    "wake word 1-D": f"{TINY}/streaming_wakeword/str_ww_ref_model.tflite",
    "resnet large": f"{TINY}/image_classification/pretrainedResnet_large_int8.tflite",
    "hello world": f"{OTHERS}/tflm/hello_world_int8.tflite",
    "micro speech": f"{OTHERS}/tflm/micro_speech_quantized.tflite",
    "LSTM": f"{OTHERS}/tflm/trained_lstm_int8.tflite",
    "magic wand": f"{OTHERS}/mltk/tflite_micro_magic_wand/tflite_micro_magic_wand.tflite",
    "ecg autoencoder": f"{OTHERS}/mltk/autoencoder_example/autoencoder_example.tflite",
    "ds-cnn, float I/O": f"{OTHERS}/mltk/keyword_spotting/keyword_spotting.tflite",
}
CORES = ("cortex-m4", "cortex-m7", "cortex-m55", "cortex-m0plus")
EMULATED_ROWS = 4


def random_rows(facts: Facts, rows: int) -> NDArray[np.generic]:
    """Return seeded inputs of the model's one input."""
    tensor, rng = facts.inputs[0], np.random.default_rng(0)
    if tensor.dtype == "float32":
        return rng.normal(0, 2, (rows, *tensor.shape)).astype(np.float32)
    info = np.iinfo(tensor.dtype)
    whole = rng.integers(info.min, info.max, (rows, *tensor.shape), endpoint=True)
    return whole.astype(tensor.dtype)


def row(name: str, path: Path, rows: int) -> str:
    """Return one line of the table."""
    model = path.read_bytes()
    program = c99.compile_model(model)
    files = c99.sources(program, "net")
    vectors = goldens.golden_vectors(model, random_rows(program.facts, rows))
    wrong = vectors.differing(emulate.run_on_host(files, "net", program.facts, vectors.inputs))
    few, counts = vectors.first(EMULATED_ROWS), []
    for core in CORES:
        run = emulate.run(files, "net", program.facts, TARGETS[core], few.inputs)
        wrong += few.differing(run.outputs)
        counts.append(f"{max(run.instructions) / 1e6:.3f}")
        if core == CORES[0]:
            ram, flash = run.sizes.ram_bytes + run.stack_bytes, run.flash_bytes
    needed = tflm_arena.minimum(model).arena_bytes
    cells = [name, str(wrong), *counts, f"{ram:,} / {needed:,}", f"{flash:,} / {len(model):,}"]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Print the table; return 1 if a value differs from TFLM's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100, help="vectors on this machine")
    parser.add_argument("--only", default="", help="part of a model's name")
    asked = parser.parse_args()
    heads = ["model", "values unlike TFLM's", *(f"{core}, M instr" for core in CORES)]
    heads += ["RAM, B: ours / TFLM", "flash, B: ours / TFLM's array alone"]
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}", flush=True)
    lines = []
    for name, path in MODELS.items():
        if asked.only in name:
            lines.append(row(name, ROOT / path, asked.rows))
            print(lines[-1], flush=True)
    return int(any(line.split("|")[2].strip() != "0" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
