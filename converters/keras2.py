"""The one way to TensorFlow, tf_keras and TFMOT: their flags, private paths and copies.

Importing this module imports TensorFlow (2 to 9 s), so stages import it when they run and
never at module level. It must come before any other import of TensorFlow in a process:
TFMOT works on tf_keras only, and TensorFlow reads that choice once.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import custom_activations

if "tensorflow" in sys.modules and os.environ.get("TF_USE_LEGACY_KERAS") != "1":
    raise ImportError(
        "converters.keras2 must be imported before TensorFlow, or TF_USE_LEGACY_KERAS=1 be "
        "set: TFMOT needs tf_keras. Received: TensorFlow already imported with Keras 3"
    )
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["KERAS_BACKEND"] = "tensorflow"  # TensorFlow imports Keras 3 too, on that backend
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the same bytes with and without a GPU


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what native code prints to stderr; print it after all if this block fails.

    TensorFlow's C++ side writes to file descriptor 2 before its own log level is read.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError):  # no stderr to hold back
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


with quiet(), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras as keras

    tf.zeros(())  # starts the devices, whose complaints belong in here too

logging.getLogger("tensorflow").setLevel(logging.ERROR)
logging.getLogger("absl").setLevel(logging.ERROR)
tf.config.experimental.enable_op_determinism()
tf.random.set_seed(0)  # determinism refuses unseeded operators, and loading runs some


custom_activations.register(keras, tf)

__all__ = [
    "compile_like",
    "copy",
    "copying",
    "is_quantized",
    "keras",
    "kernels",
    "predict",
    "quiet",
    "seed",
    "tf",
    "tfmot",
    "unwrapped",
]


def copying() -> ExitStack:
    """Return a context in which layers of this process are copied, whatever they are.

    Keras copies a layer by its config and refuses code in one; a model that is in memory
    runs its code already. Never put a file's reading inside.
    """
    from tf_keras.src.saving.serialization_lib import SafeModeScope

    scopes = ExitStack()
    scopes.enter_context(SafeModeScope(safe_mode=False))
    scopes.enter_context(tfmot.quantization.keras.quantize_scope())
    return scopes


def seed(number: int) -> None:
    """Seed Python, numpy and TensorFlow, so that the same number gives the same weights."""
    keras.utils.set_random_seed(number)


def copy(model: Any) -> Any:
    """Return a twin of ``model``: same layers, names, weights and loss, nothing shared.

    TFMOT wraps and trains the layers it is given; the twin is there to be trained, so all
    its layers are trainable.
    """
    with copying():
        twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    twin.trainable = True
    return compile_like(twin, model)


def compile_like(model: Any, other: Any) -> Any:
    """Return ``model`` carrying the compiled loss of ``other``, if that has one."""
    loss = getattr(other, "loss", None)
    if loss:
        model.compile(optimizer="sgd", loss=loss)  # fine-tuning brings its own optimizer
    return model


def predict(model: Any, x: NDArray[Any], batch: int = 256) -> NDArray[np.float32]:
    """Return the outputs of ``model`` in inference mode, ``(N, *output_shape) float32``.

    Does not use ``Model.predict``, which prints and keeps a compiled graph per model.
    """
    run = tf.function(lambda rows: model(rows, training=False), reduce_retracing=True)
    parts = [
        np.asarray(run(tf.constant(x[at : at + batch], tf.float32)), np.float32)
        for at in range(0, len(x), batch)
    ]
    return np.concatenate(parts)


def is_quantized(model: Any) -> bool:
    """Tell whether any layer of ``model`` carries TFMOT's fake quantization."""
    return any(type(layer).__name__.startswith("Quantize") for layer in model.layers)


def unwrapped(layer: Any) -> Any:
    """Return the layer inside a TFMOT wrapper, or ``layer`` itself."""
    wrappers = ("QuantizeWrapper", "QuantizeWrapperV2", "PruneLowMagnitude", "ClusterWeights")
    return layer.layer if type(layer).__name__ in wrappers else layer


_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "embeddings")


def kernels(model: Any) -> dict[str, Any]:
    """Return each weight matrix of ``model`` as ``{"layer/kernel": variable}``, nested too.

    Named by layer rather than by variable, because a loaded file's variables may repeat;
    two of one layer (the halves of a bidirectional one) are told apart by ``#2``.
    """
    found: dict[str, Any] = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            inner = kernels(layer)
            found |= {f"{layer.name}/{name}": variable for name, variable in inner.items()}
            continue
        owner = unwrapped(layer)
        for variable in layer.weights:
            kind = variable.name.split(":")[0].split("/")[-1]
            if kind in _KERNELS:
                name = f"{owner.name}/{kind}"
                twins = sum(known.split("#")[0] == name for known in found)
                found[f"{name}#{twins + 1}" if twins else name] = variable
    return found
