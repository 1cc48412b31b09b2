"""Whether a rebuilt model is the same function: both run on the same random input.

Besides the output, the output of every layer is compared, because a softmax near its
uniform start hides almost any difference. Both sides run the same kernels in another order,
so they differ by rounding; how much a model amplifies rounding is measured on the original
itself, by moving its input by a few float32 steps. The number that leaves is the outputs'.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import quote, refusal

# Largest difference as a share of the largest value of the compared tensor (at least 1):
# about 80 float32 steps at 1 for the output, ten times that for a layer.
TOLERANCE = 1e-5
INNER_TOLERANCE = 1e-4
# What moving the input by 2^-20 of itself (8 float32 steps) does to the original, this many
# times over, is allowed on top.
_STEP = 2.0**-20
_TIMES = 4.0
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
    names = [name for name, _, _ in pairs]
    inner = _inner_models(original, model, pairs)
    for x in inputs(original, seed):
        near = x * np.float32(1 + _STEP) if x.dtype.kind == "f" else x
        theirs, moved, ours = _run(original, x), _run(original, near), _run(model, x)
        if inner is not None:
            a, b, c = _run(inner[0], x), _run(inner[0], near), _run(inner[1], x)
            for name, outputs in zip(names, zip(a, b, c, strict=True), strict=True):
                _compare(f"layer {quote(name)}", outputs, INNER_TOLERANCE, source)
        _compare("the output", (theirs[0], moved[0], ours[0]), TOLERANCE, source)
        worst = max(worst, _difference(theirs[0], ours[0]))
    return worst


def _run(model: Any, x: NDArray[Any]) -> list[NDArray[Any]]:
    """Return every output of either Keras' ``model`` in inference mode."""
    outputs = model(x, training=False)
    listed = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [np.asarray(output) for output in listed]


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

    size = sum(4 * _ROWS * math.prod(tuple(ours.shape)[1:]) for _, _, ours in pairs)
    if not pairs or size > _INNER_BYTES:
        return None
    graph = getattr(original, "_functional", None) or original
    theirs = sys.modules["keras"].Model(graph.inputs[0], [tensor for _, tensor, _ in pairs])
    ours = keras2.Model(model.inputs[0], [tensor for _, _, tensor in pairs])
    return theirs, ours


def _compare(
    what: str, outputs: tuple[NDArray[Any], ...], tolerance: float, source: Path
) -> None:
    """Compare (theirs, theirs on the moved input, ours)."""
    theirs, moved, ours = outputs
    apart = _difference(theirs, ours)
    finite = theirs[np.isfinite(theirs)] if theirs.dtype.kind == "f" else theirs
    unrest = _difference(theirs, moved)
    allowed = tolerance * max(1.0, float(np.abs(finite).max(initial=0)))
    allowed += _TIMES * unrest if math.isfinite(unrest) else 0.0
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
