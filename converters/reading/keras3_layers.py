"""A Keras 3 layer as tf_keras' own, or a refusal naming what is left.

A setting that tf_keras has no word for must stand at the value that does nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.errors import quote, refusal
from converters.reading import keras3_activations

# Settings tf_keras has no word for, with the values at which they change nothing.
_IDLE: dict[str, tuple[Any, ...]] = {
    "antialias": (False,),
    "bounding_box_format": (None,),
    "data_format": ("channels_last", None),
    "fill_mode": ("constant",),
    "fill_value": (0.0,),
    "flash_attention": (None, False),
    "gptq_unpacked_column_size": (None,),
    "lora_alpha": (None,),
    "lora_rank": (None,),
    "optional": (False,),
    "pad_to_aspect_ratio": (False,),
    "quantization_config": (None,),
    "renorm": (False,),
    "renorm_clipping": (None,),
    "rms_scaling": (False,),
    "sliding_window": (None,),
    "synchronized": (False,),
    "use_gate": (False,),
}
# Settings that never change what is computed at inference.
_IGNORED = frozenset({"seed", "use_cudnn", "dtype", "autocast", "input_dtype"})
_RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}


def translated(layer: Any, cls: Any, inner: dict[str, Any], source: Path) -> dict[str, Any]:
    """Return the keywords that make ``cls`` of tf_keras compute what ``layer`` does.

    Args:
        inner: settings that are layers themselves, already made.

    Raises:
        ModelRefused: a setting in use that tf_keras does not have.
    """
    settings = dict(layer.get_config()) | inner
    for theirs, ours in _RENAMED.get(type(layer).__name__, {}).items():
        settings[ours] = settings.pop(theirs)
    known = _known(cls, settings)
    kept: dict[str, Any] = {}
    for key, value in settings.items():
        if key in _IGNORED:
            continue
        if key in known:
            kept[key] = _part(key, value, layer, source)
        elif key not in _IDLE or value not in _IDLE[key]:
            shown = f"with {key}={value!r}, which tf_keras does not have"
            raise refused(layer, shown, source)
    return kept


def _known(cls: Any, settings: dict[str, Any]) -> set[str]:
    """Return the names that the constructors of ``cls`` take, its bases included."""
    taken = {"name", "trainable"}
    if "return_sequences" in settings:
        taken.add("zero_output_for_mask")  # tf_keras takes it among its keywords
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is not None:
            taken |= set(inspect.signature(init).parameters)
    return taken & set(settings)


def _part(key: str, value: Any, layer: Any, source: Path) -> Any:
    """Return a setting in tf_keras' terms: an activation, initializer, regularizer."""
    from converters.keras2 import keras

    if value is None:
        return None
    if key.endswith("activation"):
        name = getattr(getattr(layer, key), "__name__", "")
        if name not in keras3_activations.NATIVE:
            if not activation_apart(layer):  # inside a recurrent cell: no place for a layer
                raise refused(layer, f"with {key}={name!r}, which tf_keras lacks", source)
            return "linear"
        return keras3_activations.NATIVE[name]
    for ending, module in (
        ("_initializer", keras.initializers),
        ("_regularizer", keras.regularizers),
        ("_constraint", keras.constraints),
    ):
        if key.endswith(ending) and isinstance(value, dict):
            return _namesake(key, value, module, layer, source)
    return value


def _namesake(key: str, value: dict[str, Any], module: Any, layer: Any, source: Path) -> Any:
    """Return tf_keras' initializer, regularizer or constraint of the same name."""
    kind, settings = value.get("class_name"), value.get("config") or {}
    cls = getattr(module, str(kind).removesuffix("Initializer"), None)
    if not inspect.isclass(cls):
        if key.endswith("_initializer"):
            return None  # weights are loaded: what they started from no longer matters
        raise refused(layer, f"with {key} {quote(kind)}, which tf_keras does not have", source)
    taken = inspect.signature(cls).parameters
    return cls(**{k: v for k, v in settings.items() if k in taken})


def activation_apart(layer: Any) -> bool:
    """Tell whether the activation must become a layer of its own after ``layer``."""
    activation = getattr(layer, "activation", None)
    if activation is None or hasattr(layer, "recurrent_activation") or hasattr(layer, "cell"):
        return False
    name = getattr(activation, "__name__", "")
    return type(layer).__name__ != "Activation" and name not in keras3_activations.NATIVE


def refused(layer: Any, what: str, source: Path) -> Exception:
    return refusal(
        source,
        wanted="layers that tf_keras has too",
        got=f"layer {quote(layer.name)} ({type(layer).__name__}) {quote(what)}",
        do="replace it by an equivalent Keras layer, or save the model from tf_keras",
    )


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
    split = activation_apart(layer)
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
        raise refused(layer, "which tf_keras does not have", source)
    inner = _inner(layer, source) if kind in _WRAPPERS else {}
    kept = translated(layer, cls, inner, source)
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
