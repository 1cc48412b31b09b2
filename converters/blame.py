"""Which Keras layer a fault of the converter or its file comes from, in words.

The converter names tensors by paths of layer names and kernels by nothing at all; the
reader of an error knows layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

#: Layers that read whole numbers, which int8 codes of a real input cannot carry.
_LOOKUPS = ("CategoryEncoding", "Discretization", "Embedding", "Hashing", "IntegerLookup")
#: Layers that stay loops; the converter dies while it calibrates one.
_LOOPS = ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "RNN", "SimpleRNN")
_SHOWN = 3


def islands(found: Iterable[str], model: Any) -> str:
    """Return float operators as one phrase, each with the layer that it belongs to."""
    layers = dict(_layers(model))
    words, blamed, listed = [], set(), list(found)
    for island in listed:
        steps = re.split(r"[/;':]", island)
        owners = [name for name in steps if name in layers]
        blamed |= set(owners[:1])
        words.append(island)
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    if not blamed:
        blamed = {name for name, kind in layers.items() if kind in _LOOKUPS}
    named = ", ".join(f"{name} ({layers[name]})" for name in sorted(blamed))
    return f"{'; '.join(words[:_SHOWN])}{more}" + (f", of layer {named}" if named else "")


def loops(model: Any) -> str:
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
