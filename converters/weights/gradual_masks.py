"""Masks of our own that grow while a kernel trains: for what TFMOT prunes in no such way.

Imports TensorFlow. The schedule is TFMOT's: sparsity climbs along a cubic, masks are
renewed 20 times on the way (Zhu and Gupta 2017, arXiv:1710.01878).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters import keras2
from converters.weights import choice


@dataclass(frozen=True, slots=True)
class GradualMasks:
    """Kernels on their way to a share of zeros.

    Attributes:
        held: (variable, its mask, its block) by kernel; both are tf.Variables, so that a
            compiled training step sees each renewal.
        share: of zeros at the end.
        ramp: steps until then.
    """

    held: Mapping[str, tuple[Any, Any, int]]
    share: float
    ramp: int

    @property
    def masks(self) -> list[tuple[Any, Any]]:
        """(variable, mask) of each kernel, as ``fine_tune`` holds them."""
        return [(variable, mask) for variable, mask, _ in self.held.values()]

    def before_step(self, step: int) -> None:
        """Renew the masks if they are due at this step, the first being 0."""
        every = max(1, self.ramp // 20)
        last = max(1, self.ramp // every * every)
        at = step + 1
        if at > last or at % every:
            return
        reached = self.share * (1 - (1 - at / last) ** 3)
        for variable, mask, block in self.held.values():
            stays = choice.kept(variable.numpy(), reached, block).astype(np.float32)
            mask.assign(stays)
            variable.assign(variable * mask)


def gradual_masks(
    model: Any, blocks: Mapping[str, int], share: float, ramp: int
) -> GradualMasks:
    """Return growing masks for the kernels of ``model`` named in ``blocks``, by their block."""
    kernels = keras2.kernels(model)
    held = {
        name: (kernels[name], keras2.tf.Variable(keras2.tf.ones_like(kernels[name])), block)
        for name, block in blocks.items()
    }
    return GradualMasks(held, share, ramp)
