"""What rows, targets and class names must be for a model to learn and be judged by them.

Every mistake is one line that names the split, what was wanted, what was got and what to do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.task import CLASSIFICATION, MULTILABEL, RECONSTRUCTION, REGRESSION
from edgepack.errors import InputError


def names(labels: tuple[str, ...], where: str, shape: tuple[int, ...], task: str) -> None:
    """Refuse names that cannot stand for the model's classes, one line each."""
    classes = int(np.prod(shape))
    if task == CLASSIFICATION:
        classes = max(classes, 2)
    if labels and task in (CLASSIFICATION, MULTILABEL) and len(labels) != classes:
        raise InputError(
            f"{where}: names {len(labels)} classes ({', '.join(labels[:4])}…), but the model"
            f" knows {classes}; give an .npz with its own class numbers"
        )
    twice = sorted({name for name in labels if labels.count(name) > 1})
    if twice:
        raise InputError(f"{where}: two classes are named {twice[0]!r}")
    for name in labels:
        if not name.isprintable() or not name.strip():
            raise InputError(f"{where}: class name {name!r}: wanted one line of text")


def spread(y: NDArray[Any], where: str) -> None:
    """Refuse test targets that are all the same: R² divides by how far they spread."""
    rows = y.reshape(len(y), -1)
    if (rows == rows[0]).all():
        raise InputError(f"{where}: every test target is the same; such rows prove nothing")


def inputs(x: NDArray[Any], where: str, shape: tuple[int, ...]) -> NDArray[Any]:
    if x.ndim == 0 or len(x) == 0:
        raise InputError(f"{where}: wanted at least one row of shape {shape}, got none")
    if x.dtype.kind not in "buif":
        raise InputError(f"{where}: wanted numbers, got dtype {x.dtype}")
    if x.shape[1:] != shape:
        if (*x.shape[1:], 1) == shape:
            x = x[..., np.newaxis]  # grey images are often stored without their channel
        else:
            raise InputError(
                f"{where}: the model takes rows of shape {shape}. Received: {x.shape[1:]};"
                " resize or reshape the data, or give a function file.py:function"
            )
    _finite(x, where)
    return np.ascontiguousarray(x)


def _finite(x: NDArray[Any], where: str) -> None:
    """Refuse what is no number to a model: NaN, infinity, or more than a float32 holds."""
    if x.dtype.kind != "f" or not x.size:
        return
    most = np.finfo(np.float32).max
    if not (-most <= x.min() and x.max() <= most):
        good = (np.abs(x.reshape(len(x), -1)) <= most).all(axis=1)
        row = int(np.flatnonzero(~good)[0])
        raise InputError(
            f"{where}: row {row} holds NaN, infinity or a value that float32 does not hold;"
            " remove or mend it"
        )


def targets(
    x: NDArray[Any],
    y: NDArray[Any] | None,
    where: str,
    shape: tuple[int, ...],
    task: str,
    *,
    signed: bool = False,
) -> NDArray[Any]:
    """Return the targets of rows ``x`` as ``Samples`` holds them for the task.

    Args:
        shape: of one output row of the model.
        signed: one output's labels may be -1 and 1, which become 0 and 1.

    Raises:
        InputError: missing, of another shape or number, or what the task does not learn from.
    """
    if task == RECONSTRUCTION:
        if x[0].size != int(np.prod(shape)):
            raise InputError(
                f"{where}: reconstruction wants a model that gives what it takes;"
                f" it takes {x.shape[1:]} and gives {shape}"
            )
        return x.reshape(len(x), *shape)
    if y is None:
        raise InputError(f"{where}: missing; {task} needs a target for every row")
    if y.ndim == 0 or len(y) != len(x):
        count = "a single number" if y.ndim == 0 else f"{len(y)} targets"
        raise InputError(f"{where}: {len(x)} inputs but {count}")
    if y.dtype.kind not in "buif":
        raise InputError(
            f"{where}: wanted numbers, got dtype {y.dtype}; number the classes from 0"
            " and put their names into an array 'labels'"
        )
    _finite(y, where)
    if task == REGRESSION:
        if y.size != len(x) * int(np.prod(shape)):
            raise InputError(f"{where}: the model gives {shape} a row, got {y.shape[1:]}")
        return y.reshape(len(x), *shape).astype(np.float32)
    classes = int(np.prod(shape))
    if len(shape) > 1 and classes != shape[-1]:
        raise InputError(
            f"{where}: the model answers for each of {'x'.join(map(str, shape[:-1]))} places"
            f" (segmentation or a tagged sequence), and {task} is judged once a row; with"
            " --task regression its values are judged as they are"
        )
    if task == MULTILABEL:
        return _labels(y, where, shape)
    if signed and classes == 1 and ((y == -1) | (y == 1)).all():
        y = y > 0
    return _classes(y, where, max(classes, 2))


def _labels(y: NDArray[Any], where: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return rows that mark each label with 0 or 1."""
    if y.size != len(y) * int(np.prod(shape)):
        raise InputError(
            f"{where}: wanted a 0 or 1 for each of {int(np.prod(shape))} labels."
            f" Received: rows of shape {y.shape[1:]}"
        )
    if not ((y == 0) | (y == 1)).all():
        wrong = y[(y != 0) & (y != 1)][0]
        raise InputError(
            f"{where}: labels are marked with 0 or 1. Received: {wrong:g}; round them, or give"
            " --task regression to judge the values themselves"
        )
    return y.reshape(len(y), *shape).astype(np.float32)


def _classes(y: NDArray[Any], where: str, classes: int) -> NDArray[np.int64]:
    """Return class indices from indices ``(N,)`` or ``(N, 1)``, or from one-hot rows."""
    if y.ndim == 2 and y.shape[1] == classes and classes > 1:
        if not ((y == 0) | (y == 1)).all():
            raise InputError(
                f"{where}: one-hot rows hold 0 and a single 1; soft labels are refused: give"
                " y.argmax(axis=1), or --task regression to judge the values themselves"
            )
        ones = y.sum(axis=1)
        if not (ones == 1).all():
            row = int(np.flatnonzero(ones != 1)[0])
            raise InputError(
                f"{where}: one-hot rows must hold a single 1. Received: {ones[row]:g} of them"
                f" in row {row}; where a row may have several labels or none, --task multilabel"
            )
        return np.asarray(y.argmax(axis=1), dtype=np.int64)
    flat = y.reshape(len(y), -1)
    if flat.shape[1] != 1:
        raise InputError(
            f"{where}: wanted class indices (N,) or one-hot (N, {classes}), got {y.shape}"
        )
    given = flat[:, 0]  # not yet as int64, which holds neither 1e30 nor 2**64 - 1
    broken = np.flatnonzero(given % 1 if given.dtype.kind == "f" else np.zeros(0))
    if len(broken):
        raise InputError(
            f"{where}: class indices must be whole numbers."
            f" Received: {given[broken[0]]:g} in row {broken[0]};"
            " numbers to predict are --task regression"
        )
    wrong = np.flatnonzero((given < 0) | (given >= classes))
    if len(wrong):
        if given.min() == 1 and given.max() == classes:
            raise InputError(
                f"{where}: the model knows classes 0 to {classes - 1}, these are numbered 1 to"
                f" {classes}; subtract 1"
            )
        raise InputError(
            f"{where}: the model knows classes 0 to {classes - 1}."
            f" Received: {given[wrong[0]]} in row {wrong[0]}"
        )
    return given.astype(np.int64)
