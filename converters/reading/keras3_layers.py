"""One Keras 3 layer as its tf_keras twin: same settings, same weights, same name.

Most layers have a namesake whose settings agree; a setting that tf_keras lacks must stand
at the value that does nothing, else the layer is refused. Equality is not believed but
measured afterwards (``bridge_proof``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.reading import keras3_activations, keras3_settings
from converters.refusals import quote

# They do nothing at inference, and no name of theirs begins any other layer's.
_AUGMENTATIONS = (
    "AugMix",
    "AutoContrast",
    "CutMix",
    "Equalization",
    "MixUp",
    "RandAugment",
    "Random",
    "Solarization",
)
_WRAPPERS = frozenset({"Bidirectional", "TimeDistributed", "RNN", "StackedRNNCells"})


@dataclass(eq=False)
class Twin:
    """A tf_keras counterpart: what to call, and which layer takes the original's weights.

    Attributes:
        call: called with tf_keras tensors; a layer, a model, or a chain of layers.
        carriers: pairs of (tf_keras layer, Keras 3 layer) whose weights correspond.
    """

    call: Callable[..., Any]
    carriers: tuple[tuple[Any, Any], ...] = ()
    filled: bool = field(default=False)

    def fill(self) -> None:
        """Copy the weights over; the twin is built once it has been called."""
        if self.filled:
            return
        for mine, original in self.carriers:
            mine.set_weights(_ordered(mine, original))
        self.filled = True


def twin(layer: Any, source: Path, notes: list[str]) -> Twin:
    """Return the counterpart of one Keras 3 layer that is not itself a model.

    Raises:
        ModelRefused: a class or a setting that tf_keras does not have.
    """
    from converters.keras2 import keras

    kind = type(layer).__name__
    if kind.startswith(_AUGMENTATIONS):
        notes.append(f"layer {quote(layer.name)} ({kind}) augments in training only: left out")
        return Twin(lambda x, **_: x)
    if kind == "Activation":
        alone = _Activated(None, layer.activation, layer.name, source, notes)
        return Twin(alone, alone.carriers)
    if kind == "Lambda":
        return Twin(keras.layers.Lambda(layer.function, name=layer.name))
    if kind == "Normalization" and layer.input_mean is None:
        return Twin(_normalization(layer))
    split = keras3_settings.activation_apart(layer)
    mine = make(layer, source, linear=split)
    if split:
        chain = _Activated(mine, layer.activation, f"{layer.name}_activation", source, notes)
        return Twin(chain, ((mine, layer), *chain.carriers))
    return Twin(mine, ((mine, layer),))


def make(layer: Any, source: Path, *, linear: bool = False) -> Any:
    """Return a fresh tf_keras layer with the settings of ``layer``; ``linear`` drops its
    activation."""
    from converters.keras2 import keras

    kind = type(layer).__name__
    cls = getattr(keras.layers, kind, None)
    if cls is None or not type(layer).__module__.startswith("keras."):
        raise keras3_settings.refused(layer, "which tf_keras does not have", source)
    inner = _inner(layer, source) if kind in _WRAPPERS else {}
    kept = keras3_settings.translated(layer, cls, inner, source)
    if linear:
        kept["activation"] = "linear"
    return cls(**kept)


def _inner(layer: Any, source: Path) -> dict[str, Any]:
    """Return the settings of a wrapper that are themselves layers."""
    kind = type(layer).__name__
    if kind == "Bidirectional":
        return {
            "layer": make(layer.forward_layer, source),
            "backward_layer": make(layer.backward_layer, source),
        }
    if kind == "TimeDistributed":
        return {"layer": make(layer.layer, source)}
    if kind == "RNN":
        return {"cell": make(layer.cell, source)}
    return {"cells": [make(cell, source) for cell in layer.cells]}


class _Activated:
    """A layer and its activation, called as one; the activation is a layer of its own."""

    def __init__(
        self, layer: Any, activation: Any, name: str, source: Path, notes: list[str]
    ) -> None:
        self._layer, self._name = layer, name
        self._calls = 0
        is_layer = hasattr(activation, "get_config") and hasattr(activation, "weights")
        self._twin = twin(activation, source, notes) if is_layer else None
        self.carriers = self._twin.carriers if self._twin is not None else ()
        self._kind = getattr(activation, "__name__", type(activation).__name__)

    def __call__(self, x: Any, **kwargs: Any) -> Any:
        if self._layer is not None:
            x = self._layer(x, **kwargs)
        if self._twin is not None:
            return self._twin.call(x)
        self._calls += 1  # a shared layer is called more than once: names must not repeat
        name = self._name if self._calls == 1 else f"{self._name}_{self._calls}"
        return keras3_activations.apply(self._kind, x, name)


def _normalization(layer: Any) -> Any:
    """Return a Normalization with its statistics as settings (see ``normalization``)."""
    import numpy as np

    from converters.keras2 import keras

    settings = layer.get_config()
    return keras.layers.Normalization(
        axis=settings["axis"],
        mean=np.asarray(layer.adapt_mean).tolist(),
        variance=np.asarray(layer.adapt_variance).tolist(),
        invert=settings["invert"],
        name=layer.name,
    )


def _ordered(mine: Any, original: Any) -> list[Any]:
    """Return the original's weights in the order of ``mine``: by name where names say it."""
    import numpy as np

    apart = {id(w) for w in getattr(getattr(original, "activation", None), "weights", ())}
    weights = [weight for weight in original.weights if id(weight) not in apart]
    theirs = {weight.path.rpartition("/")[2]: weight for weight in weights}
    names = [weight.name.partition(":")[0].rpartition("/")[2] for weight in mine.weights]
    if len(theirs) == len(weights) and sorted(theirs) == sorted(names):
        return [np.asarray(theirs[name]) for name in names]
    return [np.asarray(weight) for weight in weights]
