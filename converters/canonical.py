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

#: Activations that TFMOT trains as part of a layer; others become a layer of their own.
FUSED = ("linear", "relu", "swish", "gelu", "softmax", "sigmoid", "tanh")
_MADE_FOR_UNFOLDED = ("_regularizer", "_constraint")  # of kernels that are rescaled here
_FOLDS_INTO = ("Conv2D", "DepthwiseConv2D", "Conv2DTranspose", "Conv1D", "Dense")


def simplify(model: Any) -> Any:
    """Return ``model`` without nested models, separable layers and rare fused activations.

    TFMOT refuses nested models, splits separable layers where their weights' names are
    lost, and refuses a whole layer for an activation that it does not know.
    """
    flat = inline(model)
    flat = _rewrite(flat, _split_separable)
    return _rewrite(flat, _split_activations)


def fold_batchnorm(model: Any) -> Any:
    """Return ``model`` with each BatchNormalization folded into the layer it follows.

    The deployed kernel is the folded one: ``w * gamma / sqrt(var + eps)`` per output
    channel. Zeros stay zeros; distinct values and signs do not stay, so whoever counts
    them must count here. A BatchNormalization after anything else stays. Every such layer
    gets a bias, of zeros where it had none; the converter would add one anyway.
    """
    return _rewrite(model, _fold_batchnorm)


def inline(model: Any) -> Any:
    """Return ``model`` with the layers of nested models in their place, or ``model``.

    A layer whose name is taken gets its model's name in front.
    """
    from converters import keras2

    keras, tf = keras2.keras, keras2.tf
    if not any(isinstance(layer, keras.Model) for layer in model.layers):
        return model
    twins: dict[int, Any] = {}
    taken: set[str] = set()

    def twin(layer: Any, prefix: str) -> Any:
        if id(layer) not in twins:
            name = layer.name if layer.name not in taken else f"{prefix}_{layer.name}"
            taken.add(name)
            twins[id(layer)] = type(layer).from_config(layer.get_config() | {"name": name})
        return twins[id(layer)]

    def run(part: Any, inputs: list[Any]) -> list[Any]:
        known = {id(old): new for old, new in zip(part.inputs, inputs, strict=True)}
        nodes = part._nodes_by_depth  # depth falls from the inputs to the outputs
        for node in [node for depth in sorted(nodes, reverse=True) for node in nodes[depth]]:
            if node.is_input:
                continue
            called = (node.call_args, node.call_kwargs)
            flat = [known.get(id(value), value) for value in tf.nest.flatten(called)]
            args, kwargs = tf.nest.pack_sequence_as(called, flat)
            if isinstance(node.layer, keras.Model):
                made = run(node.layer, tf.nest.flatten(args))
            else:
                made = tf.nest.flatten(twin(node.layer, part.name)(*args, **kwargs))
            known |= dict(zip(map(id, tf.nest.flatten(node.outputs)), made, strict=True))
        return [known[id(old)] for old in part.outputs]

    inputs = [
        keras.Input(old.shape[1:], dtype=old.dtype, name=old.name) for old in model.inputs
    ]
    flat = keras.Model(inputs, run(model, inputs), name=model.name)
    for layer in _leaves(model):
        if id(layer) in twins:
            twins[id(layer)].set_weights(layer.get_weights())
    return keras2.compile_like(flat, model)


def _leaves(model: Any) -> list[Any]:
    """Return the layers of ``model`` and of the models in it."""
    found = []
    for layer in model.layers:
        found += _leaves(layer) if hasattr(layer, "layers") else [layer]
    return found


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


def _split_activations(layers: list[Config], config: Config, weights: Weights) -> None:
    for at in reversed(range(len(layers))):
        name, settings = layers[at]["name"], layers[at]["config"]
        known = settings.get("activation") in FUSED
        if layers[at]["class_name"] not in _FOLDS_INTO or known:
            continue
        if len(layers[at]["inbound_nodes"]) != 1:
            continue
        after = f"{name}_activation"
        _rename(layers, config, name, after)
        layers.insert(
            at + 1,
            {
                "class_name": "Activation",
                "name": after,
                "config": {"name": after, "activation": settings["activation"]},
                "inbound_nodes": [[[name, 0, 0, {}]]],
            },
        )
        settings["activation"] = "linear"
        weights[after] = []


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
        into["config"]["use_bias"] = True
        layers.remove(norm)
        _rename(layers, config, norm["name"], name)
    for layer in layers:
        if layer["class_name"] not in _FOLDS_INTO:
            continue
        settings = layer["config"]
        settings |= {key: None for key in settings if key.endswith(_MADE_FOR_UNFOLDED)}
        if not settings["use_bias"]:
            settings["use_bias"] = True
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
