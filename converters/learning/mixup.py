"""What learning a teacher's function takes: mixtures to ask it about, and a steady student.

Beyer et al. 2022 (arXiv:2106.05237): teacher and student see the very same input, mixed
anew at every step. It needs no labels and no knowledge of the domain, and a few thousand
rows give far more mixtures than a fine-tune has steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Mixup:
    """Random mixtures of two rows each: ``a x + (1 - a) x'``, a uniform in [0, 1]."""

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng((seed, 1))

    def __call__(
        self,
        x: NDArray[Any],
        rows: NDArray[Any],
        seen: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda batch: batch,
    ) -> NDArray[np.float32]:
        """Return ``x[rows]`` as ``seen``, each mixed with a row drawn from all of ``x``."""
        share = self.draw.random((len(rows),) + (1,) * (x.ndim - 1), np.float32)
        others = seen(x[self.draw.integers(0, len(x), len(rows))].astype(np.float32))
        mine = seen(x[rows].astype(np.float32))
        mixed: NDArray[np.float32] = share * mine + (1 - share) * others
        return mixed


def mixup_fits(model: Any) -> bool:
    """Tell whether mixtures of the model's inputs mean anything: not those of word numbers."""
    words = any(type(layer).__name__ == "Embedding" for layer in model.layers)
    return bool(model.inputs[0].dtype.is_floating) and not words


@contextmanager
def steady(model: Any, wanted: bool) -> Iterator[None]:
    """Let ``model`` compute in training as deployed, ranges of activations apart.

    A layer's own ``trainable`` is the switch that Keras has for normalization; the
    gradients of its weights are taken all the same, as they are asked for by name.
    """
    from converters import keras2

    layers = [keras2.unwrapped(layer) for layer in model.layers] if wanted else []
    norms = [layer for layer in layers if "BatchNormalization" in type(layer).__name__]
    drops = [(layer, layer.rate) for layer in layers if "Dropout" in type(layer).__name__]
    try:
        for norm in norms:
            norm.trainable = False
        for drop, _ in drops:
            drop.rate = 0.0
        yield
    finally:
        for norm in norms:
            norm.trainable = True
        for drop, rate in drops:
            drop.rate = rate
