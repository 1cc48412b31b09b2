"""The nets and data of ``benchmarks/structured.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import real_data

from converters.draft import Samples

_BLOCKS = ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1))


def mobile(width: float = 1.0) -> Any:
    """Return a MobileNet-like net for 64x64 cells; 7.3 M multiply-accumulates at width 1."""
    from converters.keras2 import keras

    def wide(filters: int) -> int:
        return max(8, round(filters * width / 8) * 8)

    def norm(x: Any) -> Any:
        return keras.layers.ReLU(6.0)(keras.layers.BatchNormalization(momentum=0.9)(x))

    at, plain = keras.layers, {"padding": "same", "use_bias": False}
    inputs = keras.Input((64, 64, 3))
    x = norm(at.Conv2D(wide(16), 3, strides=2, **plain)(inputs))
    for filters, strides in _BLOCKS:
        x = norm(at.DepthwiseConv2D(3, strides=strides, **plain)(x))
        x = norm(at.Conv2D(wide(filters), 1, **plain)(x))
    x = at.Dropout(0.2)(at.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, at.Dense(2)(x), name="mobile")


def resnet8(width: float = 1.0) -> Any:
    """Return the published ResNet-8 of MLPerf Tiny, trained; a narrower one is not."""
    from converters.keras2 import keras
    from converters.reading.loading import load

    path = "mlperf_tiny/image_classification/pretrainedResnet.h5"
    whole = load(real_data.ROOT / path).model
    if width == 1:
        return whole

    def narrow(layer: Any) -> Any:
        words = layer.get_config()
        if "filters" in words:
            words["filters"] = max(4, round(words["filters"] * width / 4) * 4)
        return type(layer).from_config(words)

    return keras.models.clone_model(whole, clone_function=narrow)


def cells() -> Samples:
    """Return the malaria cells, 64x64 RGB in [0, 1], split by patient."""
    return Samples(**real_data.cells())


def pictures() -> Samples:
    """Return CIFAR-10 images; 247 lossless ones judge."""
    return Samples(**real_data.cifar10())


#: net, data, epochs the baseline gets (0: it comes trained)
NETS: dict[str, tuple[Callable[..., Any], Callable[[], Samples], int]] = {
    "malaria": (mobile, cells, 16),
    "resnet8": (resnet8, pictures, 0),
}
