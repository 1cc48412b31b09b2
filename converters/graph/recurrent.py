"""Recurrent layers whose loop the converter cannot quantize, step by step.

The converter dies on a loop of these in int8; LSTM has a fused operator and keeps it.
"""

from __future__ import annotations

from typing import Any

from converters.graph import cells
from converters.graph.walk import Rule, Site

#: More steps than these make a file that no small device takes.
MOST_STEPS = 128
#: Up to these a cell is written out in layers of its own, about ten a step.
MOST_WRITTEN = 32
_LOOPS = ("GRU", "SimpleRNN")
_MERGES = {"sum": "Add", "mul": "Multiply", "ave": "Average"}


def _written(site: Site) -> Any:
    """Return a layer of one cell written out (``cells``)."""
    layer, x = site.layer, site.x
    if not _may_write(site, x, layer):
        return None
    one = cells.Cell(site, layer.cell, layer.cell.get_weights(), "")
    states = one.run(x, backwards=layer.go_backwards)
    return _series(site, "", states) if layer.return_sequences else states[-1]


def _both_written(site: Site) -> Any:
    """Return both directions written out, and merged as the layer merged them."""
    layer, x = site.layer, site.x
    ways = (layer.forward_layer, layer.backward_layer)
    kinds = {type(way).__name__ for way in ways}
    if not kinds <= set(_LOOPS) or layer.merge_mode not in ("concat", *_MERGES):
        return None
    if not all(_may_write(site, x, way) for way in ways):
        return None
    made = []
    for way, name in zip(ways, ("forward_", "backward_"), strict=True):
        one = cells.Cell(site, way.cell, way.cell.get_weights(), name)
        states = one.run(x, backwards=way.go_backwards)
        if layer.return_sequences:  # both in the order of time
            in_time = states[::-1] if way.go_backwards else states
            made.append(_series(site, name, in_time))
        else:
            made.append(states[-1])
    kind = _MERGES.get(layer.merge_mode)
    return site.make(kind, "merge")(made) if kind else site.make("Concatenate", "merge")(made)


def _loop_of_cells(site: Site) -> Any:
    """Return a loop over cells of Keras' own as the layers of those cells."""
    layer, x = site.layer, site.x
    stack = list(getattr(layer.cell, "cells", [layer.cell]))
    kinds = [type(cell).__name__ for cell in stack]
    known = all(kind in ("GRUCell", "LSTMCell", "SimpleRNNCell") for kind in kinds)
    if not known or not _plain(site, x, layer):
        return None
    last = len(stack) - 1
    for number, cell in enumerate(stack):
        settings = cell.get_config() | {
            "go_backwards": layer.go_backwards and number == 0,
            "return_sequences": layer.return_sequences or number < last,
        }
        settings.pop("name")
        suffix = f"cell{number}" if last else ""
        x = site.make(kinds[number][: -len("Cell")], suffix, cell.get_weights(), **settings)(x)
    return x


def _plain(site: Site, x: Any, layer: Any) -> bool:
    """Tell whether ``layer`` is called on a series and nothing else, for outputs alone."""
    more = layer.return_state or layer.stateful or getattr(layer, "time_major", False)
    return x is not None and not more and all(v is None for v in site.kwargs.values())


def _may_write(site: Site, x: Any, layer: Any) -> bool:
    """Tell whether every step of ``layer`` is known and none is masked."""
    if not _plain(site, x, layer) or None in x.shape[1:]:
        return False
    masked = getattr(x, "_keras_mask", None) is not None  # steps that must be skipped
    last = getattr(layer.cell, "data_format", "channels_last") == "channels_last"
    return last and not masked and 2 <= x.shape[1] <= MOST_WRITTEN


def _series(site: Site, prefix: str, states: list[Any]) -> Any:
    """Return states one behind the other on an axis of time."""
    made = [
        site.make("Reshape", f"{prefix}{at}_row", target_shape=(1, *state.shape[1:]))(state)
        for at, state in enumerate(states)
    ]
    return site.make("Concatenate", f"{prefix}series", axis=1)(made)


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


CELLS: dict[str, Rule] = {"RNN": _loop_of_cells}
#: Exact forms that every stage works on; they serve pruning as well as training.
WRITTEN: dict[str, Rule] = {
    **dict.fromkeys((*_LOOPS, "ConvLSTM1D", "ConvLSTM2D"), _written),
    "Bidirectional": _both_written,
}
#: What is left of the loops, for the converter alone.
RULES: dict[str, Rule] = {**dict.fromkeys(_LOOPS, _unrolled), "Bidirectional": _both_ways}
