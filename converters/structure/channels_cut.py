"""A model without some of its channels: the same graph, every weight sliced to fit.

Nothing else changes: where the channels taken away were zero, the outputs stay the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import ModelRefused
from converters.graph.network import DEPTHWISE, FORWARD, TRANSPOSED, Call, Network
from converters.structure.channels_graph import ChannelGraph

Mask = NDArray[np.bool_]
Weights = list[NDArray[Any]]


def cut(model: Any, network: Network, graph: ChannelGraph, kept: Mask) -> Any:
    """Return ``model`` with only the ``kept`` channels, ``(channels,) bool``.

    Layers keep their names; ``model`` is left as it was.

    Raises:
        ModelRefused: a layer would have no channel left, or a frozen one would go.
    """
    from converters import keras2

    if not kept[graph.group < 0].all():
        raise ModelRefused(f"{model.name}: wanted frozen channels kept. Received: some cut")
    source = keras2.keras.Model(model.inputs, model.outputs, name=model.name)
    config = source.get_config()
    calls = {call.layer: call for call in network.calls}
    weights = {}
    for layer in source.layers:
        weights[layer.name] = layer.get_weights()
        if layer.name in calls:
            weights[layer.name] = _sliced(calls[layer.name], weights[layer.name], graph, kept)
    for words in config["layers"]:
        words.pop("build_config", None)  # the shapes it was built with
        if words["name"] in calls:
            _narrow(words["config"], calls[words["name"]], network, graph, kept)
    with keras2.tfmot.quantization.keras.quantize_scope():
        fresh = keras2.keras.Model.from_config(config)
    for layer in fresh.layers:
        layer.set_weights(weights[layer.name])
    fresh.trainable = True
    return keras2.compile_like(fresh, model)


def _narrow(
    words: dict[str, Any], call: Call, network: Network, graph: ChannelGraph, kept: Mask
) -> None:
    """Write the new number of channels into a layer's config, where it is told there."""
    left = int(kept[graph.tensors[call.outputs[0]]].sum())
    if left == 0:
        raise ModelRefused(f"{call.layer}: wanted a channel or more kept. Received: none")
    if call.layer in graph.ports and call.kind not in DEPTHWISE:
        words["units" if call.kind == "Dense" else "filters"] = left
    if call.kind == "Reshape":
        words["target_shape"] = [*network.shapes[call.outputs[0]][:-1], left]


def _sliced(call: Call, values: Weights, graph: ChannelGraph, kept: Mask) -> Weights:
    if not values:
        return values
    if call.layer in graph.ports:
        ports = graph.ports[call.layer]
        reads, makes = kept[ports.reads], kept[ports.makes]
        kernel, *bias = values
        if call.kind in FORWARD:
            kernel = kernel[..., reads, :][..., makes]
        elif call.kind in TRANSPOSED:
            kernel = kernel[..., makes, :][..., reads]
        else:
            kernel = kernel[..., reads, :]
        return [kernel, *(value[makes] for value in bias)]
    if call.kind in ("BatchNormalization", "PReLU"):
        ids = graph.tensors[call.inputs[0]]
        return [value[..., kept[ids]] for value in values]
    return values
