"""TimeDistributed layers as layers over all steps at once.

Convolutions of tf_keras take more axes before the image, so one Conv2D serves every step of
a series; the converter makes a reshape and a CONV_2D of it.
"""

from __future__ import annotations

from math import prod
from typing import Any

from converters.graph.rewriting import Config
from converters.graph.walk import RewriteRule, Site

#: What works alike on any leading axes.
_LAST_AXIS = ("Activation", "Dense", "Dropout", "ELU", "LeakyReLU", "ReLU", "Softmax")
_NORMS = ("BatchNormalization", "LayerNormalization")
_CONVS = ("Conv1D", "Conv2D")


def _time_distributed(site: Site) -> Any:
    """Return the inner layer, or each of an inner Sequential, over all steps at once."""
    from converters.keras2 import keras

    inner, x = site.layer.layer, site.x
    if x is None or None in x.shape[1:]:
        return None
    if any(value is not None for key, value in site.kwargs.items() if key != "training"):
        return None
    if not isinstance(inner, keras.Sequential):
        return _all_steps(site, inner, x, "")
    for layer in inner.layers:
        x = _all_steps(site, layer, x, layer.name)
        if x is None:
            return None
    return x


def _all_steps(site: Site, layer: Any, x: Any, name: str) -> Any:
    """Return ``layer`` called on each step of ``x``, None if it has no such form."""
    kind, settings = type(layer).__name__, layer.get_config()
    if settings.get("data_format", "channels_last") != "channels_last":
        return None
    for given in ("name", "batch_input_shape"):
        settings.pop(given, None)
    if kind in _NORMS:
        axis = settings["axis"]
        axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
        if axis not in (-1, len(x.shape) - 2):  # of one step
            return None
        settings["axis"] = -1
    if kind == "Softmax" and settings["axis"] != -1:
        return None
    if kind in (*_LAST_AXIS, *_NORMS, *_CONVS):
        return site.make(type(layer), name, layer.get_weights(), **settings)(x)
    return _shaped(site, layer, x, name)


def _shaped(site: Site, layer: Any, x: Any, name: str) -> Any:
    """Return a layer without weights called on each step of ``x``, None if it has no form."""
    kind, step = type(layer).__name__, f"{name}_" if name else ""
    if kind in ("Flatten", "Reshape"):
        sizes = layer.compute_output_shape((None, *x.shape[2:]))[1:]
        return site.make("Reshape", name, target_shape=(x.shape[1], *sizes))(x)
    if kind.startswith("Global") and kind[-2:] in ("1D", "2D"):
        pooled = whole(site, pool_of(kind), x, step)
        ones = (1,) * (len(x.shape) - 3) if layer.keepdims else ()
        sizes = (x.shape[1], *ones, x.shape[-1])
        return site.make("Reshape", f"{step}each", target_shape=sizes)(pooled)
    if kind in ("AveragePooling1D", "AveragePooling2D", "MaxPooling1D", "MaxPooling2D"):
        settings = layer.get_config()
        pool = {key: settings[key] for key in ("pool_size", "strides", "padding")}
        return area(site, kind, x, step, pool)
    return None


def pool_of(kind: str) -> str:
    """Return how a kind of pooling layer names what it takes of an area."""
    return "Average" if "Average" in kind else "Max"


def whole(site: Site, pool: str, x: Any, step: str) -> Any:
    """Return ``(T, 1, C)``: everything between the first axis and the last in one pool."""
    first, *rest, last = x.shape[1:]
    flat = site.make("Reshape", f"{step}flat", target_shape=(first, prod(rest), last))(x)
    return site.make(f"{pool}Pooling2D", f"{step}pool", pool_size=(1, prod(rest)))(flat)


def area(site: Site, kind: str, x: Any, step: str, pool: Config) -> Any:
    """Return the areas of each image of ``x`` pooled, images one below the other.

    Where areas would reach into the next image, images lie side by side as channels.
    """
    count, *image, last = x.shape[1:]
    size, stride = pool["pool_size"][0], pool["strides"][0]
    made = site.make(kind, f"{step}pool", **pool)
    if size == stride and image[0] % size == 0:
        tall = (count * image[0], *image[1:], last)
        y = made(site.make("Reshape", f"{step}tall", target_shape=tall)(x))
        each = (count, image[0] // size, *y.shape[2:])
        return site.make("Reshape", f"{step}each", target_shape=each)(y)
    rank = len(image)
    behind = (*range(2, 2 + rank), 1, 2 + rank)
    y = site.make("Permute", f"{step}behind", dims=behind)(x)
    y = site.make("Reshape", f"{step}wide", target_shape=(*image, count * last))(y)
    y = made(y)
    each = (*y.shape[1:-1], count, last)
    y = site.make("Reshape", f"{step}each", target_shape=each)(y)
    ahead = (rank + 1, *range(1, rank + 1), rank + 2)
    return site.make("Permute", f"{step}ahead", dims=ahead)(y)


RULES: dict[str, RewriteRule] = {"TimeDistributed": _time_distributed}
