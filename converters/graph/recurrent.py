"""Recurrent layers whose loop the converter cannot quantize, step by step.

The converter dies on a loop of these in int8; LSTM has a fused operator and keeps it.
"""

from __future__ import annotations

from typing import Any

from converters.graph.walk import Rule, Site

#: More steps than these make a file that no small device takes.
MOST_STEPS = 128
_LOOPS = ("GRU", "SimpleRNN")


def _unrolled(site: Site) -> Any:
    layer, x = site.layer, site.x
    if x is None or layer.unroll or any(v is not None for v in site.kwargs.values()):
        return None
    if x.shape[1] is None or x.shape[1] > MOST_STEPS:
        return None
    settings = layer.get_config() | {"unroll": True}
    settings.pop("name")
    return site.make(type(layer), "", layer.get_weights(), **settings)(x)


def _both_ways(site: Site) -> Any:
    layer, x = site.layer, site.x
    inner, config = layer.forward_layer, layer.get_config()
    if type(inner).__name__ not in _LOOPS or inner.unroll or "backward_layer" in config:
        return None
    if x is None or any(v is not None for v in site.kwargs.values()):
        return None
    if x.shape[1] is None or x.shape[1] > MOST_STEPS:
        return None
    step_by_step = type(inner).from_config(inner.get_config() | {"unroll": True})
    made = site.make(
        type(layer), "", layer.get_weights(), layer=step_by_step, merge_mode=layer.merge_mode
    )
    return made(x)


RULES: dict[str, Rule] = {**dict.fromkeys(_LOOPS, _unrolled), "Bidirectional": _both_ways}
