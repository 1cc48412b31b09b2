"""The one door to TensorFlow, tf_keras and TFMOT: their flags, private paths and copies.

Importing this module imports TensorFlow (4 to 9 s), so stages import it when they run and
never at module level. It must come before any other import of TensorFlow in a process:
TFMOT works on tf_keras only, and TensorFlow reads that choice once.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

if "tensorflow" in sys.modules and os.environ.get("TF_USE_LEGACY_KERAS") != "1":
    raise ImportError(
        "converters.keras2 must be imported before TensorFlow, or TF_USE_LEGACY_KERAS=1 be "
        "set: TFMOT needs tf_keras. Received: TensorFlow already imported with Keras 3"
    )
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its C++ side prints to stderr
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # results must not hang on a GPU

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras as keras

logging.getLogger("tensorflow").setLevel(logging.ERROR)
logging.getLogger("absl").setLevel(logging.ERROR)
tf.config.experimental.enable_op_determinism()

__all__ = ["copy", "keras", "predict", "seed", "tf", "tfmot"]


def seed(number: int) -> None:
    """Seed Python, numpy and TensorFlow, so that the same number gives the same weights."""
    keras.utils.set_random_seed(number)


def copy(model: Any) -> Any:
    """Return a twin of ``model``: same layers, names and weights, nothing shared.

    TFMOT wraps and trains the layers it is given. The twin is not compiled.
    """
    with tfmot.quantization.keras.quantize_scope():
        twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    return twin


def predict(model: Any, x: NDArray[Any], batch: int = 256) -> NDArray[np.float32]:
    """Return the outputs of ``model`` in inference mode, ``(N, *output_shape) float32``.

    Does not use ``Model.predict``: that builds a new graph a call and leaks it.
    """
    run = tf.function(lambda rows: model(rows, training=False), reduce_retracing=True)
    parts = [
        np.asarray(run(tf.constant(x[at : at + batch], tf.float32)), np.float32)
        for at in range(0, len(x), batch)
    ]
    return np.concatenate(parts)
