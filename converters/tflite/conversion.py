"""One conversion, in a process of its own because the converter can crash or hang.

Rolled recurrent layers end it by a segmentation fault, for example. Nothing is left behind
whatever happens: the work is done in a temporary folder, and a process that outlives its
time is killed.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import ConverterCrashed, ModelRefused
from converters.tflite import convert_process, layer_names
from converters.tflite.convert_worker import REFUSED, ConversionJob, write_jobs

TIMEOUT_S = 1800.0
_REMEDY = "simplify the layer that it names, or quantize with another recipe"


def convert(
    model: Any,
    rows: Sequence[NDArray[Any] | None],
    *,
    per_channel_dense: bool = True,
    timeout_s: float = TIMEOUT_S,
) -> list[bytes]:
    """Return one .tflite per entry of ``rows``; float where that is None.

    An entry is ``(N, *input_shape)``, calibration rows of a full-int8 file. The batch is
    fixed to 1.

    Raises:
        ModelRefused: several inputs or outputs, or an input of unknown size.
        ConverterCrashed: the converter died, ran out of time, or refused the graph.
    """
    shape = _input_shape(model)
    with tempfile.TemporaryDirectory(prefix="edgepack-convert-") as room:
        folder = Path(room)
        _export(model, shape, folder / "model")
        jobs = [
            ConversionJob(
                out=f"{number}.tflite",
                rows=None if part is None else f"rows{number}.npy",
                per_channel_dense=per_channel_dense,
            )
            for number, part in enumerate(rows)
        ]
        for job, part in zip(jobs, rows, strict=True):
            if job.rows is not None:
                np.save(folder / job.rows, np.asarray(part, np.float32))
        write_jobs(folder, jobs)
        _run(folder, model, timeout_s)
        return [(folder / job.out).read_bytes() for job in jobs]


def _input_shape(model: Any) -> tuple[int, ...]:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelRefused(
            f"{model.name}: wanted one input and one output. Received: "
            f"{len(model.inputs)} and {len(model.outputs)}; export the part that is deployed"
        )
    shape = tuple(model.input_shape[1:])
    if None in shape:
        raise ModelRefused(
            f"{model.name}: wanted an input of fixed size. Received: {shape}; rebuild the "
            "model with the size that the device will give it"
        )
    return shape


def _export(model: Any, shape: tuple[int, ...], folder: Path) -> None:
    """Write ``model`` in inference mode, batch 1, as a SavedModel."""
    from converters import keras2

    tf = keras2.tf
    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(False)  # LSTM's fused form is a function of its own
    with keras2.quiet():
        run = tf.function(lambda x: model(x, training=False)).get_concrete_function(
            tf.TensorSpec((1, *shape), tf.float32, name="input")
        )
        holder = tf.Module()
        holder.model, holder.run = model, run
        tf.saved_model.save(holder, str(folder), signatures={"serving_default": run})
    tf.config.run_functions_eagerly(eagerly)


def _run(folder: Path, model: Any, timeout_s: float) -> None:
    """Run the worker to its end.

    Raises:
        ConverterCrashed: any end but a good one.
    """
    name = str(model.name)
    try:
        code = convert_process.run(folder, timeout_s)
    except convert_process.TookTooLongError as slow:
        raise ConverterCrashed(
            f"{name}: the converter was stopped after {timeout_s:g} s: wanted it to finish; "
            f"{_REMEDY}"
        ) from slow
    except OSError as absent:
        raise ConverterCrashed(f"{name}: the converter did not start: {absent}") from absent
    if code == 0:
        return
    refused = folder / REFUSED
    if refused.exists():
        said = refused.read_text(encoding="utf-8")
        text = f"{said}{layer_names.layer_in(said, model)}"
        raise ConverterCrashed(f"{name}: the converter refused it: {text}; {_REMEDY}")
    ended = f"died by {_signal(-code)}" if code < 0 else f"ended with exit code {code}"
    raise ConverterCrashed(
        f"{name}: the converter {ended}{layer_names.recurrent_layers(model)}; {_REMEDY}"
    )


def _signal(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"
