"""Affine layers folded into their neighbours: what ``x * factor + shift`` costs nothing.

Backwards into the linear layer before, forwards into the one layer behind; what fits
neither becomes a 1x1 depthwise convolution, which every runtime has in int8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.graph.activations import KERNELED
from converters.graph.rewriting import (
    Config,
    WeightsByLayer,
    only_reader,
    remove,
    rewrite,
    sources,
)
from converters.graph.walk import Site, producer, walk

AFFINE = ("BatchNormalization", "SyncBatchNormalization", "Rescaling", "Normalization")
_FORWARD = ("Conv1D", "Conv2D", "DepthwiseConv2D", "Dense")
_PADS = ("ZeroPadding1D", "ZeroPadding2D")
_MADE_FOR_UNFOLDED = ("_regularizer", "_constraint")  # of kernels that are rescaled here
_CHAIN = 4  # affine layers one behind the other, at most


def fold(model: Any) -> Any:
    """Return ``model`` with each affine layer folded, or made a depthwise convolution.

    The deployed kernel is the folded one: ``w * gamma / sqrt(var + eps)`` per output
    channel. Zeros stay zeros; distinct values and signs do not stay, so whoever counts
    them must count here. Scalings between layers that take none of them stay. Every layer
    with a kernel gets a bias, of zeros where it had none; the converter would add one.
    """
    folded = rewrite(model, _fold)
    for _ in range(_CHAIN):
        if not any(_stands_alone(layer) for layer in folded.layers):
            break
        folded = rewrite(walk(folded, dict.fromkeys(AFFINE, _depthwise)), _fold)
    return folded


def _fold(layers: list[Config], config: Config, weights: WeightsByLayer) -> None:
    by_name = {layer["name"]: layer for layer in layers}
    for layer in [layer for layer in layers if layer["class_name"] in AFFINE]:
        read = sources(layer)
        into = by_name.get(read[0]) if len(read) == 1 else None
        line = _line(layer["class_name"], layer["config"], weights[layer["name"]])
        if line is None or into is None or not _folds_back(into, layer, layers, config):
            continue
        name, (factor, shift) = into["name"], line
        kernel, *bias = weights[name]
        count = _outputs(into["class_name"], kernel)
        factor, shift = np.broadcast_to(factor, count), np.broadcast_to(shift, count)
        before = bias[0] if bias else np.zeros(count)
        folded = _scale_outputs(into["class_name"], kernel, factor)
        weights[name] = [folded, before * factor + shift]
        into["config"]["use_bias"] = True
        remove(layers, config, layer, name)
    for layer in reversed([layer for layer in layers if layer["class_name"] in AFFINE]):
        _fold_forward(layer, layers, config, weights)
    for layer in layers:
        if layer["class_name"] not in KERNELED:
            continue
        settings = layer["config"]
        settings |= {key: None for key in settings if key.endswith(_MADE_FOR_UNFOLDED)}
        if not settings["use_bias"]:
            settings["use_bias"] = True
            count = _outputs(layer["class_name"], weights[layer["name"]][0])
            weights[layer["name"]].append(np.zeros(count, np.float32))


def _line(
    kind: str, config: Config, values: list[NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return (factor, shift) of ``x * factor + shift``, one number or one per channel."""
    if kind == "Rescaling":
        scale = np.asarray(config["scale"], np.float64)
        offset = np.asarray(config["offset"], np.float64)
        return None if max(scale.ndim, offset.ndim) > 1 else (scale, offset)
    if kind == "Normalization":
        mean, variance = config["mean"], config["variance"]
        if mean is None:
            mean, variance = values[0], values[1]
        mean, variance = np.ravel(mean), np.ravel(variance)
        if config.get("invert"):
            return None
        factor = 1 / np.maximum(np.sqrt(variance.astype(np.float64)), 1e-7)  # K.epsilon()
        return factor, -mean * factor
    left = list(values)
    gamma = left.pop(0) if config["scale"] else np.ones_like(left[-1])
    beta = left.pop(0) if config["center"] else np.zeros_like(left[-1])
    mean, variance = left
    factor = gamma / np.sqrt(variance + config["epsilon"])
    return factor, beta - mean * factor


def _folds_back(into: Config, layer: Config, layers: list[Config], config: Config) -> bool:
    """Tell whether ``layer`` is the only reader of a linear ``into``, on its last axis."""
    rank = {"Conv1D": 2, "Dense": 1}.get(into["class_name"], 3)
    return (
        into["class_name"] in KERNELED
        and into["config"].get("activation") == "linear"
        and into["config"].get("data_format", "channels_last") == "channels_last"
        and len(into["inbound_nodes"]) == 1
        and len(layer["inbound_nodes"]) == 1
        and only_reader(into["name"], layers, config) is layer
        and _axis(layer) in (-1, rank)
    )


