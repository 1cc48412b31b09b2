"""Data: an .npz, a folder of images, a TFDS name or the user's own function.

Whatever the form, what comes out is one ``Samples`` whose shapes, labels and values were
checked against the model, so that a mistake shows before training and not after it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.draft import Samples
from converters.task import CLASSIFICATION, TaskHint
from edgepack.errors import InputError, UsageError
from edgepack.gates.accuracy import TASKS
from edgepack.pipeline.data import checks
from edgepack.pipeline.data.formats import (
    PIXELS,
    from_folder,
    from_function,
    from_npz,
    from_tfds,
)

Arrays = Mapping[str, NDArray[Any]]
_Pair = tuple[NDArray[Any], NDArray[Any] | None]
SPLITS = ("train", "val", "test")
# Of a set that comes undivided: enough to train on, and a test part that can decide.
_SHARES = {"val": 0.15, "test": 0.25}


def load(
    source: str,
    *,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    task: str | None,
    hint: TaskHint | None = None,
    pixels: str = "raw",
    seed: int = 0,
) -> tuple[Samples, str]:
    """Return checked samples from ``source``, and the task that they are for.

    Args:
        source: ``x.npz``, a folder ``train|val|test/<class>/<image>``, ``tfds:NAME`` or
            ``file.py:function``.
        input_shape, output_shape: of the model, without the batch.
        task: one of ``gates.accuracy.TASKS``; None: as ``hint`` and the targets say.
        hint: what the model says of its task; None where it says nothing.
        pixels: for image folders and TFDS, what the model was trained on: ``raw`` 0–255,
            ``unit`` 0–1 or ``signed`` −1–1.
        seed: divides a set that comes undivided.

    Raises:
        InputError: missing, damaged, of the wrong shape, mislabelled, not finite.
        EnvironmentMissing: ``tfds:`` without the package.
        UsageError: no task is given, and none can be told.
    """
    arrays, labels = _arrays(source, input_shape, pixels, ("train", "test"))
    pairs = _divided(arrays, source, seed)
    whole, chosen = _whole(
        pairs, labels, source, input_shape, output_shape, task=task, hint=hint
    )
    return _samples(whole, labels), chosen


def load_test(
    source: str,
    *,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    task: str | None,
    hint: TaskHint | None = None,
    pixels: str = "raw",
) -> tuple[Samples, str]:
    """Return samples that have a test part only, and the task that they are for.

    For a model that nothing is trained or calibrated for: a set that comes undivided is all
    test rows. Arguments and errors as of ``load``.
    """
    arrays, labels = _arrays(source, input_shape, pixels, ("test",))
    divided = any(f"x_{split}" in arrays for split in SPLITS)
    x_name, y_name = ("x_test", "y_test") if divided else ("x", "y")
    if x_name not in arrays:
        raise InputError(
            f"{source}: wanted x_test and y_test (or x and y of a set that is all test rows)."
            f" Received: {', '.join(sorted(arrays)) or 'nothing'}"
        )
    pairs = {"test": (arrays[x_name], arrays.get(y_name))}
    whole, chosen = _whole(
        pairs, labels, source, input_shape, output_shape, task=task, hint=hint
    )
    x, y = whole["test"]
    return _samples({"train": (x[:0], y[:0]), "val": (x[:0], y[:0]), **whole}, labels), chosen


def _arrays(
    source: str, shape: tuple[int, ...], pixels: str, needed: tuple[str, ...]
) -> tuple[Arrays, tuple[str, ...]]:
    """Return the arrays of ``source``, unjudged, and the names of its classes."""
    try:
        arrays, labels = _read(source, shape, pixels, needed)
    except OSError as error:  # a folder or picture that may not be looked at
        raise InputError(
            f"{error.filename or source}: cannot read data: {error.strerror}"
        ) from error
    if "labels" in arrays:
        labels = tuple(str(name) for name in np.asarray(arrays["labels"]).reshape(-1))
    return arrays, labels


def _whole(
    pairs: Mapping[str, _Pair],
    labels: tuple[str, ...],
    source: str,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    *,
    task: str | None,
    hint: TaskHint | None,
) -> tuple[dict[str, tuple[NDArray[Any], NDArray[Any]]], str]:
    """Return each part's checked inputs and targets, and the task that they are for."""
    divided = {
        split: (checks.inputs(x, f"{source}: x_{split}", input_shape), y)
        for split, (x, y) in pairs.items()
    }
    hint = hint or TaskHint(task=None)
    chosen = task or hint.resolved(divided.values())
    if chosen is None:
        raise UsageError(f"the task is unknown: {hint.why}; give --task {'|'.join(TASKS)}")
    try:
        whole = _checked(divided, source, output_shape, chosen, hint.signed_labels)
        checks.names(labels, source, output_shape, chosen)
    except InputError as error:
        if task is not None:
            raise
        others = "|".join(each for each in TASKS if each != chosen)
        raise InputError(
            f"{error}; the task {chosen} was guessed because {hint.why}: if it is another, give"
            f" --task {others}"
        ) from error
    return whole, chosen


