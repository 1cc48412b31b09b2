"""Pruning: the weights a layer misses least become zero, exactly and counted.

Which those are is solved layer by layer (see ``reconstruct``). Where that is not possible,
or not wanted, TFMOT prunes by magnitude: sparsity climbs along a cubic while the rest of
the weights train (Zhu and Gupta 2017, arXiv:1710.01878), then stays while they recover.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from converters.draft import Draft, Samples, Training, Trait
from converters.errors import ModelRefused
from converters.weights import invariants


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Zero the least important weights of each kernel, then fine-tune the rest.

    Depthwise kernels stay whole: TFMOT prunes none.
    The .tflite does not shrink; its compressed form does.

    Attributes:
        sparsity: share of each kernel set to zero, in (0, 1).
        epochs: passes over the training part; zeros by magnitude are all there after half.
        learning_rate: of Adam at the first step.
        distillation: share of the loss that matches the uncompressed model, in [0, 1]; at
            1 labels are not used (see ``finetune.Plan``).
        reconstruct: choose zeros by what a layer's outputs lose, the weights left making
            up for it; False prunes by magnitude.
    """

    sparsity: float = 0.5
    epochs: int = 8
    learning_rate: float = 1e-3
    distillation: float = 0.7
    reconstruct: bool = False

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
        from converters import keras2
        from converters.graph import canonical
        from converters.learning import finetune, objective
        from converters.weights import reconstruct, wrapping

        wrapping.refuse_quantized(draft.model, "prune")
        twin = canonical.simplify(draft.model)
        able, skipped = wrapping.sort_layers(twin)
        if not able:
            raise ModelRefused(
                f"prune: {draft.model.name} has no layer that TFMOT prunes (dense and "
                "convolution kernels, not depthwise); leave the stage out"
            )
        goal = objective.objective(draft.model, training)
        finetune.check_rows(twin, samples)
        solved: list[str] = []
        if self.reconstruct:
            evidence = reconstruct.evidence(samples, training)
            solved = reconstruct.prune(twin, evidence, self.sparsity)
        chosen = {f"{name}/kernel": self.sparsity for name in solved}
        known = replace(draft, model=twin, promises={"SPARSE": chosen})
        masks = wrapping.zero_masks(twin, chosen.keys(), known)
        climbing = [name for name in able if name not in solved]
        steps = self.epochs * finetune.steps_per_epoch(samples, training)
        wrapped, pruned = wrapping.with_pruning(twin, climbing, self.sparsity, ramp=steps // 2)
        finetune.fine_tune(
            wrapped,
            goal,
            samples,
            training,
            finetune.Plan(
                stage="prune",
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                distillation=self.distillation,
                steady=not climbing,
            ),
            teacher=training.teacher if training.teacher is not None else draft.model,
            hooks=finetune.Hooks(
                before_step=lambda step: wrapping.set_pruning_step(pruned, step),
                after_epoch=lambda epoch: self._settle(pruned, epoch),
            ),
            masks=masks,
        )
        wrapping.apply_masks(pruned)
        model = keras2.compile_like(wrapping.without_pruning(wrapped), draft.model)
        names = (*chosen, *wrapping.pruned_names(model, pruned))
        promised = dict.fromkeys(names, self.sparsity)
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
        from converters.weights import wrapping

        done = not pruned or 2 * (epoch + 1) > self.epochs
        if done:
            wrapping.fill_masks(pruned, self.sparsity)
        wrapping.apply_masks(pruned)
        return done
