"""A Keras config from elsewhere, read as data before Keras turns it into objects.

Keras imports the classes a config names and, in HDF5 files, unmarshals Lambda code whatever
``safe_mode`` says. So every object in a config must bear a name from ``config_names``, and
the error names the layer that does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import ModelRefused
from converters.reading import config_names as names
from converters.reading import keras3_ops
from converters.refusals import quote, refusal

MAX_LAYERS = 5_000  # EfficientNetB7 has 813
MAX_DEPTH = 200
_KERAS_WITHOUT_CODE = "layers of Keras itself, whose loading runs no code of the file's own"
_TRUST = "pass --allow-code if you trust where the file comes from"


@dataclass(frozen=True, slots=True)
class Found:
    """One object in a config and the layer it belongs to."""

    layer: str
    entry: dict[str, Any]


def check(config: object, source: Path, *, allow_code: bool = False) -> dict[str, Any]:
    """Return ``config`` as a dict, once nothing in it can run code or open files.

    Raises:
        ModelRefused: a Lambda, a class or module that is not Keras' own, a model that is
            already compressed, a subclassed model; the layer is named.
    """
    top = _top(config, source)
    for count, found in enumerate(objects(top, source)):
        if count > 50 * MAX_LAYERS:
            raise _shape_of(source, f"a config of more than {50 * MAX_LAYERS:,} objects")
        _check_size(found, source)
        _check_compressed(found, source)
        if not allow_code:
            _check_object(found, source)
    _check_channels(top, source)
    return top


def _top(config: object, source: Path) -> dict[str, Any]:
    if not isinstance(config, dict) or not isinstance(config.get("config"), (dict, list)):
        raise _shape_of(source, "a config that describes no model")
    kind = config.get("class_name")
    if not isinstance(kind, str) or kind not in names.CONTAINERS:
        raise refusal(
            source,
            wanted="a functional or Sequential model",
            got=f"a model of the class {quote(kind)} (subclassed?)",
            do="rebuild it as keras.Model(inputs, outputs) and save that",
        )
    if isinstance(config["config"], list):  # Keras 2.1: a Sequential was a bare list
        config = config | {"config": {"name": "sequential", "layers": config["config"]}}
    if not isinstance(config["config"].get("layers"), list):
        raise _shape_of(source, "a model without a list of layers (subclassed?)")
    return config


def objects(config: dict[str, Any], source: Path) -> Iterator[Found]:
    """Yield every object of a config with the name of the layer it stands in."""
    stack: list[tuple[Any, str, int]] = [(config, "", 0)]
    while stack:
        value, layer, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise _shape_of(source, f"a config nested deeper than {MAX_DEPTH}")
        if isinstance(value, list):
            stack.extend((item, layer, depth + 1) for item in reversed(value))
        elif isinstance(value, dict):
            if "class_name" in value:
                layer = _layer_name(value, layer)
                yield Found(layer, value)
            stack.extend((item, layer, depth + 1) for item in reversed(list(value.values())))


def _layer_name(entry: dict[str, Any], outer: str) -> str:
    inner = entry.get("config")
    name = inner.get("name") if isinstance(inner, dict) else None
    own = name if isinstance(name, str) else entry.get("name")
    kind = entry.get("class_name")
    is_part = isinstance(kind, str) and kind in names.PARTS
    return own if isinstance(own, str) and not is_part else outer


def _check_size(found: Found, source: Path) -> None:
    inner = found.entry.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if isinstance(layers, list) and len(layers) > MAX_LAYERS:
        raise _shape_of(source, f"{len(layers):,} layers, over {MAX_LAYERS:,}")


def _check_compressed(found: Found, source: Path) -> None:
    kind = found.entry["class_name"]
    if isinstance(kind, str) and kind.rpartition(">")[2] in names.COMPRESSED:
        raise refusal(
            source,
            wanted="the float model, before any compression",
            got=f"layer {quote(found.layer)} ({quote(kind)}), already quantized or wrapped",
            do="save the model it was made from (TFMOT: strip_pruning, strip_clustering)",
        )


def _check_object(found: Found, source: Path) -> None:
    """Refuse an object that is not Keras' own."""
    entry, kind = found.entry, found.entry["class_name"]
    where = f"layer {quote(found.layer)}" if found.layer else "the model"
    if not isinstance(kind, str):
        raise _shape_of(source, f"{where} of a class that is no name")
    if kind in names.CODE:
        raise refusal(
            source,
            wanted=_KERAS_WITHOUT_CODE,
            got=f"{where} ({kind}), which carries code",
            do=f"replace it by Keras layers, or {_TRUST}",
        )
    module, registered = entry.get("module"), entry.get("registered_name")
    if isinstance(module, str) and names.OPS_MODULE.fullmatch(module):
        if kind in keras3_ops.RULES or kind in keras3_ops.MASKS:
            return
        raise refusal(
            source,
            wanted="operators that tf_keras has too",
            got=f"operator {quote(found.layer)} ({quote(kind)})",
            do="replace it by a Keras layer, or save the model from tf_keras",
        )
    of_keras = module is None or (isinstance(module, str) and names.MODULES.fullmatch(module))
    own_name = registered is None or registered in (kind, entry.get("config"))
    if not of_keras or not own_name or not _is_known(entry, kind):
        origin = module if isinstance(module, str) and module != "builtins" else registered
        shown = f"{kind} of {origin}" if origin and origin != kind else kind
        raise refusal(
            source,
            wanted=_KERAS_WITHOUT_CODE,
            got=f"{where} ({quote(shown)}), which is not Keras' own or opens files",
            do=f"replace it by Keras layers, or {_TRUST}",
        )


def _is_known(entry: dict[str, Any], kind: str) -> bool:
    inner = entry.get("config")
    if kind == "function":
        return isinstance(inner, str) and inner in names.ACTIVATIONS
    if kind == "TFOpLambda":
        return isinstance(inner, dict) and names.names_tf_function(inner.get("function"))
    return kind in names.LAYERS or kind in names.PARTS or kind in names.CONTAINERS


def _check_channels(config: dict[str, Any], source: Path) -> None:
    for found in objects(config, source):
        inner = found.entry.get("config")
        if isinstance(inner, dict) and inner.get("data_format") == "channels_first":
            raise refusal(
                source,
                wanted="channels last, (height, width, channels)",
                got=f"layer {quote(found.layer)} with data_format='channels_first'",
                do="rebuild the model with channels last: this CPU and .tflite have no other",
            )


def _shape_of(source: Path, got: str) -> ModelRefused:
    return refusal(
        source,
        wanted="the config of a Keras model",
        got=got,
        do="save it again with model.save('model.keras')",
    )
