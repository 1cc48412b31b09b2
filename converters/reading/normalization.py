"""Adapted Normalization layers turned into ones that carry their statistics as settings.

tf_keras keeps an adapted mean twice: as a weight, and as a constant made from it only when
``finalize_state`` is called. ``clone_model`` and ``set_weights`` do not call it, so a copy
of such a model silently normalizes with mean 0 and variance 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from converters.errors import quote, refusal


def freeze(model: Any, source: Path) -> tuple[Any, tuple[str, ...]]:
    """Return ``model`` without adapted statistics among its weights, and a note if any were.

    Raises:
        ModelRefused: one inside a wrapper, where it cannot be replaced.
    """
    from converters.keras2 import keras

    if not _adapted(model):
        return model, ()

    def replace(layer: Any) -> Any:
        if _is_adapted(layer):
            constants = {
                "mean": layer.adapt_mean.numpy().tolist(),
                "variance": layer.adapt_variance.numpy().tolist(),
            }
            return type(layer).from_config(layer.get_config() | constants)
        if isinstance(layer, keras.Model):
            return keras.models.clone_model(layer, clone_function=replace)
        return type(layer).from_config(layer.get_config())

    frozen = {id(weight) for layer in _adapted(model) for weight in layer.weights}
    twin = keras.models.clone_model(model, clone_function=replace)
    pairs = zip(model.weights, model.get_weights(), strict=True)
    twin.set_weights([values for weight, values in pairs if id(weight) not in frozen])
    if left := _adapted(twin):
        raise refusal(
            source,
            wanted="Normalization layers outside of wrappers",
            got=f"layer {quote(left[0].name)} inside one",
            do="move it before the wrapped model, or give it mean= and variance=",
        )
    names = ", ".join(quote(layer.name) for layer in _adapted(model))
    return twin, (f"adapted statistics of {names} became constants of the layer",)


def finish(model: Any) -> None:
    """Make the constants of adapted layers from their loaded weights, in either Keras.

    Keras 3 leaves this out when it reads HDF5, so its own model would normalize by nothing.
    """
    for layer in _adapted(model):
        layer.finalize_state()


def _adapted(model: Any) -> list[Any]:
    return [layer for layer in model._flatten_layers(include_self=False) if _is_adapted(layer)]


def _is_adapted(layer: Any) -> bool:
    return type(layer).__name__ == "Normalization" and layer.input_mean is None
