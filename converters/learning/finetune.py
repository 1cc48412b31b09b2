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

from converters import settings
from converters.draft import Draft, Samples, Training
from converters.errors import DataRefused, TrainingFailed
from converters.learning.augment import steady
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
    from converters.learning import augment, feature_distillation, steps

    check_rows(model, samples)
    hooks = hooks or Hooks()
    keras2.seed(training.seed)
    alpha = plan.distillation if objective.distils else 0.0
    head = objective.head_of(teacher) if alpha else None
    distillation_loss = steps.DistillationLoss(
        objective, teacher if alpha else None, alpha, plan.temperature, head
    )
    inputs = augment.TrainingInputs(model, samples.x_train, training, mixed=alpha == 1)
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


MOST_EPOCHS = 100_000
#: What a stage is called with.
StageInputs = tuple[Draft, Samples, Training]


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneStage:
    """Settings of a fine-tune that learns from the uncompressed model.

    Attributes:
        epochs: passes over the training part.
        learning_rate: of Adam at the first step.
        distillation: share of the loss that matches the uncompressed model, in [0, 1]; at
            1 labels are not used (see ``finetune.FineTuneSettings``).
        attention: weight, beside that loss, of where inner layers look compared with the
            teacher's (see ``feature_distillation``); 0 does not compare.
        features: weight of what those layers hold compared with the teacher's.
        layers: names in the user's model of the layers compared; none chooses the last
            activation at each resolution (see ``maps``).
    """

    epochs: int = 8
    learning_rate: float = 1e-3
    distillation: float = 0.7
    attention: float = 0.0
    features: float = 0.0
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse settings that no training can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        settings.between(1, MOST_EPOCHS, self, "epochs")
        settings.share(self, "distillation")
        settings.between(0, 1_000_000, self, "attention", "features")
        if not 0 < self.learning_rate <= 1:
            raise ValueError(
                f"learning_rate: wanted more than 0 and at most 1. Received: "
                f"{self.learning_rate}"
            )
        twice = {name for name in self.layers if self.layers.count(name) > 1}
        if twice or not all(self.layers):
            raise ValueError(f"layers: wanted names, each once. Received: {list(self.layers)}")
        if self.layers and not self.compares:
            raise ValueError(
                f"layers: wanted attention or features above 0, which compare them. "
                f"Received: {', '.join(self.layers)} and both 0"
            )

    @property
    def compares(self) -> bool:
        """Whether inner maps are compared with the teacher's."""
        return bool(self.attention or self.features)

    @property
    def asks(self) -> bool:
        """Whether anything is learned from the teacher."""
        return bool(self.distillation or self.compares)

    def tune(
        self,
        name: str,
        model: Any,
        setting: StageInputs,
        *,
        epochs: int | None = None,
        steady: bool = False,
        hooks: Any = None,
        only: Sequence[Any] | None = None,
        masks: Sequence[tuple[Any, Any]] = (),
    ) -> None:
        """Train ``model`` in place towards the uncompressed model; see ``fine_tune``.

        ``name`` is what progress and errors call it; ``epochs`` where they are not the
        stage's own.

        Raises:
            DataRefused: no rows, or rows that do not fit the model.
            ModelRefused: maps or outputs that cannot be compared with the teacher's.
            TrainingFailed: the loss is not finite.
        """
        from converters.learning import objective

        draft, samples, training = setting
        plan = FineTuneSettings(
            stage=name,
            epochs=self.epochs if epochs is None else epochs,
            learning_rate=self.learning_rate,
            distillation=self.distillation,
            steady=steady,
            attention=self.attention,
            features=self.features,
            layers=self.layers,
        )
        fine_tune(
            model,
            objective.objective(draft.model, training),
            samples,
            training,
            plan,
            teacher=training.teacher_of(draft.model),
            hooks=hooks,
            only=only,
            masks=masks,
        )
