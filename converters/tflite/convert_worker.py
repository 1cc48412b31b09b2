"""The converter's own process: ``python -m converters.tflite.convert_worker --serve``.

Reads folders from stdin, a line each. Of each it converts ``model`` (a SavedModel) into one
.tflite a job of ``jobs.json`` and answers ``converted 0``; what the converter refuses goes
into ``refused.txt`` as one line, and the answer is ``converted 1``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

REFUSED = "refused.txt"
DONE = "converted "
_JOBS = "jobs.json"
_LONGEST = 300
#: Where an operator without a kernel stands in the graph, and what it is.
_NO_KERNEL = re.compile(r'fused\["\w+:", "([^"@]+)@[^\n]*\'tf\.(\w+)\' op is neither')


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionJob:
    """One .tflite to be made of the folder's model.

    Attributes:
        out: its file's name in the folder.
        rows: file of calibration rows, ``(N, *input_shape) float32``, of a full-int8
            .tflite; None keeps it float.
        per_channel_dense: False gives fully-connected kernels one scale each.
    """

    out: str
    rows: str | None
    per_channel_dense: bool


def write_jobs(folder: Path, jobs: Sequence[ConversionJob]) -> None:
    """Leave ``jobs`` where ``convert`` looks for them."""
    text = json.dumps([asdict(job) for job in jobs])
    (folder / _JOBS).write_text(text, encoding="utf-8")


def convert(folder: Path) -> int:
    """Return 0 once every job is written, 1 if the converter refused one."""
    from converters.keras2 import tf

    jobs = [
        ConversionJob(**job) for job in json.loads((folder / _JOBS).read_text(encoding="utf-8"))
    ]
    try:
        for job in jobs:
            converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "model"))
            if job.rows is not None:
                _calibrate(converter, np.load(folder / job.rows), job, tf)
            (folder / job.out).write_bytes(converter.convert())
    except Exception as refusal:  # noqa: BLE001 - whatever it is, the parent reports it
        line = one_line(str(refusal)) or type(refusal).__name__
        (folder / REFUSED).write_text(line, encoding="utf-8")
        return 1
    return 0


def _calibrate(converter: Any, rows: Any, job: ConversionJob, tf: Any) -> None:
    """Ask for int8 everywhere, ranges from ``rows``, one at a time."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[np.newaxis]] for row in rows)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    if not job.per_channel_dense:
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True


def one_line(message: str) -> str:
    """Return the line of a converter's page-long ``message`` that says what is wrong."""
    kernels = dict.fromkeys(_NO_KERNEL.findall(message))
    if kernels:
        words = [f"no kernel for {kind} at {path}" for path, kind in kernels]
        return "; ".join(words[:3])[:_LONGEST]
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "not supported" in line]
    line = (telling or lines or [""])[0]
    line = re.sub(r"<unknown>:\d+:\s*|loc\([^)]*\):?\s*", "", line)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def serve() -> int:
    """Return 0 once stdin ends."""
    for line in sys.stdin:
        print(f"{DONE}{convert(Path(line.rstrip()))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(serve())
