"""Pruning: the weights a layer misses least become zero, exactly and counted.

Which those are is solved layer by layer (see ``reconstruct``). Where that is not possible,
or not wanted, TFMOT prunes by magnitude: sparsity climbs along a cubic while the rest of
the weights train (Zhu and Gupta 2017, arXiv:1710.01878), then stays while they recover.
Blocks and depthwise kernels, which TFMOT prunes not at all or without leaving each output
something, climb by masks of our own (see ``gradual_masks``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from converters import settings
from converters.draft import Draft, Samples, Training, Trait
from converters.learning.taught import FineTuneStage
from converters.tflite.blocks import BLOCK
from converters.weights import invariants


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune(FineTuneStage):
    """Zero the least important weights of each kernel, then fine-tune the rest.

    The .tflite does not shrink, unless its dense kernels are pruned in blocks and stored
    so (``Blocks``); its compressed form does.

    Attributes:
        sparsity: share of each kernel set to zero, in (0, 1).
        epochs: passes over the training part; zeros by magnitude are all there after half.
        reconstruct: choose zeros by what a layer's outputs lose, the weights left making
            up for it; False prunes by magnitude.
        block: 16 lets dense kernels lose blocks of 16 consecutive inputs of one output, as
            ``Blocks`` leaves out of the file; each output keeps one. Other kernels lose
            single weights, as with 1 all do.
        depthwise: prune depthwise kernels too, by the size of each weight within its
            channel, of which one stays; False leaves them whole, as TFMOT does.
    """

    sparsity: float = 0.5
    reconstruct: bool = False
    block: int = 1
    depthwise: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that no training can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        FineTuneStage.__post_init__(self)
        settings.open_share(self, "sparsity")
        if self.block not in (1, BLOCK):
            raise ValueError(
                f"block: wanted 1, or {BLOCK} as the int8 kernels read them. "
                f"Received: {self.block}"
            )

    def __call__(self, draft: Draft, samples: Samples, training: Training) -> Draft:
        """Return the draft with its zeros, promised by name and counted.

        Raises:
            ModelRefused: no layer that is pruned as asked, or a model already quantized.
            InvariantBroken: a kernel with too few zeros, or one that died.
        """
        from converters import keras2
        from converters.graph import canonical
        from converters.learning import finetune
        from converters.weights import gradual_masks, layer_problems, reconstruct, wrapping
        from converters.weights.pruning_plan import pruning_plan

        wrapping.refuse_quantized(draft.model, "prune")
        twin = canonical.simplify(draft.model)
        zero_before = invariants.zero_kernels(twin)
        plan = pruning_plan(twin, self.sparsity, self.block, depthwise=self.depthwise)
        finetune.check_rows(twin, samples)
        solved: list[str] = []
        if self.reconstruct:
            calibration_data = layer_problems.calibration_data(samples, training)
            solved = reconstruct.prune(twin, calibration_data, self.sparsity, plan.blocks)
        chosen = {f"{name}/kernel": self.sparsity for name in solved}
        ramp = self.epochs * finetune.steps_per_epoch(samples, training) // 2
        ours = {n: size for n, size in plan.blocks.items() if n not in chosen} | plan.depthwise
        growing = gradual_masks.gradual_masks(twin, ours, self.sparsity, ramp)
        theirs = [n for n in plan.able if f"{n}/kernel" not in chosen.keys() | ours.keys()]
        wrapped, pruned = wrapping.with_pruning(twin, theirs, self.sparsity, ramp)

        def before_step(step: int) -> None:
            wrapping.set_pruning_step(pruned, step)
            growing.before_step(step)

        def after_epoch(epoch: int) -> bool:
            """Put the zeros in; only weights with all of them may be kept."""
            done = not (theirs or ours) or 2 * (epoch + 1) > self.epochs
            if done:
                wrapping.fill_masks(pruned, self.sparsity)
            wrapping.apply_masks(pruned)
            return done

        self.tune(
            "prune",
            wrapped,
            (draft, samples, training),
            steady=not (theirs or ours),
            hooks=finetune.Hooks(before_step=before_step, after_epoch=after_epoch),
            masks=wrapping.zero_masks(twin, chosen, chosen) + growing.masks,
        )
        wrapping.apply_masks(pruned)
        model = keras2.compile_like(wrapping.without_pruning(wrapped), draft.model)
        names = (*chosen, *ours, *wrapping.pruned_names(model, pruned))
        promises = {**draft.promises, "SPARSE": dict.fromkeys(names, self.sparsity)}
        traits = draft.traits | Trait.SPARSE
        if plan.blocks:
            promises["BLOCKED"], traits = plan.blocks, traits | Trait.BLOCKED
        done = replace(
            draft,
            model=keras2.copy(model),
            traits=traits,
            promises=promises,
            notes=draft.notes + plan.notes,
        )
        invariants.assert_model(done, zero_before)
        return replace(done, notes=done.notes + invariants.zero_note(done, zero_before))
