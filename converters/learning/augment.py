"""What each training step sees of its rows: as they are, as random views, or mixed.

With random views a few thousand rows teach more than they hold. Which are true to the data
only its owner knows: a blood cell may be rotated, a digit may not. Mixup is for learning a
teacher's function (Beyer et al. 2022, arXiv:2106.05237): both see the very same input, mixed
anew at every step. It needs no labels and no knowledge of the domain, and a few thousand rows
give far more mixtures than a fine-tune has steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.draft import Training
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


class TrainingInputs:
    """Makes the inputs of each step; draws from the seed alone.

    Attributes:
        anew: the same row looks different each time, so a teacher must be asked each time.
    """

    def __init__(self, model: Any, x: NDArray[Any], training: Training, *, mixed: bool) -> None:
        check(training.augment, tuple(x.shape[1:]))
        check_targets(training.augment, tuple(model.output_shape[1:]), training.task)
        self.x = x
        self.views = RandomViews(training.augment, training.seed)
        self.mixup = Mixup(training.seed) if mixed and mixup_fits(model) else None
        self.varies = bool(training.augment or self.mixup)

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return the inputs of one step, ``(len(rows), *shape) float32``."""
        if self.mixup is not None:
            return self.mixup(self.x, rows, self.views)
        return self.views(self.x[rows].astype(np.float32))
