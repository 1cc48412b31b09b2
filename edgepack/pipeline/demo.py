"""A small real model and its data, made in seconds from what scikit-learn carries.

1,797 handwritten digits of 8x8 pixels (Alpaydin and Kaynak 1998, UCI Machine Learning
Repository; the test part of that set), values 0 to 16.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.errors import EnvironmentMissing
from edgepack.files import check_writable, digest_of, sha256, write_whole
from edgepack.pipeline.cache import Cache, default_cache
from edgepack.pipeline.source import stages_digest, versions

MODEL, DATA = "digits.h5", "digits.npz"
EPOCHS, BATCH = 24, 32
_SHARES = (0.60, 0.72)  # train, then validation; the rest judges


def prepare(folder: Path, progress: Callable[[str, int, int], None]) -> None:
    """Leave ``MODEL`` and ``DATA`` in ``folder``, trained now; the same bytes every time.

    Raises:
        EnvironmentMissing: scikit-learn is not installed.
        OutputError: ``folder`` cannot be written.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise EnvironmentMissing(
            "the demo needs scikit-learn; pip install 'edgepack[train]'"
        ) from error
    check_writable(folder)
    pictures, labels = load_digits(return_X_y=True)
    x = pictures.reshape(-1, 8, 8, 1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    cuts = [int(share * len(x)) for share in _SHARES]
    parts = dict(zip(("train", "val", "test"), np.split(order, cuts), strict=True))
    arrays = {f"x_{name}": x[rows] for name, rows in parts.items()}
    arrays |= {f"y_{name}": labels[rows] for name, rows in parts.items()}
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    write_whole(folder / DATA, out.getvalue())
    key = digest_of("demo", stages_digest(), versions(), sha256(Path(__file__).read_bytes()))
    trained = Cache(default_cache()).bytes_of(
        key, lambda: _train(arrays["x_train"], arrays["y_train"], progress)
    )
    write_whole(folder / MODEL, trained)


def _train(
    x: NDArray[np.float32], y: NDArray[np.int64], progress: Callable[[str, int, int], None]
) -> bytes:
    """Return a trained CNN of about 27,000 weights as the bytes of an .h5 file."""
    from converters.keras2 import keras, quiet, seed

    seed(0)
    layers = keras.layers
    stack: list[Any] = [layers.Input((8, 8, 1))]
    for filters in (16, 32, 64):
        stack += [
            layers.Conv2D(filters, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    stack += [
        layers.MaxPooling2D(),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10, activation="softmax"),
    ]
    model = keras.Sequential(stack, name="digits")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    tell = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: progress("demo model", epoch + 1, EPOCHS)
    )
    with quiet():
        model.fit(x, y, epochs=EPOCHS, batch_size=BATCH, verbose=0, callbacks=[tell])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.h5"
        with warnings.catch_warnings():
            # The legacy format is the one whose bytes do not hold the time of saving.
            warnings.simplefilter("ignore", UserWarning)
            model.save(path)
        return path.read_bytes()
