"""What travels between stages: the model so far, what it promises, and the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Trait(Flag):
    """A property of the weights that later stages must keep, tensor by tensor."""

    NONE = 0
    SPARSE = auto()
    CLUSTERED = auto()
    QUANTIZED = auto()
    BLOCKED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Data of one model: disjoint train, validation and test parts.

    ``x_*`` are ``(N, *input_shape)`` in the units the float model was trained on, any
    numeric dtype (batches are cast to float32). ``y_*`` are ``(N,)`` class indices for
    classification, ``(N, *output_shape)`` for regression, and ``x`` itself for
    reconstruction. Validation chooses, calibration draws from train, test only judges.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_val: NDArray[Any]
    y_val: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    labels: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A model between two stages.

    Attributes:
        model: a tf_keras functional model; never changed once it is in a Draft.
        traits: what the weights promise, checked on each stage's output.
        promises: per trait, the numbers it promises by weight name, for example
            ``{"SPARSE": {"dense/kernel": 0.5}, "BLOCKED": {"dense/kernel": 16}}``.
        notes: what a stage did not do and why, in words for the report.
    """

    model: Any
    traits: Trait = Trait.NONE
    promises: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How every fine-tune of one build runs; the same seed gives the same weights.

    Attributes:
        task: ``classification``, ``regression`` or ``reconstruction``; used where the
            model carries no compiled loss of its own.
        seed: seeds weights, shuffling and dropout.
        batch_size: samples a step.
        augment: names of the random views that a training row is shown in, see
            ``learning.augment.VIEWS``; none shows it as it is.
        progress: called with (stage, done, total) steps; None is silent.
        original: the uncompressed tf_keras model, whose compiled loss stages use; None
            takes the draft's own model.
        teacher: another tf_keras model of the same inputs and outputs that stages distil
            from; None takes ``original``.
    """

    task: str | None = None
    seed: int = 0
    batch_size: int = 64
    augment: tuple[str, ...] = ()
    progress: Any = None
    original: Any = None
    teacher: Any = None

    def whole(self, model: Any) -> Any:
        """Return the uncompressed model; ``model`` where none is known."""
        return model if self.original is None else self.original

    def teacher_of(self, model: Any) -> Any:
        """Return what is learned from: a teacher of its own, else the uncompressed model."""
        return self.whole(model) if self.teacher is None else self.teacher


def calibration_rows(total: int, wanted: int, seed: int) -> NDArray[np.int64]:
    """Return ``min(total, wanted)`` distinct row numbers, drawn without replacement."""
    return np.sort(np.random.default_rng(seed).permutation(total)[:wanted])
