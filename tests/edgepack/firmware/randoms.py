"""Random scales and windows for models of one operator."""

from __future__ import annotations

from typing import Any

import numpy as np

Rng = np.random.Generator


def quantization(rng: Rng, low: float = 0.001, high: float = 0.1) -> tuple[float, int]:
    """Return a random scale, as single precision holds it, and a zero point."""
    scale = np.exp(rng.uniform(np.log(low), np.log(high)))
    return float(np.float32(scale)), int(rng.integers(-128, 128))


def scales(rng: Rng, low: float, high: float, count: int) -> list[float]:
    return [quantization(rng, low, high)[0] for _ in range(count)]


def window(rng: Rng, size: tuple[int, int], kernel: tuple[int, int], most_dilation: int) -> Any:
    """Return (padding, strides, dilations, output size) of a window that fits."""
    strides = tuple(int(v) for v in rng.integers(1, 4, 2))
    dilations = tuple(int(v) for v in rng.integers(1, most_dilation + 1, 2))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    same = bool(rng.random() < 0.5) or any(s < r for s, r in zip(size, reach, strict=True))
    out = [
        -(-s // t) if same else (s - r) // t + 1
        for s, r, t in zip(size, reach, strides, strict=True)
    ]
    return 0 if same else 1, strides, dilations, out
