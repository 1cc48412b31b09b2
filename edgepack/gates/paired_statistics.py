"""Intervals and tests of proportions whose rows come in pairs: pure numbers.

Both models answered the same rows, so only rows on which they differ tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist


def wilson(hits: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927), sound for few rows."""
    if rows == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, weight = hits / rows, z * z / rows
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / rows + weight / (4 * rows)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_interval(
    lost: int, won: int, rows: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the score interval of a paired difference ``(lost - won) / rows``.

    Tango 1998 (Statistics in Medicine 17:891-908): it stays sensible where no row
    differs, which a normal interval calls certainty.

    Args:
        lost: rows that only the float model answers rightly.
        won: rows that only the device's model answers rightly.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    difference = (lost - won) / rows

    def gap(delta: float) -> float:
        b = -lost - won + (2 * rows - lost + won) * delta
        c = -won * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 8 * rows * c, 0.0)) - b) / (4 * rows)
        spread = rows * (2 * q + delta * (1 - delta))
        distance = lost - won - rows * delta
        if spread <= 0:
            return -math.inf if distance == 0 else math.inf
        return abs(distance) / math.sqrt(spread) - z

    return _edge(gap, difference, -1.0), _edge(gap, difference, 1.0)


def _edge(gap: Callable[[float], float], inside: float, outside: float) -> float:
    """Return where ``gap`` turns positive between a point inside and the far end."""
    for _ in range(80):
        middle = (inside + outside) / 2
        if gap(middle) <= 0:
            inside = middle
        else:
            outside = middle
    return (inside + outside) / 2


def mcnemar(lost: int, won: int) -> float:
    """Return the exact two-sided McNemar p-value of ``lost`` against ``won`` rows."""
    n, k = lost + won, min(lost, won)
    if n == 0:
        return 1.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2)
        for i in range(k + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(x) for x in logs))
