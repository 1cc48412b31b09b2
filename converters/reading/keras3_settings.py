"""The settings of a Keras 3 layer in tf_keras' terms, or a refusal naming what is left.

A setting that tf_keras has no word for must stand at the value that does nothing.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from converters.reading import keras3_activations
from converters.refusals import quote, refusal

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
