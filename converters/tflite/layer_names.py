"""Which Keras layer a fault of the converter or its file comes from, in words.

The converter names tensors by paths of layer names and kernels by nothing at all; the
reader of an error knows layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Layers that read whole numbers, which int8 codes of a real input cannot carry.
_LOOKUPS = ("CategoryEncoding", "Discretization", "Embedding", "Hashing", "IntegerLookup")
#: Layers that stay loops; the converter dies while it calibrates one.
_LOOPS = ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "RNN", "SimpleRNN")
#: Operators between float and int8: what they stand beside is what stays float.
_CASTS = ("DEQUANTIZE", "QUANTIZE")
_SHOWN = 3


def describe_float(found: Iterable[str], model: Any) -> str:
    """Return float operators as one phrase, one tensor each, with the layers they are of."""
    layers, listed = dict(_layers(model)), list(found)
    first = {island.split(" ")[0]: island for island in reversed(listed)}
    telling = [island for name, island in first.items() if name not in _CASTS]
    words = sorted(telling or first.values(), key=listed.index)
    blamed = {name for island in listed for name in _steps(island, layers)[:1]}
    lookups = {name for name, kind in layers.items() if kind in _LOOKUPS}
    named = ", ".join(f"{name} ({layers[name]})" for name in sorted(blamed or lookups))
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    why = ", whose whole numbers an int8 input cannot carry" if lookups and not blamed else ""
    of = f", of layer {named}{why}" if named else ""
    return f"{'; '.join(words[:_SHOWN])}{more}{of}"


def layer_in(message: str, model: Any) -> str:
    """Return the layer whose path stands in ``message``, as a phrase or nothing."""
    layers = dict(_layers(model))
    found = _steps(message, layers)
    return f", of layer {found[0]} ({layers[found[0]]})" if found else ""


def _steps(text: str, layers: Mapping[str, str]) -> list[str]:
    return [step for step in re.split(r"[/;':\s]", text) if step in layers]


def recurrent_layers(model: Any) -> str:
    """Return the layers of ``model`` that a converter may die of, as a phrase or nothing."""
    found = [f"{name} ({kind})" for name, kind in _layers(model) if kind in _LOOPS]
    return f" on the loop of {', '.join(found)}" if found else ""


def _layers(model: Any) -> list[tuple[str, str]]:
    """Return (name, class) of every layer that computes, without TFMOT's wrappers."""
    found = []
    for layer in model.layers:
        if hasattr(layer, "layers"):
            found += _layers(layer)
            continue
        inner = getattr(layer, "layer", layer) if _wraps(layer) else layer
        found.append((inner.name, type(inner).__name__))
        if inner is not layer:
            found.append((layer.name, type(inner).__name__))
    return found


def _wraps(layer: Any) -> bool:
    return type(layer).__name__ in ("Bidirectional", "QuantizeWrapperV2", "TimeDistributed")
