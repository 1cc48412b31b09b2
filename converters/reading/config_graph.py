"""Whether the calls of a Keras 2 graph can be put in an order at all.

tf_keras rebuilds a graph by trying each call again until what it reads exists, and goes on
for ever when that never happens: one changed digit in a file is enough. The same search is
done here on the config, where it ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.errors import ModelRefused
from converters.reading import config_names as names
from converters.reading.config_check import objects
from converters.refusals import quote, refusal

_CONSTANT = "_CONSTANT_VALUE"
_PACKED = "_COMPOSITE_TYPE"  # JSON inside a string, which the config check cannot see into
_STATES = {"LSTM": 2, "ConvLSTM1D": 2, "ConvLSTM2D": 2, "ConvLSTM3D": 2}
_SIZES = {"split": "num_or_size_splits", "unstack": "num"}


def check(config: dict[str, Any], source: Path) -> None:
    """Refuse a graph, at any depth, whose calls wait for each other or for nothing.

    Raises:
        ModelRefused: with the layer that waits.
    """
    for found in objects(config, source):
        inner = found.entry.get("config")
        if isinstance(inner, dict) and "input_layers" in inner:
            _check_graph(inner, source)


def _check_graph(graph: dict[str, Any], source: Path) -> None:
    layers: dict[str, dict[str, Any]] = {}
    waiting: dict[str, list[Any]] = {}
    for layer in graph.get("layers") or ():
        name = layer.get("name") if isinstance(layer, dict) else None
        nodes = layer.get("inbound_nodes") if isinstance(layer, dict) else None
        if not isinstance(name, str) or not isinstance(nodes, list) or name in layers:
            raise _broken(source, f"layer {quote(name)} twice, without a name or its calls")
        layers[name] = layer
        waiting[name] = list(nodes)
    made = {name: _first(layer) for name, layer in layers.items()}
    moved = True
    while moved:
        moved = False
        for name, nodes in waiting.items():
            while nodes and _ready(nodes[0], layers, made, source):
                nodes.pop(0)
                made[name] += 1
                moved = True
    stuck = [name for name, nodes in waiting.items() if nodes]
    if stuck:
        raise _broken(source, f"layer {quote(stuck[0])} reading what is never computed")


def _first(layer: dict[str, Any]) -> int:
    """Return the number of a layer's first call: a nested model counts its own as 0."""
    inner = layer.get("config")
    if str(layer.get("class_name")) not in names.CONTAINERS or not isinstance(inner, dict):
        return 0
    layers = inner.get("layers")
    first = layers[0] if isinstance(layers, list) and layers else None
    if not isinstance(first, dict):
        return 0
    settings = first.get("config")
    has_input = isinstance(settings, dict) and "batch_input_shape" in settings
    return int(first.get("class_name") == "InputLayer" or has_input)


def _ready(
    node: Any, layers: dict[str, dict[str, Any]], made: dict[str, int], source: Path
) -> bool:
    for reference, is_keyword in _references(node, False):
        name, call, output = reference[:3]
        if name == _CONSTANT and not is_keyword:
            if _PACKED in str(output):
                raise _broken(source, "a constant packed as text")
            continue
        if name not in layers or not isinstance(call, int) or not isinstance(output, int):
            raise _broken(source, f"a call that reads {quote(reference[:3])}")
        layer = layers[name]
        if layer.get("class_name") != "InputLayer" and not _first(layer) <= call < made[name]:
            return False
        if is_keyword and not 0 <= output < _outputs(layer):
            raise _broken(source, f"a call that reads output {output} of layer {quote(name)}")
    return True


def _references(nested: Any, is_keyword: bool) -> Iterator[tuple[list[Any], bool]]:
    """Yield each ``[layer, call, output]`` and whether it stands among the keywords."""
    if isinstance(nested, dict):
        for value in nested.values():
            yield from _references(value, is_keyword)
    elif isinstance(nested, list):
        if len(nested) in (3, 4) and isinstance(nested[0], str):
            yield nested, is_keyword
            if len(nested) == 4:
                yield from _references(nested[3], True)
        else:
            for item in nested:
                yield from _references(item, is_keyword)


def _outputs(layer: dict[str, Any]) -> int:
    """Return how many outputs a layer has, at least as far as keywords need it."""
    kind, inner = str(layer.get("class_name")), layer.get("config")
    settings = inner if isinstance(inner, dict) else {}
    if settings.get("return_state"):
        return 1 + _STATES.get(kind, 1)
    if kind in names.CONTAINERS:
        return len(settings.get("output_layers") or [None])
    size = _SIZES.get(str(settings.get("function")))
    if kind == "TFOpLambda" and size:
        counts = [
            ref[3].get(size)
            for ref, _ in _references(layer["inbound_nodes"], False)
            if len(ref) == 4 and isinstance(ref[3], dict)
        ]
        count = next((c for c in counts if isinstance(c, (int, list))), 1)
        return count if isinstance(count, int) else len(count)
    return 1


def _broken(source: Path, got: str) -> ModelRefused:
    return refusal(
        source,
        wanted="a graph whose layers can be called one after the other",
        got=got,
        do="copy it again, or save it again with model.save('model.keras')",
    )
