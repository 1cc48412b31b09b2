"""The one training loop: seeded, small steps, the best weights that the stage allows.

The same draft, samples, seed and machine give the same weights: rows are drawn by numpy
from the seed, and TensorFlow runs its deterministic kernels (see keras2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.draft import Samples, Training
from converters.errors import DataRefused, TrainingFailed
from converters.learning.mixup import steady
from converters.learning.objective import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneSettings:
    """How long and how fast to fine-tune.

    Attributes:
        stage: its name, for progress and errors.
        epochs: passes over the training part.
        learning_rate: of Adam at the first step; it falls to a hundredth along a cosine.
        distillation: weight alpha of the teacher's outputs, the rest is the hard loss. At
            1 the labels are not used at all, and the model learns the teacher's function:
            both see the same random mixtures of two rows (Beyer et al. 2022,
            arXiv:2106.05237), of which there are far more than rows.
        temperature: T of the softening.
        steady: normalize by the moving statistics and drop nothing out while training, so
            that what is trained is what is deployed.
        attention, features: weights of the distances to the teacher's inner maps, see
            ``feature_distillation``; they come on top of the loss of the outputs.
        layers: whose maps; none chooses them, see ``maps``.
    """

    stage: str
    epochs: int
    learning_rate: float
    distillation: float = 0.7
    temperature: float = 4.0
    steady: bool = False
    attention: float = 0.0
    features: float = 0.0
    layers: tuple[str, ...] = ()


def _nothing(number: int) -> None:
    """Do nothing before a step or an epoch."""


def _always(epoch: int) -> bool:
    """Let every epoch's weights be kept."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Where a stage steps in.

    Attributes:
        before_epoch: called with the number of the epoch.
        before_step: called with the number of the step.
        after_epoch: called with the number of the epoch; puts the weights back onto what
            the stage promises, and tells whether they may be kept as the best.
    """

    before_epoch: Callable[[int], None] = _nothing
    before_step: Callable[[int], None] = _nothing
    after_epoch: Callable[[int], bool] = _always


def steps_per_epoch(samples: Samples, training: Training) -> int:
    """Return how many steps one pass takes; rows left over wait for the next shuffle."""
    return max(1, len(samples.x_train) // training.batch_size)


def fine_tune(
    model: Any,
    objective: Objective,
    samples: Samples,
    training: Training,
    plan: FineTuneSettings,
    *,
    teacher: Any,
    hooks: Hooks | None = None,
    only: Sequence[Any] | None = None,
    masks: Sequence[tuple[Any, Any]] = (),
) -> tuple[float, ...]:
    """Train ``model`` in place and return the validation loss after each epoch.

    The weights left in ``model`` are those of the allowed epoch with the lowest validation
    loss, which is that of the outputs alone: inner maps are a way to those. ``teacher`` is
    asked once per row and its outputs are kept for all epochs, unless each step sees the
    rows anew, mixed or as random views, or compares maps. ``only`` names the variables to
    train; None trains all that are trainable. ``masks`` are (variable, mask) whose zeros
    stay after every step.

    Raises:
        DataRefused: no rows, rows that do not fit the model, or views that do not fit them.
        ModelRefused: a teacher of another kind, or maps that cannot be compared.
        TrainingFailed: the loss is not finite.
    """
    from converters import keras2
    from converters.learning import feature_distillation, showing, steps

    check_rows(model, samples)
    hooks = hooks or Hooks()
    keras2.seed(training.seed)
    alpha = plan.distillation if objective.distils else 0.0
    head = objective.head_of(teacher) if alpha else None
    distillation_loss = steps.DistillationLoss(
        objective, teacher if alpha else None, alpha, plan.temperature, head
    )
    inputs = showing.TrainingInputs(model, samples.x_train, training, mixed=alpha == 1)
    train = distillation_loss.part(samples.x_train, samples.y_train, ask_later=inputs.varies)
    val = distillation_loss.part(samples.x_val, samples.y_val)
    per_epoch = steps_per_epoch(samples, training)
    total = per_epoch * plan.epochs
    weights = list(model.trainable_variables if only is None else only)
    pace = keras2.keras.optimizers.schedules.CosineDecay(plan.learning_rate, total, alpha=0.01)
    inner = None
    if plan.attention or plan.features:
        inner = feature_distillation.compare_maps(
            model,
            teacher,
            samples.x_train,
            training,
            attention=plan.attention,
            features=plan.features,
            layers=plan.layers,
        )
    trained = (weights, tuple(masks))
    step = steps.training_step(
        model, trained, distillation_loss, pace, ask_teacher=inputs.varies, inner=inner
    )
    val_loss = steps.validation_loss(model, distillation_loss)

    shuffle = np.random.default_rng(training.seed)
    best, kept, history = math.inf, None, []
    for epoch in range(plan.epochs):
        hooks.before_epoch(epoch)
        order = shuffle.permutation(len(samples.x_train))
        for number in range(per_epoch):
            at = epoch * per_epoch + number
            hooks.before_step(at)
            rows = order[number * training.batch_size : (number + 1) * training.batch_size]
            with steady(model, plan.steady):
                loss = float(step(*train.batch(rows, inputs(rows))))
            _finite(loss, plan, f"step {at} of {total}")
            if training.progress is not None:
                training.progress(plan.stage, at + 1, total)
        allowed = hooks.after_epoch(epoch)
        loss = steps.mean_loss(val_loss, val)
        _finite(loss, plan, f"validation after epoch {epoch + 1} of {plan.epochs}")
        history.append(loss)
        if allowed and loss < best:
            best, kept = loss, [variable.numpy() for variable in model.variables]
    if kept is not None:
        for variable, value in zip(model.variables, kept, strict=True):
            variable.assign(value)
    return tuple(history)


def _finite(loss: float, plan: FineTuneSettings, where: str) -> None:
    if not math.isfinite(loss):
        raise TrainingFailed(
            f"{plan.stage}: the loss at {where} is {loss}: wanted a finite number. Lower its "
            f"learning_rate (now {plan.learning_rate:g}), or look for NaN in the data"
        )


def check_rows(model: Any, samples: Samples) -> None:
    """Check that there are rows to train and to validate with, of the model's input shape.

    Raises:
        DataRefused: no rows, or rows that do not fit the model.
    """
    wanted = tuple(model.input_shape[1:])
    for name in ("x_train", "x_val"):
        x = getattr(samples, name)
        fits = len(wanted) == len(x.shape[1:]) and all(
            want in (None, got) for want, got in zip(wanted, x.shape[1:], strict=True)
        )
        if len(x) == 0 or not fits:
            raise DataRefused(
                f"{name}: wanted one row or more of shape {wanted}, as the model's input. "
                f"Received: {len(x)} of shape {tuple(x.shape[1:])}"
            )
