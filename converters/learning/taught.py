"""What every stage that trains has in common: its settings, and the one call that trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converters import settings
from converters.draft import Draft, Samples, Training

#: What a stage is called with.
Setting = tuple[Draft, Samples, Training]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """Settings of a fine-tune that learns from the uncompressed model.

    Attributes:
        epochs: passes over the training part.
        learning_rate: of Adam at the first step.
        distillation: share of the loss that matches the uncompressed model, in [0, 1]; at
            1 labels are not used (see ``finetune.Plan``).
    """

    epochs: int = 8
    learning_rate: float = 1e-3
    distillation: float = 0.7

    def __post_init__(self) -> None:
        """Refuse settings that no training can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        settings.at_least(1, self, "epochs")
        settings.share(self, "distillation")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(
                f"learning_rate: wanted more than 0. Received: {self.learning_rate}"
            )

    def tune(
        self,
        name: str,
        model: Any,
        setting: Setting,
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
            TrainingFailed: the loss is not finite.
        """
        from converters.learning import finetune, objective

        draft, samples, training = setting
        plan = finetune.Plan(
            stage=name,
            epochs=self.epochs if epochs is None else epochs,
            learning_rate=self.learning_rate,
            distillation=self.distillation,
            steady=steady,
        )
        finetune.fine_tune(
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
