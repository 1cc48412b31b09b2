"""Which way each kernel of a model gets its zeros: in blocks, weight by weight, or not at all.

Part of the TensorFlow door; only ``Prune`` asks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from converters.errors import ModelRefused
from converters.weights import choice, wrapping


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
