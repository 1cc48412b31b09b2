"""What each block of the zoo becomes: one word or reason per technique.

``outcomes`` runs the real stages on a few rows; ``cells`` names what each may say.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from converters.draft import Draft, Samples, Training
from converters.errors import ConversionError
from converters.quantized.int8 import Int8
from converters.quantized.qat import Qat
from converters.weights.cluster import Cluster
from converters.weights.prune import Prune
from edgepack.tflite.inspection import FactsInspector
from tests.converters.zoo import Row
from tests.converters.zoo_blocks import BLOCKS
from tests.converters.zoo_layers import LAYERS
from tests.converters.zoo_nets import NETS
from tests.converters.zoo_series import SERIES_BLOCKS
from tests.converters.zoo_volumes import VOLUMES

_ROWS_BY_FILE: tuple[Row, ...] = (*LAYERS, *VOLUMES, *BLOCKS, *SERIES_BLOCKS, *NETS)
_GROUPS = list(dict.fromkeys(row[0] for row in _ROWS_BY_FILE))
ZOO: tuple[Row, ...] = tuple(sorted(_ROWS_BY_FILE, key=lambda row: _GROUPS.index(row[0])))
TECHNIQUES = ("prune", "cluster", "QAT", "int8")
YES, LEFT, NONE = "yes", "left", "–"
_ROWS, _CLASSES = 16, 3
_TRAINING = Training(task="classification", seed=1, batch_size=8, inspector=FactsInspector())
_HEAD = "head/kernel"
_NAMED = 4  # names that a cell has room for


def row(name: str) -> Row:
    """Return the row of the block ``name``."""
    return next(row for row in ZOO if row[1] == name)


def build(row: Row) -> Any:
    """Return the block as a classifier with its weights drawn from a fixed seed."""
    from converters.keras2 import keras, seed

    _, _, shape, block = row
    keras.backend.clear_session()
    seed(7)
    inputs = keras.Input(shape)
    outputs = block(keras, inputs)
    if len(outputs.shape) > 2:
        outputs = keras.layers.Flatten()(outputs)
    outputs = keras.layers.Dense(_CLASSES, activation="softmax", name="head")(outputs)
    model = keras.Model(inputs, outputs, name="block")
    rng = np.random.default_rng(7)
    for variable in model.variables:  # moving statistics must do something
        kind = variable.name.split("/")[-1].split(":")[0]
        if kind in ("moving_mean", "beta", "bias", "alpha"):
            variable.assign(rng.normal(0, 0.3, variable.shape))
        elif kind in ("moving_variance", "gamma"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def samples(shape: tuple[int, ...], *, whole: bool = False) -> Samples:
    """Return a few rows of noise; whole numbers where a vocabulary is looked up."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3 * _ROWS, *shape)).astype(np.float32)
    if whole:
        x = rng.integers(0, 16, (3 * _ROWS, *shape)).astype(np.float32)
    y = rng.integers(0, _CLASSES, 3 * _ROWS)
    cut = {
        "train": slice(0, _ROWS),
        "val": slice(_ROWS, 2 * _ROWS),
        "test": slice(2 * _ROWS, None),
    }
    return Samples(
        **{f"x_{part}": x[rows] for part, rows in cut.items()},
        **{f"y_{part}": y[rows] for part, rows in cut.items()},
    )


def outcomes(row: Row, techniques: Collection[str] = TECHNIQUES) -> dict[str, str]:
    """Return what ``row`` becomes, by technique."""
    draft, data = Draft(build(row)), samples(row[2], whole=row[1] == "Embedding")
    found = {}
    for name in techniques:
        try:
            found[name] = _TRY[name](draft, data)
        except ConversionError as refused:
            found[name] = f"no: {refused}"
    return found


def _pruned(draft: Draft, data: Samples) -> str:
    done = Prune(sparsity=0.5, epochs=1)(draft, data, _TRAINING)
    return _promised(draft, done.promises["SPARSE"])


def _clustered(draft: Draft, data: Samples) -> str:
    done = Cluster(clusters=4, epochs=1)(draft, data, _TRAINING)
    return _promised(draft, done.promises["CLUSTERED"])


def _promised(draft: Draft, done: Collection[str]) -> str:
    """Return how many of the block's kernels were promised something."""
    from converters import keras2
    from converters.graph import canonical

    kernels = keras2.kernels(canonical.simplify(draft.model)).keys() - {_HEAD}
    missed = kernels - set(done)
    left = sorted({kernel.rpartition("/")[0] for kernel in missed})
    if len(left) > _NAMED and all(kernel.endswith("/depthwise_kernel") for kernel in missed):
        return f"{LEFT}: {len(left)} depthwise kernels"
    if left:
        return f"{LEFT}: {', '.join(left)}"
    return YES if kernels else NONE


def _trained(draft: Draft, data: Samples) -> str:
    done = Qat(epochs=1)(draft, data, _TRAINING)
    Int8(calibration_samples=_ROWS)(done, data, _TRAINING)
    notes = [note for note in done.notes if note.startswith("not trained quantized")]
    return f"PTQ: {notes[0].split(': ', 1)[1]}" if notes else YES


def _converted(draft: Draft, data: Samples) -> str:
    Int8(calibration_samples=_ROWS)(draft, data, _TRAINING)
    return YES


_TRY = dict(zip(TECHNIQUES, (_pruned, _clustered, _trained, _converted), strict=True))
