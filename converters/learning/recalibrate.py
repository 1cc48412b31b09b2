"""BatchNormalization's statistics, taken anew from training rows after a cut."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.draft import Samples, Training
from converters.learning.finetune import Hooks

_ROWS, _BATCH = 2048, 128


def recalibration(
    model: Any, samples: Samples, training: Training, share: float
) -> Hooks | None:
    """Return what takes the statistics anew after each epoch of learning the teacher alone.

    ``share`` is the teacher's of the loss: at 1 a student sees mixtures of rows, whose
    statistics are not those of rows. Trained on its own batches all the same, a net that was
    cut learns faster than with statistics held still (figures: docs/structured.md).
    """
    if share < 1:
        return None

    def after(epoch: int) -> bool:
        recalibrate(model, samples, training)
        return True

    return Hooks(after_epoch=after)


def recalibrate(model: Any, samples: Samples, training: Training) -> None:
    """Set each moving mean and variance of ``model`` to the mean over batches, in place.

    A cut changes what the layers behind it see, and statistics from before it cost more
    accuracy than the cut itself. Weights stay; a model without the layer is not run.
    """
    from converters.keras2 import keras, tf

    kind = keras.layers.BatchNormalization
    norms = [layer for layer in model.layers if isinstance(layer, kind)]
    if not norms:
        return
    drops = [(layer, layer.rate) for layer in model.layers if hasattr(layer, "rate")]
    kept = [layer.momentum for layer in norms]
    order = np.random.default_rng(training.seed).permutation(len(samples.x_train))[:_ROWS]
    whole = [order[at : at + _BATCH] for at in range(0, len(order), _BATCH)]
    parts = [rows for rows in whole if len(rows) == _BATCH] or whole[:1]
    try:
        for layer, _ in drops:
            layer.rate = 0.0  # statistics are of what the deployed model computes
        for number, rows in enumerate(parts):
            for layer in norms:
                layer.momentum = number / (number + 1)  # so that batches weigh the same
            model(tf.constant(samples.x_train[rows], tf.float32), training=True)
    finally:
        for layer, rate in drops:
            layer.rate = rate
        for layer, momentum in zip(norms, kept, strict=True):
            layer.momentum = momentum
