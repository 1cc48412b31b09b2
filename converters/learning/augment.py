"""Random views of training rows: what a row may look like and still be the same thing.

With them a few thousand rows teach more than they hold. Which views are true to the data
only its owner knows: a blood cell may be turned, a digit may not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import DataRefused

Rows = NDArray[np.float32]
_REACH = 8  # a translation goes up to an eighth of the side


class RandomViews:
    """Random views of a batch, drawn anew at every call, the same for the same seed."""

    def __init__(self, views: Sequence[str], seed: int) -> None:
        self.views, self.draw = canonical(views), np.random.default_rng((seed, 2))

    def __call__(self, rows: Rows) -> Rows:
        """Return a view of each of ``(N, *shape) float32``, a new array."""
        for name in self.views:
            rows = VIEWS[name][0](rows, self.draw)
        return rows


def check(views: Sequence[str], shape: tuple[int | None, ...]) -> None:
    """Check that each of ``views`` is known and fits rows of ``shape``.

    Raises:
        DataRefused: one does not; it is named with those that would do.
    """
    fitting = [name for name, (_, fits, _) in VIEWS.items() if fits(shape)]
    for name in views:
        known = ALIASES.get(name, name)
        if known not in fitting:
            needs = f"; {name} needs {VIEWS[known][2]}" if known in VIEWS else ""
            raise DataRefused(
                f"augment: wanted views that fit rows of shape {shape}: "
                f"{', '.join(fitting) or 'none does'}. Received: {name!r}{needs}"
            )


def check_targets(
    views: Sequence[str], shape: tuple[int | None, ...], task: str | None
) -> None:
    """Check that targets of ``shape`` still belong to a row that is shown in ``views``.

    A map of targets would have to be moved as its row is; what is rebuilt is the row itself.

    Raises:
        DataRefused: they do not.
    """
    if views and len(shape) > 1 and task != "reconstruction":
        raise DataRefused(
            f"augment: wanted one target a row, which a view leaves true. Received: targets of "
            f"shape {shape} and views {', '.join(views)}; train without views"
        )


def _some(rows: Rows, draw: np.random.Generator, axis: int) -> Rows:
    """Return the rows, about half of them reversed along ``axis``."""
    chosen = draw.random(len(rows)) < 0.5
    return np.where(chosen.reshape((-1,) + (1,) * (rows.ndim - 1)), np.flip(rows, axis), rows)


def _hflip(rows: Rows, draw: np.random.Generator) -> Rows:
    return _some(rows, draw, 2)


def _vflip(rows: Rows, draw: np.random.Generator) -> Rows:
    return _some(rows, draw, 1)


def _rotate90(rows: Rows, draw: np.random.Generator) -> Rows:
    quarters, turned = draw.integers(0, 4, len(rows)), np.empty_like(rows)
    for count in range(4):
        turned[quarters == count] = np.rot90(rows[quarters == count], count, (1, 2))
    return turned


def _translate(rows: Rows, draw: np.random.Generator) -> Rows:
    """Return the rows moved along each axis but the last, the edge repeated behind them."""
    for axis in range(1, rows.ndim - 1):
        side = rows.shape[axis]
        reach = max(1, side // _REACH)
        by = draw.integers(-reach, reach + 1, len(rows))
        places = np.clip(np.arange(side) - by[:, np.newaxis], 0, side - 1)
        wide = places.reshape(
            len(rows), *(side if at == axis else 1 for at in range(1, rows.ndim))
        )
        rows = np.take_along_axis(rows, wide, axis)
    return rows


def _image(shape: tuple[int | None, ...]) -> bool:
    return len(shape) == 3


def _square(shape: tuple[int | None, ...]) -> bool:
    return _image(shape) and shape[0] == shape[1]


def _long(shape: tuple[int | None, ...]) -> bool:
    return len(shape) in (2, 3, 4)


View = tuple[Callable[[Rows, Any], Rows], Callable[[tuple[int | None, ...]], bool], str]

#: Name -> (what it does, which shapes of a row it fits, in words).
VIEWS: dict[str, View] = {
    "hflip": (_hflip, _image, "images (height, width, channels)"),
    "vflip": (_vflip, _image, "images (height, width, channels)"),
    "rotate90": (_rotate90, _square, "square images (side, side, channels)"),
    "translate": (_translate, _long, "images, or series (steps, channels)"),
}
#: Words that were in use before -> the views they name.
ALIASES = {"mirror": "hflip", "flip": "vflip", "turn": "rotate90", "shift": "translate"}


def canonical(views: Sequence[str]) -> tuple[str, ...]:
    """Return ``views`` in their order, each once, aliases by the name of what they do."""
    return tuple(dict.fromkeys(ALIASES.get(name, name) for name in views))
