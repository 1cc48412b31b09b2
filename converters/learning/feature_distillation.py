"""How far inner maps are from the teacher's: where they look, and what they hold.

Attention transfer (Zagoruyko and Komodakis 2017, arXiv:1612.03928): the mean square over
channels at each place, as a vector of length 1 per row, whose squared distance counts; at
most 2, whatever the map's size. Feature maps (FitNets, Romero et al. 2015,
arXiv:1412.6550): the mean squared difference over the variance of the teacher's, so that 1
is what a constant would reach. Imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.draft import Training, calibration_rows
from converters.errors import ModelRefused
from converters.keras2 import keras, tf
from converters.learning import maps

_ROWS, _BATCH, _PLACES = 256, 16, 256  # of which a regressor's start is solved


@dataclass(frozen=True, slots=True)
class FeatureDistillation:
    """Both models with the maps that are compared, and what that costs.

    Attributes:
        student, teacher: models of (outputs, map, map …), in the same order.
        attention, features: weights of the two distances, each a mean over the maps.
        names: of the maps.
        regressors: per map (kernel, bias) from the student's channels to the teacher's,
            trained along and thrown away; None where the channels are as many.
        variances: per map, of the teacher's.
    """

    student: Any
    teacher: Any
    attention: float
    features: float
    names: tuple[str, ...]
    regressors: tuple[tuple[Any, Any] | None, ...]
    variances: tuple[float, ...]

    @property
    def variables(self) -> list[Any]:
        """What is trained beside the model."""
        return [variable for pair in self.regressors if pair for variable in pair]

    def loss(self, mine: Sequence[Any], theirs: Sequence[Any]) -> Any:
        """Return the weighted distance of a batch's maps, a scalar tensor."""
        total = tf.zeros(())
        if self.attention:
            looks = [
                tf.reduce_mean(tf.reduce_sum((attention_map(a) - attention_map(b)) ** 2, -1))
                for a, b in zip(mine, theirs, strict=True)
            ]
            total += self.attention * tf.add_n(looks) / len(looks)
        if self.features:
            holds = []
            pairs = zip(mine, theirs, self.regressors, self.variances, strict=True)
            for a, b, regressor, variance in pairs:
                near = (
                    a if regressor is None else tf.tensordot(a, regressor[0], 1) + regressor[1]
                )
                holds.append(tf.reduce_mean((near - b) ** 2) / variance)
            total += self.features * tf.add_n(holds) / len(holds)
        return total


def attention_map(rows: Any) -> Any:
    """Return where maps ``(N, *places, channels)`` look, ``(N, places)`` of length 1."""
    energy = tf.reduce_mean(rows**2, -1)
    return tf.math.l2_normalize(tf.reshape(energy, (tf.shape(energy)[0], -1)), -1)


def compare_maps(
    model: Any,
    teacher: Any,
    x: NDArray[Any],
    training: Training,
    *,
    attention: float = 0.0,
    features: float = 0.0,
    layers: Sequence[str] = (),
) -> FeatureDistillation:
    """Return the inner maps of ``model`` and ``teacher`` to compare, with these weights.

    ``x`` are training rows, of which variances and a regressor's start are taken; without
    ``layers`` they are chosen (see ``maps.pairs``).

    Raises:
        ModelRefused: no maps to compare, maps whose places differ, one of a single place
            where attention is asked for, or one that is the same for all rows.
    """
    rewritten, found = maps.pairs(model, teacher, training, layers, flat=not attention)
    for pair in found:
        if attention and all(size == 1 for size in pair.student.shape[1:-1]):
            raise ModelRefused(
                f"layers: {pair.name}: attention wants a map of several places. Received: "
                f"{tuple(pair.student.shape[1:])}; leave it out, or set attention to 0"
            )
    student = keras.Model(model.inputs, [model.outputs[0], *(p.student for p in found)])
    teacher_maps = keras.Model(
        rewritten.inputs, [rewritten.outputs[0], *(p.teacher for p in found)]
    )
    count = len(found)
    regressors: list[tuple[Any, Any] | None] = [None] * count
    variances = [1.0] * count
    if features:
        rows = x[calibration_rows(len(x), _ROWS, training.seed)]
        seen = _sampled((student, teacher_maps), rows, training.seed)
        for at, (pair, mine, theirs) in enumerate(zip(found, *seen, strict=True)):
            variances[at] = float(theirs.var(0).mean())
            if not variances[at] > 0:
                raise ModelRefused(
                    f"layers: {pair.name}: wanted a teacher's map that differs between rows. "
                    "Received: one that does not; name others in layers"
                )
            if mine.shape[-1] != theirs.shape[-1]:
                regressors[at] = _regressor(mine, theirs)
    return FeatureDistillation(
        student,
        teacher_maps,
        attention,
        features,
        tuple(pair.name for pair in found),
        tuple(regressors),
        tuple(variances),
    )


def _regressor(mine: NDArray[Any], theirs: NDArray[Any]) -> tuple[Any, Any]:
    """Return the kernel and bias that are nearest on these places, to be trained on."""
    wide = np.hstack([mine, np.ones((len(mine), 1), np.float32)])
    solved = np.linalg.lstsq(wide.astype(np.float64), theirs, rcond=1e-6)[0]
    return tf.Variable(solved[:-1], dtype=tf.float32), tf.Variable(solved[-1], dtype=tf.float32)


def _sampled(
    models: tuple[Any, Any], rows: NDArray[Any], seed: int
) -> list[list[NDArray[np.float32]]]:
    """Return, per model and map, the same places of ``rows`` as ``(places, channels)``."""
    draw = np.random.default_rng((seed, 3))
    runs = [tf.function(model, reduce_retracing=True) for model in models]
    parts: list[list[list[NDArray[np.float32]]]] = []
    for at in range(0, len(rows), _BATCH):
        batch = tf.constant(rows[at : at + _BATCH], tf.float32)
        made = [[np.asarray(part) for part in run(batch, training=False)[1:]] for run in runs]
        flat = [[part.reshape(-1, part.shape[-1]) for part in each] for each in made]
        chosen = [draw.permutation(len(part))[:_PLACES] for part in flat[0]]
        parts.append([[part[c] for part, c in zip(each, chosen, strict=True)] for each in flat])
    return [
        [np.concatenate(batches) for batches in zip(*(part[n] for part in parts), strict=True)]
        for n in range(len(models))
    ]
