"""Which way each kernel of a model gets its zeros: in blocks, weight by weight, or not at all.

Imports TensorFlow; only ``Prune`` asks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from converters import settings
from converters.draft import Draft, Samples, Training, Trait
from converters.errors import ModelRefused
from converters.learning.finetune import FineTuneStage
from converters.tflite.blocks import BLOCK
from converters.weights import choice, invariants


@dataclass(frozen=True, slots=True)
class PruningPlan:
    """The kernels of one model, by the way they are pruned.

    Attributes:
        able: names of the layers that are pruned weight by weight, and of those in blocks.
        blocks: size of a block of each dense kernel that loses whole ones.
        depthwise: the depthwise kernels, each with 1.
        notes: what is left whole or pruned otherwise than asked, for the report.
    """

    able: list[str]
    blocks: dict[str, int]
    depthwise: dict[str, int]
    notes: tuple[str, ...]


def pruning_plan(model: Any, share: float, block: int, *, depthwise: bool) -> PruningPlan:
    """Return how the kernels of ``model`` get a ``share`` of zeros.

    Dense kernels lose blocks where the inputs divide into them and each output can keep one;
    a depthwise kernel is pruned where each channel can keep a weight.

    Raises:
        ModelRefused: no kernel is pruned at all, or none in the blocks asked for.
    """
    from converters.weights import wrapping

    layers = wrapping.kernel_layers(model)
    blocked: dict[str, int] = {}
    if block > 1:
        blocked = _blocked(model, layers.able, share, block)
    depthwise_kernels, thin = (
        _depthwise_kernels(model, layers.depthwise, share) if depthwise else ({}, [])
    )
    if not layers.able and not depthwise_kernels:
        raise ModelRefused(
            f"prune: {model.name} has no layer that is pruned (dense and convolution kernels; "
            "depthwise ones with depthwise = true); leave the stage out"
        )
    if block > 1 and not blocked:
        raise ModelRefused(
            f"prune: {model.name} has no dense kernel that can lose {share:.0%} of its blocks "
            f"of {block} inputs and keep one an output; leave block out, or lower sparsity"
        )
    notes = layers.notes("pruned", depthwise=depthwise)
    single = [name for name in layers.able if f"{name}/kernel" not in blocked]
    if blocked and single:
        notes += (
            f"pruned weight by weight, as blocks of {block} are for dense kernels whose inputs "
            f"divide into enough of them: {', '.join(single)}",
        )
    if thin:
        notes += (f"not pruned, as a channel would keep no weight: {', '.join(thin)}",)
    return PruningPlan(layers.able, blocked, depthwise_kernels, notes)


def _blocked(model: Any, able: list[str], share: float, block: int) -> dict[str, int]:
    layers = [model.get_layer(name) for name in able]
    return {
        f"{layer.name}/kernel": block
        for layer in layers
        if type(layer).__name__ == "Dense"
        and choice.blocks_fit(int(layer.kernel.shape[0]), share, block)
    }


def _depthwise_kernels(
    model: Any, names: list[str], share: float
) -> tuple[dict[str, int], list[str]]:
    """Return the depthwise kernels that are pruned, and the layers that are too thin for it."""
    depthwise_kernels, thin = {}, []
    for name in names:
        size = math.prod(model.get_layer(name).kernel_size)
        if choice.each_keeps_one(size, share):
            depthwise_kernels[f"{name}/depthwise_kernel"] = 1
        else:
            thin.append(name)
    return depthwise_kernels, thin


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
        from converters.weights import reconstruct, wrapping

        wrapping.refuse_quantized(draft.model, "prune")
        twin = canonical.simplify(draft.model)
        zero_before = invariants.zero_kernels(twin)
        plan = pruning_plan(twin, self.sparsity, self.block, depthwise=self.depthwise)
        finetune.check_rows(twin, samples)
        solved: list[str] = []
        if self.reconstruct:
            calibration_data = reconstruct.calibration_data(samples, training)
            solved = reconstruct.prune(twin, calibration_data, self.sparsity, plan.blocks)
        chosen = {f"{name}/kernel": self.sparsity for name in solved}
        ramp = self.epochs * finetune.steps_per_epoch(samples, training) // 2
        ours = {n: size for n, size in plan.blocks.items() if n not in chosen} | plan.depthwise
        growing = wrapping.gradual_masks(twin, ours, self.sparsity, ramp)
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
