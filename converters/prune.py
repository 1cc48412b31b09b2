"""Magnitude pruning by TFMOT, with the zeros made exact and counted at the end.

Zhu and Gupta 2017 (arXiv:1710.01878): sparsity climbs along a cubic while the rest of the
weights train, then stays while they recover.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from converters import invariants
from converters.draft import Draft, Samples, Training, Trait
from converters.errors import ModelRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Zero the smallest weights of each kernel, then fine-tune the rest.

    Depthwise kernels stay whole: TFMOT prunes none.
    The .tflite does not shrink; its compressed form does.

    Attributes:
        sparsity: share of each kernel set to zero, in (0, 1).
        epochs: passes over the training part; the zeros are all there after half of them.
        learning_rate: of Adam at the first step.
        distillation: share of the loss that matches the uncompressed model, in [0, 1].
    """

    sparsity: float = 0.5
    epochs: int = 8
    learning_rate: float = 1e-3
    distillation: float = 0.7

    def __post_init__(self) -> None:
        """Refuse settings that no training can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        if not 0 < self.sparsity < 1:
            raise ValueError(f"sparsity: wanted a share in (0, 1). Received: {self.sparsity}")
        if self.epochs < 1:
            raise ValueError(f"epochs: wanted 1 or more. Received: {self.epochs}")

    def __call__(self, draft: Draft, samples: Samples, training: Training) -> Draft:
        """Return the draft with its zeros, promised by name and counted.

        Raises:
            ModelRefused: no layer that TFMOT prunes, or a model already quantized.
            InvariantBroken: a kernel with too few zeros, or one that died.
        """
        from converters import canonical, finetune, keras2, objective, wrapping

        wrapping.refuse_quantized(draft.model, "prune")
        twin = canonical.simplify(draft.model)
        able, skipped = wrapping.sort_layers(twin)
        if not able:
            raise ModelRefused(
                f"prune: {draft.model.name} has no layer that TFMOT prunes (dense and "
                "convolution kernels, not depthwise); leave the stage out"
            )
        steps = self.epochs * finetune.steps_per_epoch(samples, training)
        wrapped, pruned = wrapping.with_pruning(twin, able, self.sparsity, ramp=steps // 2)
        finetune.fine_tune(
            wrapped,
            objective.objective(draft.model, training),
            samples,
            training,
            finetune.Plan(
                stage="prune",
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                distillation=self.distillation,
            ),
            teacher=training.teacher if training.teacher is not None else draft.model,
            hooks=finetune.Hooks(
                before_step=lambda step: wrapping.set_pruning_step(pruned, step),
                after_epoch=lambda epoch: self._settle(pruned, epoch),
            ),
        )
        wrapping.apply_masks(pruned)
        model = keras2.compile_like(wrapping.without_pruning(wrapped), draft.model)
        promised = dict.fromkeys(wrapping.pruned_names(model, pruned), self.sparsity)
        done = replace(
            draft,
            model=keras2.copy(model),
            traits=draft.traits | Trait.SPARSE,
            promises={**draft.promises, "SPARSE": promised},
            notes=draft.notes + wrapping.notes("pruned", skipped),
        )
        invariants.assert_model(done)
        return done

    def _settle(self, pruned: list[Any], epoch: int) -> bool:
        """Put the zeros in after an epoch; only weights with all of them may be kept."""
        from converters import wrapping

        wrapping.apply_masks(pruned)
        return 2 * (epoch + 1) > self.epochs
