"""What travels between stages: the model so far, what it promises, and the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Flag, auto
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from converters.inspection import TfliteInspector


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
    classification, ``(N, *output_shape)`` for regression and, as 0 and 1, for multi-label,
    and ``x`` itself for reconstruction. Validation chooses, calibration draws from train,
    test only judges.
    """

    x_train: NDArray[Any]
    y_train: NDArray[Any]
    x_val: NDArray[Any]
    y_val: NDArray[Any]
    x_test: NDArray[Any]
    y_test: NDArray[Any]
    labels: tuple[str, ...] = ()
    digest: str = ""

    def without_test(self) -> Samples:
        """Return the same samples with no row in the test part: for all that chooses."""
        return replace(self, x_test=self.x_test[:0], y_test=self.y_test[:0])


class KerasModel(Protocol):
    """What code that imports no TensorFlow may use of a tf_keras model."""

    name: str
    layers: list[Any]
    inputs: list[Any]
    outputs: list[Any]
    input_shape: Any
    output_shape: Any

    def __call__(self, inputs: Any, training: bool = ...) -> Any: ...


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
        task: ``classification``, ``multilabel``, ``regression`` or ``reconstruction``; used
            where the model carries no compiled loss of its own.
        seed: seeds weights, shuffling and dropout.
        batch_size: samples a step.
        augment: names of the random views that a training row is shown in, see
            ``learning.augment.VIEWS``; none shows it as it is.
        progress: called with (stage, done, total) steps; None is silent.
        original: the uncompressed tf_keras model, whose compiled loss stages use; None
            takes the draft's own model.
        teacher: another tf_keras model of the same inputs and outputs that stages distil
            from; None takes ``original``.
        inspector: reads a finished .tflite for the checks on it; conversions need one.
    """

    task: str | None = None
    seed: int = 0
    batch_size: int = 64
    augment: tuple[str, ...] = ()
    progress: Callable[[str, int, int], None] | None = None
    original: KerasModel | None = None
    teacher: KerasModel | None = None
    inspector: TfliteInspector | None = None

    def inspects(self) -> TfliteInspector:
        """Return the reader of finished files.

        Raises:
            ValueError: none was handed in.
        """
        if self.inspector is None:
            raise ValueError(
                "inspector: wanted a reader of finished .tflite files, such as"
                " edgepack.tflite.inspection.FactsInspector(). Received: None"
            )
        return self.inspector

    def whole(self, model: KerasModel) -> KerasModel:
        """Return the uncompressed model; ``model`` where none is known."""
        return model if self.original is None else self.original

    def teacher_of(self, model: KerasModel) -> KerasModel:
        """Return what is learned from: a teacher of its own, else the uncompressed model."""
        return self.whole(model) if self.teacher is None else self.teacher


class Stage(Protocol):
    """A step of a recipe on the Keras model: a frozen value that is also a pure function.

    That is the whole contract. A stage that learns from a teacher may say so by the
    attributes of ``TeacherUse``; one without them learns from none. Its settings are its
    dataclass fields, from which the key of what it makes is derived.
    """

    def __call__(self, draft: Draft, samples: Samples, training: Training, /) -> Draft: ...


class Rewrite(Protocol):
    """A step of a recipe on the finished int8 .tflite: also a frozen value."""

    def __call__(self, tflite: bytes, rows: NDArray[Any], /) -> tuple[bytes, tuple[str, ...]]:
        """Return the new file and what was done, in words.

        Args:
            tflite: full int8, of our own converter.
            rows: ``(N, *input_shape)`` calibration rows in the units of the float model.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherUse:
    """What a stage learns from a teacher; the defaults are those of a stage that does not.

    Attributes:
        distillation: share of the loss that matches the teacher's outputs, in [0, 1].
        compares: inner maps are compared with the teacher's.
        asks: anything at all is learned from the teacher.
        layers: names in the user's model of the layers compared; none: chosen by the stage.
    """

    distillation: float = 0.0
    compares: bool = False
    asks: bool = False
    layers: tuple[str, ...] = ()

    @classmethod
    def of(cls, stage: Stage) -> TeacherUse:
        """Return what ``stage`` says of itself; where it is silent, the default holds."""
        silent = cls()
        return cls(
            distillation=getattr(stage, "distillation", silent.distillation),
            compares=getattr(stage, "compares", silent.compares),
            asks=getattr(stage, "asks", silent.asks),
            layers=tuple(getattr(stage, "layers", silent.layers)),
        )


def calibration_rows(total: int, wanted: int, seed: int) -> NDArray[np.int64]:
    """Return ``min(total, wanted)`` distinct row numbers, drawn without replacement."""
    return np.sort(np.random.default_rng(seed).permutation(total)[:wanted])