def _checked(
    divided: Mapping[str, _Pair], source: str, shape: tuple[int, ...], task: str, signed: bool
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    whole = {
        split: (
            x,
            checks.targets(x, y, f"{source}: y_{split}", shape, task, signed=signed),
        )
        for split, (x, y) in divided.items()
    }
    if task != CLASSIFICATION:
        checks.spread(whole["test"][1], f"{source}: y_test")
    return whole


def _samples(
    whole: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], labels: tuple[str, ...]
) -> Samples:
    return Samples(
        x_train=whole["train"][0],
        y_train=whole["train"][1],
        x_val=whole["val"][0],
        y_val=whole["val"][1],
        x_test=whole["test"][0],
        y_test=whole["test"][1],
        labels=labels,
        digest=_digest(whole),
    )


def _read(
    source: str, shape: tuple[int, ...], pixels: str, needed: tuple[str, ...]
) -> tuple[Arrays, tuple[str, ...]]:
    """Return the arrays of whatever form ``source`` has, and the classes it names."""
    if source.startswith("tfds:"):
        return from_tfds(source.removeprefix("tfds:"), shape, pixels)
    if ".py:" in source:
        return from_function(source), ()
    if Path(source).is_dir():
        return from_folder(Path(source), shape, pixels, needed)
    return from_npz(Path(source)), ()


def present(source: str) -> None:
    """Refuse data that are not there, which costs nothing to ask before the model is read.

    Raises:
        InputError: nothing at that path, or it may not be looked at.
    """
    if source.startswith("tfds:"):
        return
    path = Path(source.rpartition(":")[0] if ".py:" in source else source)
    try:
        path.stat()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot read data: {getattr(error, 'strerror', error)};"
            " wanted an .npz, a folder, tfds:NAME or file.py:function"
        ) from error


def holds_images(source: str) -> bool:
    """Return whether ``source`` gives pictures that are fitted to the model here."""
    if source.startswith("tfds:") or ".py:" in source:
        return source.startswith("tfds:")
    return os.path.isdir(source)  # noqa: PTH112 - Path.is_dir raises where it may not look


def preprocessing(source: str, samples: Samples, pixels: str) -> str:
    """Return what is known of how rows were made ready for the model, as one line."""
    if holds_images(source):
        factor, shift = PIXELS[pixels]
        low, high = shift, 255 * factor + shift
        return f"{pixels}: images resized (bilinear), pixels as {low:g} to {high:g}"
    x, part = samples.x_train, "training"
    if not len(x):
        x, part = samples.x_test, "test"
    return (
        f"none by edgepack: rows as they were given, {x.dtype}, {x.min():g} to {x.max():g}"
        f" in the {part} part"
    )


def _divided(arrays: Arrays, source: str, seed: int) -> dict[str, _Pair]:
    """Return the three parts, dividing what comes undivided the same way every time."""
    pairs: dict[str, _Pair] = {
        split: (arrays[f"x_{split}"], arrays.get(f"y_{split}"))
        for split in SPLITS
        if f"x_{split}" in arrays
    }
    if not pairs and "x" in arrays:
        pairs = {"train": (arrays["x"], arrays.get("y"))}
        return _carve(pairs, ("test", "val"), source, seed)
    if "train" not in pairs or "test" not in pairs:
        raise InputError(
            f"{source}: wanted x_train, y_train, x_val, y_val, x_test, y_test (or x and y of"
            f" one undivided set). Received: {', '.join(sorted(arrays)) or 'nothing'}"
        )
    return pairs if "val" in pairs else _carve(pairs, ("val",), source, seed)


def _carve(
    pairs: dict[str, _Pair], wanted: tuple[str, ...], source: str, seed: int
) -> dict[str, _Pair]:
    """Move a share of the training rows, drawn without replacement, into other parts."""
    x, y = pairs["train"]
    if x.ndim == 0 or len(x) < 10 * len(wanted):
        raise InputError(f"{source}: too few rows to divide. Received shape {x.shape}")
    if y is not None and (y.ndim == 0 or len(y) != len(x)):
        raise InputError(f"{source}: {len(x)} inputs but y of shape {y.shape}")
    order = np.random.default_rng(seed).permutation(len(x))
    begin = 0
    rows: dict[str, NDArray[np.int64]] = {}
    for name in wanted:
        end = begin + max(1, int(_SHARES[name] * len(x)))
        rows[name], begin = np.sort(order[begin:end]), end
    rows["train"] = np.sort(order[begin:])
    carved = {k: (x[r], None if y is None else y[r]) for k, r in rows.items()}
    return pairs | carved


def row_digests(x: NDArray[Any]) -> list[bytes]:
    """Return a digest a row, equal for rows with equal values whatever their dtype."""
    rows = np.ascontiguousarray(x.reshape(len(x), -1), dtype=np.float32)
    return [hashlib.sha256(row.tobytes()).digest() for row in rows]


def _digest(parts: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> str:
    total = hashlib.sha256()
    for split in SPLITS:
        for array in parts[split]:
            total.update(f"{split} {array.dtype.str} {array.shape}".encode())
            total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()
