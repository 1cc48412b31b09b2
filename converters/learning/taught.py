"""What every stage that trains has in common: its settings, and the one call that trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converters import settings
from converters.draft import Draft, Samples, Training

MOST_EPOCHS = 100_000
#: What a stage is called with.
Setting = tuple[Draft, Samples, Training]


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneStage:
    """Settings of a fine-tune that learns from the uncompressed model.

    Attributes:
        epochs: passes over the training part.
        learning_rate: of Adam at the first step.
        distillation: share of the loss that matches the uncompressed model, in [0, 1]; at
            1 labels are not used (see ``finetune.FineTuneSettings``).
        attention: weight, beside that loss, of where inner layers look compared with the
            teacher's (see ``likeness``); 0 does not compare.
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
            ModelRefused: maps or outputs that cannot be compared with the teacher's.
            TrainingFailed: the loss is not finite.
        """
        from converters.learning import finetune, objective

        draft, samples, training = setting
        plan = finetune.FineTuneSettings(
            stage=name,
            epochs=self.epochs if epochs is None else epochs,
            learning_rate=self.learning_rate,
            distillation=self.distillation,
            steady=steady,
            attention=self.attention,
            features=self.features,
            layers=self.layers,
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
