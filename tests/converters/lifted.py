"""Small data of three classes: noise, lifted by the number of its class."""

from __future__ import annotations

import numpy as np

from converters.draft import Samples


def lifted(train: int, val: int, test: int, shape: tuple[int, ...]) -> Samples:
    """Return so many rows of ``shape`` a part, ``float32``, the same at every call."""
    rng = np.random.default_rng(0)
    rows = train + val + test
    y = rng.integers(0, 3, rows)
    x = rng.normal(size=(rows, *shape)).astype(np.float32)
    x += y.reshape(-1, *[1] * len(shape))
    ends = {"train": (0, train), "val": (train, train + val), "test": (train + val, rows)}
    return Samples(
        **{f"x_{part}": x[first:last] for part, (first, last) in ends.items()},
        **{f"y_{part}": y[first:last] for part, (first, last) in ends.items()},
    )
