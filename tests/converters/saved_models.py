"""One small model, saved in each kind that loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("tf_keras-zip", "h5", "savedmodel", "keras-v3-zip", "keras-v3-h5")


def small(k: Any, sequential: bool = False) -> Any:
    layers = [
        k.layers.Conv2D(4, 3, activation="relu", name="conv"),
        k.layers.BatchNormalization(name="norm"),
        k.layers.Flatten(name="flat"),
        k.layers.Dense(3, activation="softmax", name="scores"),
    ]
    if sequential:
        made = k.Sequential([k.Input((8, 8, 2)), *layers])
    else:
        x = inputs = k.Input((8, 8, 2))
        for layer in layers:
            x = layer(x)
        made = k.Model(inputs, x)
    rng = np.random.default_rng(0)
    made.set_weights([rng.uniform(0.02, 0.2, w.shape) for w in made.get_weights()])
    made.compile("adam", k.losses.CategoricalCrossentropy(label_smoothing=0.1), ["accuracy"])
    return made


def save(model: Any, kind: str, folder: Path) -> Path:
    name = {"savedmodel": "saved", "h5": "m.h5", "keras-v3-h5": "m.h5"}.get(kind, "m.keras")
    path = folder / name
    model.save(path, **({"save_format": "tf"} if kind == "savedmodel" else {}))
    return path


def outputs(model: Any, x: Any) -> Any:
    return np.asarray(model(x, training=False))
