"""Ranges that settings of stages must lie in, each refused in the same words."""

from __future__ import annotations

from typing import Any

MOST_PER_OUTPUT = 1_000_000


def share(stage: Any, *names: str) -> None:
    """Check that each of these settings of ``stage`` lies in [0, 1].

    Raises:
        ValueError: one does not; it is named.
    """
    for name in names:
        value = getattr(stage, name)
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: wanted a share in [0, 1]. Received: {value}")


def half_open_share(stage: Any, *names: str) -> None:
    """Check that each of these settings of ``stage`` lies in [0, 1).

    Raises:
        ValueError: one does not; it is named.
    """
    for name in names:
        value = getattr(stage, name)
        if not 0 <= value < 1:
            raise ValueError(f"{name}: wanted a share in [0, 1). Received: {value}")


def open_share(stage: Any, *names: str) -> None:
    """Check that each of these settings of ``stage`` lies in (0, 1).

    Raises:
        ValueError: one does not; it is named.
    """
    for name in names:
        value = getattr(stage, name)
        if not 0 < value < 1:
            raise ValueError(f"{name}: wanted a share in (0, 1). Received: {value}")


def between(least: float, most: float, stage: Any, *names: str) -> None:
    """Check that each of these settings of ``stage`` lies from ``least`` to ``most``.

    The upper end is there for what nobody means: a slip of the key that would train for
    years, or a number that overflows.

    Raises:
        ValueError: one does not; it is named.
    """
    for name in names:
        value = getattr(stage, name)
        if not least <= value <= most:
            raise ValueError(f"{name}: wanted {least:,} to {most:,}. Received: {value}")
