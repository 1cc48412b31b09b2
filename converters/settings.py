"""Ranges that settings of stages must lie in, each refused in the same words."""

from __future__ import annotations

from typing import Any


def share(stage: Any, *names: str) -> None:
    """Return if each of these settings of ``stage`` lies in [0, 1].

    Raises:
        ValueError: one does not; it is named.
    """
    for name in names:
        value = getattr(stage, name)
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: wanted a share in [0, 1]. Received: {value}")


def part(stage: Any, *names: str) -> None:
    """Return if each of these settings of ``stage`` lies in (0, 1).

    Raises:
        ValueError: one does not; it is named.
    """
    for name in names:
        value = getattr(stage, name)
        if not 0 < value < 1:
            raise ValueError(f"{name}: wanted a share in (0, 1). Received: {value}")


def at_least(least: float, stage: Any, *names: str) -> None:
    """Return if each of these settings of ``stage`` is ``least`` or more.

    Raises:
        ValueError: one is not; it is named.
    """
    for name in names:
        value = getattr(stage, name)
        if not value >= least:
            raise ValueError(f"{name}: wanted {least} or more. Received: {value}")
