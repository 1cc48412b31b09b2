"""A model's config as a graph that may be edited: who reads whom, renaming, building again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

Config = dict[str, Any]
WeightsByLayer = dict[str, list[NDArray[Any]]]


def rewrite(model: Any, change: Callable[[list[Config], Config, WeightsByLayer], None]) -> Any:
    """Return ``model`` built again after ``change`` edited its config and weights.

    ``change`` gets the list of layers, the whole config, and the weights by layer name; all
    of them are copies and may be changed in place.
    """
    from converters import keras2

    graph = keras2.keras.Model(model.inputs, model.outputs, name=model.name)
    config = graph.get_config()
    weights: WeightsByLayer = {layer.name: layer.get_weights() for layer in graph.layers}
    change(config["layers"], config, weights)
    with keras2.copying():
        fresh = keras2.keras.Model.from_config(config)
    for layer in fresh.layers:
        layer.set_weights(weights[layer.name])
    fresh.trainable = True
    return keras2.compile_like(fresh, model)


def entries(nested: Any) -> list[list[Any]]:
    """Return every ``[layer, node, tensor, …]`` reference inside ``nested``."""
    if isinstance(nested, dict):
        return [entry for value in nested.values() for entry in entries(value)]
    if not isinstance(nested, list | tuple):
        return []
    is_reference = (
        len(nested) >= 3
        and isinstance(nested[0], str)
        and isinstance(nested[1], int)
        and isinstance(nested[2], int)
    )
    if is_reference and isinstance(nested, list):
        return [nested, *entries(nested[3:])]
    return [entry for value in nested for entry in entries(value)]


def sources(layer: Config) -> list[str]:
    """Return the name of every layer that ``layer`` reads, once a reading."""
    return [entry[0] for entry in entries(layer["inbound_nodes"])]


def only_reader(name: str, layers: list[Config], config: Config) -> Config | None:
    """Return the one layer that reads ``name``, None if none, several, or the outputs do."""
    if name in [entry[0] for entry in entries(config["output_layers"])]:
        return None
    readers = [layer for layer in layers for source in sources(layer) if source == name]
    return readers[0] if len(readers) == 1 else None


def remove(layers: list[Config], config: Config, layer: Config, instead: str) -> None:
    """Take ``layer`` out of the graph; whoever read it reads ``instead``."""
    layers.remove(layer)
    for nested in [other["inbound_nodes"] for other in layers] + [config["output_layers"]]:
        for entry in entries(nested):
            if entry[0] == layer["name"]:
                entry[0] = instead
