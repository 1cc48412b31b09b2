"""Layers over depth as 2-D layers that read all depths at once.

The converter has no int8 form of CONV_3D or of a pool over depth.
"""

from __future__ import annotations

from typing import Any

from converters.graph.distributed import area, pool_of
from converters.graph.walk import RewriteRule, Site


def _conv3d(site: Site) -> Any:
    """Return a Conv2D that reads the depths of its kernel side by side as channels."""
    layer, x = site.layer, site.x
    (stride, *strides), (gap, *gaps) = layer.strides, layer.dilation_rate
    kernel, *bias = layer.get_weights()
    plain = stride == 1 and layer.groups == 1 and layer.data_format == "channels_last"
    if x is None or not plain or None in x.shape[1:]:
        return None
    deep, reach = kernel.shape[0], (kernel.shape[0] - 1) * gap
    if layer.padding == "same" and reach:
        ends = ((reach // 2, reach - reach // 2), (0, 0), (0, 0))
        x = site.make("ZeroPadding3D", "ends", padding=ends)(x)
    beside = [
        site.make("Cropping3D", f"from_{at}", cropping=((at, reach - at), (0, 0), (0, 0)))(x)
        for at in range(0, reach + 1, gap)
    ]
    x = site.make("Concatenate", "beside")(beside) if deep > 1 else x
    flat = kernel.transpose(1, 2, 0, 3, 4).reshape(*kernel.shape[1:3], -1, kernel.shape[-1])
    return site.make(
        "Conv2D",
        "",
        [flat, *bias],
        filters=kernel.shape[-1],
        kernel_size=kernel.shape[1:3],
        strides=strides,
        dilation_rate=gaps,
        padding=layer.padding,
        use_bias=bool(bias),
        activation=layer.get_config()["activation"],
    )(x)


def _pool3d(site: Site) -> Any:
    """Return a pool over each image, then one over depth: boxes are taken side by side."""
    layer, x = site.layer, site.x
    if x is None or None in x.shape[1:] or layer.data_format != "channels_last":
        return None
    kind = f"{pool_of(type(layer).__name__)}Pooling2D"
    (deep, *size), (step, *strides) = layer.pool_size, layer.strides
    flat = {"pool_size": size, "strides": strides, "padding": layer.padding}
    y = area(site, kind, x, "", flat)
    count, high, wide, last = y.shape[1:]
    y = site.make("Reshape", "depths", target_shape=(count, high * wide, last))(y)
    flat |= {"pool_size": (deep, 1), "strides": (step, 1)}
    y = site.make(kind, "deep", **flat)(y)
    return site.make("Reshape", "boxes", target_shape=(y.shape[1], high, wide, last))(y)


def _global3d(site: Site) -> Any:
    layer, x = site.layer, site.x
    if x is None or None in x.shape[1:] or layer.data_format != "channels_last":
        return None
    deep, high, wide, last = x.shape[1:]
    flat = site.make("Reshape", "flat", target_shape=(deep * high, wide, last))(x)
    kind = f"Global{pool_of(type(layer).__name__)}Pooling2D"
    y = site.make(kind, "")(flat)
    return site.make("Reshape", "box", target_shape=(1, 1, 1, last))(y) if layer.keepdims else y


RULES: dict[str, RewriteRule] = {
    "AveragePooling3D": _pool3d,
    "Conv3D": _conv3d,
    "GlobalAveragePooling3D": _global3d,
    "GlobalMaxPooling3D": _global3d,
    "MaxPooling3D": _pool3d,
}
