"""Whether a rebuilt model is the same function: both run on the same random input.

Besides the output, the output of every layer is compared, because a softmax near its
uniform start hides almost any difference. The number that leaves is the outputs'.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.refusals import quote, refusal

# Largest difference as a share of the largest value of the compared tensor (at least 1),
# about 80 steps of float32 at 1: both sides run the same kernels, in another order.
TOLERANCE = 1e-5
INNER_TOLERANCE = 1e-4
_ROWS = 2
_INNER_BYTES = 512 * 1024**2


def prove(
    original: Any, model: Any, pairs: list[tuple[str, Any, Any]], source: Path, seed: int = 0
) -> float:
    """Return the largest absolute difference between the outputs of the two models.

    Args:
        pairs: (layer name, Keras 3 tensor, tf_keras tensor) of every rebuilt layer.

    Raises:
        ModelRefused: a difference beyond the tolerances above; the first layer that differs
            is named. Not finite on finite input counts as different unless both agree.
    """
    worst = 0.0
    inner = _inner_models(original, model, pairs)
    for x in inputs(original, seed):
        theirs = np.asarray(original(x, training=False), np.float32)
        ours = np.asarray(model(x, training=False), np.float32)
        if inner is not None:
            _compare_layers(*inner, [name for name, _, _ in pairs], x, source)
        _compare("the output", theirs, ours, TOLERANCE, source)
        worst = max(worst, _difference(theirs, ours))
    return worst


def inputs(original: Any, seed: int) -> Iterator[NDArray[Any]]:
    """Yield batches that reach different parts of the activations: as pixels, as 0 to 1,
    centred, and wide; whole numbers where the model looks them up."""
    random = np.random.default_rng(seed)
    tensor = original.inputs[0]
    shape = (_ROWS, *tuple(tensor.shape)[1:])
    most = _vocabulary(original)
    if most is not None or not str(tensor.dtype).startswith("float"):
        for _ in range(3):
            yield random.integers(0, most or 256, shape).astype(str(tensor.dtype))
        return
    yield random.standard_normal(shape).astype(np.float32)
    yield random.random(shape, np.float32)
    yield (8 * random.standard_normal(shape)).astype(np.float32)
    yield (255 * random.random(shape)).astype(np.float32)


def _vocabulary(model: Any) -> int | None:
    """Return how many entries the smallest Embedding of the model has; None without one."""
    sizes = [
        layer.input_dim
        for layer in model._flatten_layers()
        if type(layer).__name__ == "Embedding"
    ]
    return min(sizes, default=None)


def _inner_models(
    original: Any, model: Any, pairs: list[tuple[str, Any, Any]]
) -> tuple[Any, Any] | None:
    """Return both models with every layer's output, or None where that takes too much."""
    from converters.keras2 import keras as keras2
    from converters.keras3 import door

    size = sum(4 * _ROWS * math.prod(tuple(ours.shape)[1:]) for _, _, ours in pairs)
    if not pairs or size > _INNER_BYTES:
        return None
    graph = getattr(original, "_functional", None) or original
    theirs = door().Model(graph.inputs, [tensor for _, tensor, _ in pairs])
    ours = keras2.Model(model.inputs, [tensor for _, _, tensor in pairs])
    return theirs, ours


def _compare_layers(
    theirs: Any, ours: Any, names: list[str], x: NDArray[Any], source: Path
) -> None:
    both = [model(rows, training=False) for model, rows in ((theirs, [x]), (ours, x))]
    first, second = (y if isinstance(y, (list, tuple)) else [y] for y in both)
    for name, a, b in zip(names, first, second, strict=True):
        _compare(f"layer {quote(name)}", np.asarray(a), np.asarray(b), INNER_TOLERANCE, source)


def _compare(
    what: str, theirs: NDArray[Any], ours: NDArray[Any], tolerance: float, source: Path
) -> None:
    apart = _difference(theirs, ours)
    finite = theirs[np.isfinite(theirs)] if theirs.dtype.kind == "f" else theirs
    allowed = tolerance * max(1.0, float(np.abs(finite).max(initial=0)))
    if not apart <= allowed:
        raise refusal(
            source,
            wanted=f"a model in tf_keras that differs by at most {allowed:.1e}",
            got=f"{what} differing by {apart:.3g} on random input",
            do="save the model from tf_keras (import tf_keras as keras), where it needs no "
            "rebuilding",
        )


def _difference(theirs: NDArray[Any], ours: NDArray[Any]) -> float:
    """Return the largest absolute difference; infinite where shapes or NaNs disagree."""
    if theirs.shape != ours.shape:
        return math.inf
    a, b = theirs.astype(np.float64), ours.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b))
    return math.inf if np.isnan(apart).any() else float(apart.max(initial=0.0))
