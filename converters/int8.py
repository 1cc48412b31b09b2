"""Full-int8 .tflite bytes from a draft: int8 in, int8 out, no float operator left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.draft import Draft, Samples, Training, calibration_rows
from converters.errors import ConverterCrashed

TIMEOUT_S = 1800


@dataclass(frozen=True, slots=True)
class Converted:
    """A .tflite and what its making has to say."""

    tflite: bytes
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8:
    """Quantize everything to int8 and convert; ranges come from calibration rows.

    Attributes:
        calibration_samples: rows drawn from the training part.
        per_channel_dense: False where the runtime would compute per-channel
            fully-connected weights wrongly.
    """

    calibration_samples: int = 256
    per_channel_dense: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that no conversion can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        if self.calibration_samples < 2:
            raise ValueError(
                f"calibration_samples: wanted 2 or more. Received: {self.calibration_samples}"
            )

    def __call__(self, draft: Draft, samples: Samples, training: Training) -> Converted:
        """Return the converted draft."""
        rows = self.rows(samples, training)
        return Converted(self._converted(draft, samples.x_train[rows]))

    def halves(self, draft: Draft, samples: Samples, training: Training) -> tuple[bytes, bytes]:
        """Return two conversions, each calibrated on one half of the rows alone."""
        rows = self.rows(samples, training)
        first, second = (self._converted(draft, samples.x_train[rows[i::2]]) for i in (0, 1))
        return first, second

    def rows(self, samples: Samples, training: Training) -> NDArray[np.int64]:
        """Return the numbers of the calibration rows in the training part."""
        return calibration_rows(len(samples.x_train), self.calibration_samples, training.seed)

    def _converted(self, draft: Draft, rows: NDArray[Any]) -> bytes:
        return converted(draft.model, rows, {"per_channel_dense": self.per_channel_dense})


def float_tflite(model: Any) -> bytes:
    """Return ``model`` as a float .tflite: the size that others are compared with."""
    return converted(model, None, {})


def converted(model: Any, rows: NDArray[Any] | None, options: dict[str, Any]) -> bytes:
    """Return .tflite bytes, made in a process of its own, because the converter can crash.

    Raises:
        ConverterCrashed: it died, hung or refused the graph.
    """
    from converters import keras2

    tf = keras2.tf
    with tempfile.TemporaryDirectory(prefix="edgepack-convert-") as room:
        folder = Path(room)
        shape = (1, *(int(size) for size in model.input_shape[1:]))
        with keras2.quiet():
            run = tf.function(lambda x: model(x, training=False)).get_concrete_function(
                tf.TensorSpec(shape, tf.float32, name="input")
            )
            holder = tf.Module()
            holder.model, holder.run = model, run
            tf.saved_model.save(
                holder, str(folder / "model"), signatures={"serving_default": run}
            )
        if rows is not None:
            np.save(folder / "rows.npy", rows.astype(np.float32))
        (folder / "options.json").write_text(json.dumps(options))
        command = [sys.executable, "-m", "converters.convert_worker", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise ConverterCrashed(
                f"{model.name}: the converter ran over {TIMEOUT_S} s"
            ) from error
        if done.returncode < 0:
            name = signal.Signals(-done.returncode).name
            raise ConverterCrashed(f"{model.name}: the converter died by {name}")
        if done.returncode:
            tail = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise ConverterCrashed(f"{model.name}: the converter refused it: {' '.join(tail)}")
        return (folder / "model.tflite").read_bytes()
