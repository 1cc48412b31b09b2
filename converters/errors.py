"""What can go wrong between a Keras model and its .tflite, as a tree; each is one line.

ConversionError
├── ModelRefused        the model holds something no stage can take; named
├── DataRefused         samples of the wrong shape, labels, or number
├── TaskNeeded          no compiled loss and no task: which loss would be a guess
├── TrainingFailed      the loss became NaN or infinite
├── InvariantBroken     a stage's output lost what a trait promises
├── ConverterCrashed    the converter's process died, hung or refused the graph
└── FloatIsland         the .tflite still computes in float; op and tensor are named
"""

from __future__ import annotations

import os


class ConversionError(Exception):
    """One line for the user: where, what was wanted, what was got, what to do."""


class ModelRefused(ConversionError):  # noqa: N818 - reads as what happened
    """A file or a layer that cannot enter the pipeline, by name."""


class DataRefused(ConversionError):  # noqa: N818
    """Samples whose shape, labels or number do not fit the model."""


class TaskNeeded(ConversionError):  # noqa: N818
    """The model carries no compiled loss and no task was given."""


class TrainingFailed(ConversionError):  # noqa: N818
    """Fine-tuning diverged; the weights are of no use."""


class InvariantBroken(ConversionError):  # noqa: N818
    """Weights that lost zeros or clusters, died, or are no longer finite."""


class ConverterCrashed(ConversionError):  # noqa: N818
    """The converter's process ended by a signal, ran out of time, or raised."""


class FloatIsland(ConversionError):  # noqa: N818
    """An operator of a full-int8 .tflite that still reads or writes float."""


_LONGEST_QUOTE = 120


def quote(text: object) -> str:
    """Return ``text`` from a foreign file as one short printable line.

    Names inside a hostile file may hold line breaks, terminal escapes or megabytes.
    """
    shown = "".join(c if c.isprintable() else "?" for c in str(text))
    return shown if len(shown) <= _LONGEST_QUOTE else shown[: _LONGEST_QUOTE - 1] + "…"


def refusal(where: str | os.PathLike[str], *, wanted: str, got: str, do: str) -> ModelRefused:
    """Return the error that names the file, what was wanted and got, and the remedy."""
    return ModelRefused(f"{quote(os.fspath(where))}: wanted {wanted}; got {got}; {do}")
