"""The training rows as each step sees them: plain, as random views, or mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.draft import Training
from converters.learning import augment
from converters.learning.mixup import Mixing, mixes


class Showing:
    """Makes the inputs of each step; draws from the seed alone.

    Attributes:
        anew: the same row looks different each time, so a teacher must be asked each time.
    """

    def __init__(self, model: Any, x: NDArray[Any], training: Training, *, mixed: bool) -> None:
        augment.check(training.augment, tuple(x.shape[1:]))
        augment.check_targets(training.augment, tuple(model.output_shape[1:]), training.task)
        self.x = x
        self.views = augment.Augmenting(training.augment, training.seed)
        self.mixing = Mixing(training.seed) if mixed and mixes(model) else None
        self.anew = bool(training.augment or self.mixing)

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return the inputs of one step, ``(len(rows), *shape) float32``."""
        if self.mixing is not None:
            return self.mixing(self.x, rows, self.views)
        return self.views(self.x[rows].astype(np.float32))
