"""The training rows as each step sees them: plain, as random views, or mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.draft import Training
from converters.learning import augment
from converters.learning.mixup import Mixup, mixup_fits


class TrainingInputs:
    """Makes the inputs of each step; draws from the seed alone.

    Attributes:
        anew: the same row looks different each time, so a teacher must be asked each time.
    """

    def __init__(self, model: Any, x: NDArray[Any], training: Training, *, mixed: bool) -> None:
        augment.check(training.augment, tuple(x.shape[1:]))
        augment.check_targets(training.augment, tuple(model.output_shape[1:]), training.task)
        self.x = x
        self.views = augment.RandomViews(training.augment, training.seed)
        self.mixup = Mixup(training.seed) if mixed and mixup_fits(model) else None
        self.varies = bool(training.augment or self.mixup)

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return the inputs of one step, ``(len(rows), *shape) float32``."""
        if self.mixup is not None:
            return self.mixup(self.x, rows, self.views)
        return self.views(self.x[rows].astype(np.float32))
