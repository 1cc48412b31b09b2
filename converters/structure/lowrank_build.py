"""The model with thin kernels in the place of whole ones; part of the TensorFlow door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.graph.walk import Site, walk
from converters.structure.lowrank_math import factors
from converters.structure.lowrank_plan import Split


def rebuilt(model: Any, chosen: Mapping[str, Split]) -> Any:
    """Return ``model`` with the chosen layers written as thin ones.

    The last of them keeps the layer's name, bias and activation; those before it are
    linear, without bias, and named ``<layer>_thin…``.
    """

    def dense(site: Site) -> Any:
        split = chosen.get(site.layer.name)
        if split is None:
            return None
        first, second, *bias = _parts(site, split)
        thin = site.make("Dense", "thin", [first], units=first.shape[-1], use_bias=False)
        last = site.make(
            "Dense", "", [second, *bias], units=second.shape[-1], **_ending(site.layer)
        )
        return last(thin(site.x))

    def conv(site: Site) -> Any:
        split = chosen.get(site.layer.name)
        if split is None:
            return None
        *parts, last = _places(site, split)
        x = site.x
        for number, (kernel, settings) in enumerate(parts):
            suffix = f"thin{number}" if number else "thin"
            x = _conv(site, suffix, [kernel], use_bias=False, **settings)(x)
        bias = site.layer.get_weights()[1:]
        kernel, settings = last
        return _conv(site, "", [kernel, *bias], **settings, **_ending(site.layer))(x)

    return walk(model, {"Dense": dense, "Conv2D": conv})


def _parts(site: Site, split: Split) -> list[Any]:
    kernel, *bias = site.layer.get_weights()
    return [*factors(kernel, split.method, split.ranks), *bias]


def _places(site: Site, split: Split) -> list[tuple[Any, dict[str, Any]]]:
    """Return each thin kernel with the strides and dilation that are its own."""
    layer = site.layer
    kernel = layer.get_weights()[0]
    parts = factors(kernel, split.method, split.ranks)
    (down, right), (tall, broad) = layer.strides, layer.dilation_rate
    whole = {"strides": layer.strides, "dilation_rate": layer.dilation_rate}
    if split.method == "svd":  # the first takes the places it skips out of the count
        return [(parts[0], {"strides": layer.strides}), (parts[1], {})]
    if split.method == "spatial":
        return [
            (parts[0], {"strides": (down, 1), "dilation_rate": (tall, 1)}),
            (parts[1], {"strides": (1, right), "dilation_rate": (1, broad)}),
        ]
    return [(parts[0], {}), (parts[1], whole), (parts[2], {})]


def _conv(site: Site, suffix: str, weights: list[Any], **settings: Any) -> Any:
    kernel = np.asarray(weights[0])
    return site.make(
        "Conv2D",
        suffix,
        weights,
        filters=kernel.shape[-1],
        kernel_size=kernel.shape[:2],
        padding=site.layer.padding,
        **settings,
    )


def _ending(layer: Any) -> dict[str, Any]:
    return {"use_bias": layer.use_bias, "activation": layer.get_config()["activation"]}
