"""Rules for Keras layers that have an exact form in layers which every stage knows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from converters.graph.activations import activation, name_of
from converters.graph.walk import RewriteRule, Site


def identity(site: Site) -> Any:
    """Leave out a layer that does nothing at inference."""
    return site.args[0]


def _settings(layer: Any, *names: str) -> dict[str, Any]:
    config = layer.get_config()
    return {name: config[name] for name in names}


def _finish(site: Site, x: Any) -> Any:
    """Return ``x`` with the activation of the old layer, as a layer where it is rare."""
    name = name_of(site.layer.activation)
    return x if name == "linear" else activation(site, name, x, "activation")


def _separable2d(site: Site) -> Any:
    layer = site.layer
    spatial = ("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier")
    depth, point, *bias = layer.get_weights()
    common = _settings(layer, "data_format")
    first = site.make(
        "DepthwiseConv2D",
        "depthwise",
        [depth],
        use_bias=False,
        **common,
        **_settings(layer, *spatial),
    )
    second = site.make(
        "Conv2D",
        "",
        [point, *bias],
        kernel_size=1,
        **common,
        **_settings(layer, "filters", "use_bias"),
    )
    return _finish(site, second(first(site.x)))


def _flat(site: Site, x: Any, kernel: Any, bias: list[Any], suffix: str) -> Any:
    """Return a 1-D depthwise convolution of ``x`` as a 2-D one of height 1."""
    layer, (step,), (gap,) = site.layer, site.layer.strides, site.layer.dilation_rate
    wide = site.make("Reshape", f"{suffix}wide", target_shape=(1, *x.shape[1:]))(x)
    made = site.make(
        "DepthwiseConv2D",
        f"{suffix}depthwise",
        [kernel[np.newaxis], *bias],
        kernel_size=(1, layer.kernel_size[0]),
        strides=step,
        dilation_rate=(1, gap),
        padding=layer.padding,
        depth_multiplier=layer.depth_multiplier,
        use_bias=bool(bias),
    )(wide)
    return site.make("Reshape", f"{suffix}narrow", target_shape=made.shape[2:])(made)


def _depthwise1d(site: Site) -> Any:
    if site.layer.padding == "causal" or site.layer.data_format != "channels_last":
        return None
    kernel, *bias = site.layer.get_weights()
    return _finish(site, _flat(site, site.x, kernel, bias, ""))


def _separable1d(site: Site) -> Any:
    layer = site.layer
    if layer.padding == "causal" or layer.data_format != "channels_last":
        return None
    depth, point, *bias = layer.get_weights()
    x = _flat(site, site.x, depth, [], "")
    point_wise = site.make(
        "Conv1D",
        "",
        [point, *bias],
        kernel_size=1,
        **_settings(layer, "filters", "use_bias"),
    )
    return _finish(site, point_wise(x))


def _transposed1d(site: Site) -> Any:
    layer = site.layer
    if layer.data_format != "channels_last" or layer.output_padding is not None:
        return None
    kernel, *bias = layer.get_weights()
    x = site.make("Reshape", "wide", target_shape=(1, *site.x.shape[1:]))(site.x)
    x = site.make(
        "Conv2DTranspose",
        "",
        [kernel[np.newaxis], *bias],
        filters=layer.filters,
        kernel_size=(1, layer.kernel_size[0]),
        strides=(1, layer.strides[0]),
        dilation_rate=(1, layer.dilation_rate[0]),
        padding=layer.padding,
        use_bias=layer.use_bias,
    )(x)
    return _finish(site, site.make("Reshape", "narrow", target_shape=x.shape[2:])(x))


def _spectral(site: Site) -> Any:
    """Return the inner layer: after training its kernel is the normalized one."""
    inner = site.layer.layer
    settings = inner.get_config()
    settings.pop("name")
    return site.make(type(inner), "", inner.get_weights(), **settings)(site.x)


def _einsum(site: Site) -> Any:
    """Return a Dense layer where the last axes of the input meet the first of the kernel."""
    layer, x = site.layer, site.x
    left, right = layer.equation.replace(" ", "").replace("...", "").split("->")
    first, kernel = left.split(",")
    summed = "".join(letter for letter in kernel if letter not in right)
    made = kernel[len(summed) :]
    kept = first[: len(first) - len(summed)]
    outer = tuple(x.shape[1:])[: len(x.shape) - 1 - len(summed)]
    if first != kept + summed or kernel != summed + made or right != kept + made:
        return None
    if not summed or not made or None in outer:
        return None
    values, *bias = layer.get_weights()
    axes = layer.get_config()["bias_axes"] or ""
    if bias and not set(axes) <= set(made):
        return None
    shape = values.shape[len(summed) :]
    if bias:
        spread = [
            size if letter in axes else 1 for letter, size in zip(made, shape, strict=True)
        ]
        bias = [np.broadcast_to(bias[0].reshape(spread), shape).ravel()]
    units, inner = math.prod(shape), math.prod(values.shape[: len(summed)])
    if len(summed) > 1:
        x = site.make("Reshape", "flat", target_shape=(*outer, inner))(x)
    weights = [values.reshape(inner, units), *bias]
    x = site.make("Dense", "", weights, units=units, use_bias=bool(bias))(x)
    if len(made) > 1:
        x = site.make("Reshape", "apart", target_shape=(*outer, *shape))(x)
    return _finish(site, x)


def _random_crop(site: Site) -> Any:
    sizes = _settings(site.layer, "height", "width")
    return site.make("Resizing", crop_to_aspect_ratio=True, **sizes)(site.x)


def _group_norm(site: Site) -> Any:
    """Return a layer norm over each group, laid out one behind the other, and a scale."""
    layer, x = site.layer, site.x
    sizes = tuple(x.shape[1:])
    if layer.axis not in (-1, len(sizes)) or None in sizes or len(sizes) != 3:
        return None
    groups = sizes[-1] if layer.groups == -1 else layer.groups
    each, area = sizes[-1] // groups, math.prod(sizes[:-1])
    x = site.make("Reshape", "apart", target_shape=(area, groups, each))(x)
    x = site.make("Permute", "first", dims=(2, 1, 3))(x)
    x = site.make("Reshape", "rows", target_shape=(groups, area * each))(x)
    x = site.make(
        "LayerNormalization", "", [], epsilon=layer.epsilon, center=False, scale=False
    )(x)
    x = site.make("Reshape", "back", target_shape=(groups, area, each))(x)
    x = site.make("Permute", "last", dims=(2, 1, 3))(x)
    x = site.make("Reshape", "whole", target_shape=sizes)(x)
    left = layer.get_weights()
    gamma = left.pop(0) if layer.scale else np.ones(sizes[-1])
    beta = left.pop(0) if layer.center else np.zeros(sizes[-1])
    weights = [gamma.reshape(1, 1, -1, 1), beta]
    return site.make("DepthwiseConv2D", "scale", weights, kernel_size=1)(x)


_AUGMENTING = ("Brightness", "Contrast", "Flip", "Rotation", "Translation", "Zoom")
_TRAINING_ONLY = ("ActivityRegularization", "AlphaDropout", "GaussianDropout", "GaussianNoise")

RULES: dict[str, RewriteRule] = {
    **{f"Random{kind}": identity for kind in _AUGMENTING},
    **dict.fromkeys(_TRAINING_ONLY, identity),
    "Conv1DTranspose": _transposed1d,
    "DepthwiseConv1D": _depthwise1d,
    "EinsumDense": _einsum,
    "GroupNormalization": _group_norm,
    "RandomCrop": _random_crop,
    "SeparableConv1D": _separable1d,
    "SeparableConv2D": _separable2d,
}
#: Wrappers that come off first, so that what was inside meets the rules above.
UNWRAPPING: dict[str, RewriteRule] = {"SpectralNormalization": _spectral}
