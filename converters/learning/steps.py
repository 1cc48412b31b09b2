"""One step of training and one of judging, compiled; imports TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.keras2 import keras, predict, tf
from converters.learning.feature_distillation import FeatureDistillation
from converters.learning.objective import Objective


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows with what is to be learned of them.

    Attributes:
        x: inputs.
        y: targets of the hard loss.
        soft: the teacher's outputs; a stand-in where it is asked at every step or not at all.
        itself: the targets are the inputs, in whatever view those are shown.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    soft: NDArray[np.float32]
    itself: bool = False

    def batch(self, rows: NDArray[Any], inputs: NDArray[Any]) -> tuple[Any, ...]:
        """Return (inputs, targets, teacher outputs) of ``rows`` as tensors."""
        kind = tf.int64 if np.issubdtype(self.y.dtype, np.integer) else tf.float32
        return (
            tf.constant(inputs, tf.float32),
            tf.constant(inputs if self.itself else self.y[rows], kind),
            tf.constant(self.soft[rows]),
        )


@dataclass(frozen=True, slots=True)
class DistillationLoss:
    """What is minimised: ``alpha`` of the distance to the teacher, the rest the hard loss.

    Attributes:
        teacher: None where ``alpha`` is 0.
        temperature: of the softening.
        head: what the teacher's outputs are; None where it is not asked for them.
    """

    objective: Objective
    teacher: Any
    alpha: float
    temperature: float
    head: str | None = None

    def part(
        self, x: NDArray[Any], y: NDArray[Any], *, ask_later: bool = False
    ) -> TrainingRows:
        """Return rows to learn from; the teacher's word is kept unless it is asked anew."""
        targets = self.objective.targets(x, y)
        itself = self.objective.reconstructs and targets.shape == x.shape
        if self.teacher is None or ask_later:
            return TrainingRows(x, targets, np.zeros((len(x), 1), np.float32), itself)
        return TrainingRows(x, targets, predict(self.teacher, x), itself)

    def loss(self, outputs: Any, y: Any, soft: Any) -> Any:
        """Return the loss of a batch, a scalar tensor."""
        if self.alpha == 1:
            return self.objective.distance(soft, outputs, self.temperature, self.head)
        hard = tf.reduce_mean(self.objective.hard(tf.cast(y, y.dtype), outputs))
        if not self.alpha:
            return hard
        near = self.objective.distance(soft, outputs, self.temperature, self.head)
        return self.alpha * near + (1.0 - self.alpha) * hard


def training_step(
    model: Any,
    trained: tuple[Sequence[Any], Sequence[tuple[Any, Any]]],
    distillation_loss: DistillationLoss,
    pace: Any,
    *,
    ask_teacher: bool,
    inner: FeatureDistillation | None = None,
) -> Any:
    """Return a function of a batch that takes one step of Adam and gives the loss.

    ``trained`` are the variables, and (variable, mask) whose zeros stay; with ``ask_teacher``
    the teacher is asked about the batch. ``inner`` adds how far inner maps are from the
    teacher's, which is asked for those at every step.
    """
    optimizer = keras.optimizers.Adam(pace)
    weights, masks = trained
    asked = distillation_loss.teacher if ask_teacher else None
    if inner is not None:
        weights = [*weights, *inner.variables]

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(x: Any, y: Any, soft: Any) -> Any:
        if inner is not None:
            teacher_maps, *theirs = inner.teacher(x, training=False)
            soft = soft if asked is None else teacher_maps
        elif asked is not None:
            soft = asked(x, training=False)
        with tf.GradientTape() as tape:
            if inner is None:
                loss = distillation_loss.loss(model(x, training=True), y, soft)
            else:
                outputs, *mine = inner.student(x, training=True)
                loss = distillation_loss.loss(outputs, y, soft) + inner.loss(mine, theirs)
            total_loss = loss + tf.add_n(model.losses) if model.losses else loss
        gradients = tape.gradient(total_loss, weights)
        pairs = [(g, w) for g, w in zip(gradients, weights, strict=True) if g is not None]
        optimizer.apply_gradients(pairs)
        for variable, mask in masks:
            variable.assign(variable * mask)
        return loss

    return step


def validation_loss(model: Any, distillation_loss: DistillationLoss) -> Any:
    """Return a function of a batch that gives the loss of the deployed model."""

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def val_loss(x: Any, y: Any, soft: Any) -> Any:
        return distillation_loss.loss(model(x, training=False), y, soft)

    return val_loss


def mean_loss(val_loss: Any, part: TrainingRows, batch: int = 256) -> float:
    """Return the mean loss of a whole part, each row weighing the same."""
    count, total = len(part.x), 0.0
    for at in range(0, count, batch):
        rows = np.arange(at, min(at + batch, count))
        total += float(val_loss(*part.batch(rows, part.x[rows]))) * len(rows)
    return total / count
