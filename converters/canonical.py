"""The same function in the layers that TFMOT knows: exact rewrites of a graph's config.

Each takes a tf_keras model and returns a new one with the same outputs up to float
rounding, sharing nothing with the first; a model with nothing to rewrite comes back as a
plain copy. What is not rewritten stays as it was and is named by the stages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Config = dict[str, Any]
Weights = dict[str, list[NDArray[Any]]]

_FOLDS_INTO = ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose", "Conv1D", "Dense")


def split_separable(model: Any) -> Any:
    """Return ``model`` with each SeparableConv2D as a depthwise and a 1x1 convolution.

    TFMOT would split it inside its own rewriting, where the weights' names are lost.
    """
    return _rewrite(model, _split_separable)


def fold_batchnorm(model: Any) -> Any:
    """Return ``model`` with each BatchNormalization folded into the layer it follows.

    The deployed kernel is the folded one: ``w * gamma / sqrt(var + eps)`` per output
    channel. Zeros stay zeros; distinct values and signs do not stay, so whoever counts
    them must count here. A BatchNormalization after anything else stays. Every such layer
    gets a bias, of zeros where it had none; the converter would add one anyway.
    """
    return _rewrite(model, _fold_batchnorm)


def _rewrite(model: Any, change: Callable[[list[Config], Config, Weights], None]) -> Any:
    from converters import keras2

    graph = keras2.keras.Model(model.inputs, model.outputs, name=model.name)
    config = graph.get_config()
    weights: Weights = {layer.name: layer.get_weights() for layer in graph.layers}
    change(config["layers"], config, weights)
    with keras2.tfmot.quantization.keras.quantize_scope():
        fresh = keras2.keras.Model.from_config(config)
    for layer in fresh.layers:
        layer.set_weights(weights[layer.name])
    fresh.trainable = True
    return keras2.compile_like(fresh, model)


def _split_separable(layers: list[Config], config: Config, weights: Weights) -> None:
    for at in reversed(range(len(layers))):
        old = layers[at]
        if old["class_name"] != "SeparableConv2D" or len(old["inbound_nodes"]) != 1:
            continue
        settings, name = old["config"], old["name"]
        first = f"{name}_depthwise"
        depth, point, *bias = weights.pop(name)
        weights[first], weights[name] = [depth], [point, *bias]
        shared = ("trainable", "dtype", "data_format")
        common = {key: settings[key] for key in shared if key in settings}
        spatial = ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier")
        layers[at : at + 1] = [
            {
                "class_name": "DepthwiseConv2D",
                "name": first,
                "config": {"name": first, "use_bias": False}
                | common
                | {key: settings[key] for key in spatial},
                "inbound_nodes": old["inbound_nodes"],
            },
            {
                "class_name": "Conv2D",
                "name": name,
                "config": {"name": name, "kernel_size": (1, 1)}
                | common
                | {key: settings[key] for key in ("filters", "use_bias", "activation")},
                "inbound_nodes": [[[first, 0, 0, {}]]],
            },
        ]


def _fold_batchnorm(layers: list[Config], config: Config, weights: Weights) -> None:
    by_name = {layer["name"]: layer for layer in layers}
    for norm in [layer for layer in layers if "BatchNormalization" in layer["class_name"]]:
        sources = _sources(norm)
        into = by_name.get(sources[0]) if len(sources) == 1 else None
        if into is None or not _foldable(into, norm, layers, config):
            continue
        name = into["name"]
        factor, shift, mean = _affine(norm["config"], weights[norm["name"]])
        kernel, *bias = weights[name]
        scaled = _scale_outputs(into["class_name"], kernel, factor)
        before = bias[0] if bias else np.zeros_like(mean)
        weights[name] = [scaled, (before - mean) * factor + shift]
        into["config"] |= {"use_bias": True, "kernel_regularizer": None}
        into["config"] |= (
            {"depthwise_regularizer": None} if "Depthwise" in into["class_name"] else {}
        )
        layers.remove(norm)
        _rename(layers, config, norm["name"], name)
    for layer in layers:
        if layer["class_name"] in _FOLDS_INTO and not layer["config"].get("use_bias", True):
            layer["config"]["use_bias"] = True
            weights[layer["name"]].append(np.zeros(_outputs(layer, weights), np.float32))


def _foldable(into: Config, norm: Config, layers: list[Config], config: Config) -> bool:
    """Tell whether ``norm`` is the only reader of a linear ``into`` and its last axis."""
    name = into["name"]
    readers = [reader for layer in layers for reader in _sources(layer) if reader == name]
    outputs = [entry[0] for entry in _entries(config["output_layers"])]
    axis = norm["config"]["axis"]
    axis = axis[0] if isinstance(axis, list | tuple) else axis
    last = axis == -1 or (into["class_name"] != "Dense" and axis == _rank(into["class_name"]))
    return (
        into["class_name"] in _FOLDS_INTO
        and into["config"].get("activation") == "linear"
        and into["config"].get("data_format", "channels_last") == "channels_last"
        and len(into["inbound_nodes"]) == 1
        and len(readers) == 1
        and name not in outputs
        and (last or (into["class_name"] == "Dense" and axis == 1))
    )


def _rank(class_name: str) -> int:
    return 2 if class_name == "Conv1D" else 3


def _affine(config: Config, values: list[NDArray[Any]]) -> tuple[Any, Any, Any]:
    """Return (factor, shift, mean) of ``(x - mean) * factor + shift``."""
    left = list(values)
    gamma = left.pop(0) if config["scale"] else 1.0
    beta = left.pop(0) if config["center"] else 0.0
    mean, variance = left
    return gamma / np.sqrt(variance + config["epsilon"]), beta, mean


def _outputs(layer: Config, weights: Weights) -> int:
    """Return how many output channels a layer has, from the shape of its kernel."""
    shape = weights[layer["name"]][0].shape
    if layer["class_name"] == "DepthwiseConv2D":
        return int(shape[2] * shape[3])
    return int(shape[2] if layer["class_name"] == "Conv2DTranspose" else shape[-1])


def _scale_outputs(class_name: str, kernel: Any, factor: Any) -> Any:
    """Return ``kernel`` with each output channel multiplied by its factor."""
    if class_name == "DepthwiseConv2D":  # (h, w, channels, multiplier)
        return kernel * factor.reshape(kernel.shape[2:])
    if class_name == "Conv2DTranspose":  # (h, w, out, in)
        return kernel * factor[:, np.newaxis]
    return kernel * factor  # (..., in, out)


def _entries(nested: Any) -> list[list[Any]]:
    """Return every ``[layer, node, tensor, …]`` reference inside ``nested``."""
    if isinstance(nested, dict):
        return [entry for value in nested.values() for entry in _entries(value)]
    if not isinstance(nested, list | tuple):
        return []
    is_reference = (
        len(nested) >= 3
        and isinstance(nested[0], str)
        and isinstance(nested[1], int)
        and isinstance(nested[2], int)
    )
    if is_reference and isinstance(nested, list):
        return [nested, *_entries(nested[3:])]
    return [entry for value in nested for entry in _entries(value)]


def _sources(layer: Config) -> list[str]:
    return [entry[0] for entry in _entries(layer["inbound_nodes"])]


def _rename(layers: list[Config], config: Config, old: str, new: str) -> None:
    for nested in [layer["inbound_nodes"] for layer in layers] + [config["output_layers"]]:
        for entry in _entries(nested):
            if entry[0] == old:
                entry[0] = new
