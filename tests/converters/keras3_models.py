"""Keras 3 models for the bridge's tests, every weight of them random."""

from __future__ import annotations

from typing import Any

import numpy as np

IMAGE, SERIES, ROW = (8, 8, 4), (12, 6), (10,)


def randomize(model: Any, seed: int = 0) -> Any:
    """Give every weight a value of its own, so that a swap or an omission must show."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if str(weight.dtype).startswith("float"):
            low, high = (0.5, 1.5) if "variance" in weight.path else (-0.5, 0.5)
            weight.assign(random.uniform(low, high, tuple(weight.shape)).astype(np.float32))
    return model


def chain(k: Any, shape: tuple[int, ...], *layers: Any, dtype: str = "float32") -> Any:
    inputs = k.Input(shape, dtype=dtype)
    x = inputs
    for layer in layers:
        x = layer(x)
    return randomize(k.Model(inputs, x))