def _axis(layer: Config) -> int:
    axis = layer["config"].get("axis", -1)
    axis = axis[0] if isinstance(axis, list | tuple) and axis else axis
    shape = (layer.get("build_config") or {}).get("input_shape") or ()
    if axis is None or not isinstance(axis, int) or axis == len(shape) - 1:
        return -1
    return axis


def _fold_forward(
    layer: Config, layers: list[Config], config: Config, weights: WeightsByLayer
) -> None:
    """Fold ``layer`` into the kernel that reads it, through zero padding if it moves none."""
    line = _line(layer["class_name"], layer["config"], weights[layer["name"]])
    into = only_reader(layer["name"], layers, config)
    if line is None or len(layer["inbound_nodes"]) != 1:
        return
    factor, shift = line
    still = not np.any(shift)
    while into is not None and still and into["class_name"] in _PADS:
        into = only_reader(into["name"], layers, config)
    if into is None or into["class_name"] not in _FORWARD or len(into["inbound_nodes"]) != 1:
        return
    settings, (kernel, *bias) = into["config"], weights[into["name"]]
    exact = settings.get("padding", "valid") == "valid" or still
    depthwise = into["class_name"] == "DepthwiseConv2D"
    channels = kernel.shape[2] if depthwise else kernel.shape[-2]
    last = _axis(layer) == -1 or (
        np.size(factor) == channels and _axis(layer) == kernel.ndim - 1
    )
    plain = settings.get("groups", 1) == 1 and settings.get("data_format") != "channels_first"
    if not (exact and plain and last) or channels % max(np.size(factor), np.size(shift)):
        return
    if max(np.size(factor), np.size(shift)) not in (1, channels):
        return
    column = (np.broadcast_to(part, channels)[:, np.newaxis] for part in (factor, shift))
    factor, shift = column
    moved = (kernel * shift).reshape(-1, *kernel.shape[-2:])
    moved = moved.sum(0).ravel() if depthwise else moved.sum((0, 1))
    weights[into["name"]] = [kernel * factor, moved + (bias[0] if bias else 0.0)]
    settings["use_bias"] = True
    remove(layers, config, layer, sources(layer)[0])


def _outputs(kind: str, kernel: NDArray[Any]) -> int:
    """Return how many output channels a kernel has."""
    if kind == "DepthwiseConv2D":
        return int(kernel.shape[2] * kernel.shape[3])
    return int(kernel.shape[2] if kind == "Conv2DTranspose" else kernel.shape[-1])


def _scale_outputs(kind: str, kernel: Any, factor: Any) -> Any:
    """Return ``kernel`` with each output channel multiplied by its factor."""
    if kind == "DepthwiseConv2D":  # (h, w, channels, multiplier)
        return kernel * factor.reshape(kernel.shape[2:])
    if kind == "Conv2DTranspose":  # (h, w, out, in)
        return kernel * factor[:, np.newaxis]
    return kernel * factor  # (..., in, out)


def _stands_alone(layer: Any) -> bool:
    """Tell whether an affine layer is worth a convolution of its own.

    A scaling by one number is left where it is, unless it is the input's.
    """
    kind = type(layer).__name__
    if kind not in AFFINE or len(layer.inbound_nodes) != 1 or isinstance(layer.input, list):
        return False
    shape, before = tuple(layer.input.shape), producer(layer.input)
    if None in shape[1:] or len(shape) > 4 or type(before).__name__ in AFFINE:
        return False
    axis = _axis({"config": layer.get_config()})
    if axis not in (-1, len(shape) - 1):
        return False
    if _line(kind, layer.get_config(), layer.get_weights()) is None:
        return False
    first = type(before).__name__ == "InputLayer" and len(shape) == 4
    return kind != "Rescaling" or first


def _depthwise(site: Site) -> Any:
    if not _stands_alone(site.layer):
        return None
    config, x = site.layer.get_config(), site.x
    line = _line(type(site.layer).__name__, config, site.layer.get_weights())
    if line is None:
        return None
    sizes = tuple(x.shape[1:])
    factor, shift = (np.broadcast_to(part, sizes[-1]) for part in line)
    if len(sizes) < 3:
        square = (*sizes[:-1], *(1,) * (3 - len(sizes)), sizes[-1])
        x = site.make("Reshape", "square", target_shape=square)(x)
    weights = [factor.reshape(1, 1, -1, 1), shift]
    x = site.make("DepthwiseConv2D", "affine", weights, kernel_size=1)(x)
    return x if len(sizes) == 3 else site.make("Reshape", "back", target_shape=sizes)(x)
