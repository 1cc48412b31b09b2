"""Tiny blocks over images one behind the other: 3-D layers and TimeDistributed ones."""

from __future__ import annotations

from typing import Any

from tests.converters.zoo import VOLUME, Row, chain, layer, rows, wrapped


def _each_frame(k: Any, x: Any) -> Any:
    """Return a small net over each image of a series, and a recurrent layer behind."""
    net = k.Sequential(
        [
            k.layers.Conv2D(4, 3, padding="same"),
            k.layers.BatchNormalization(),
            k.layers.ELU(),
            k.layers.MaxPooling2D(),
            k.layers.Conv2D(6, 1, activation="relu"),
            k.layers.GlobalAveragePooling2D(),
        ]
    )
    return k.layers.LSTM(4)(k.layers.TimeDistributed(net)(x))


_BN = layer("BatchNormalization")
_RELU = layer("ReLU")

VOLUMES: tuple[Row, ...] = (
    *rows(
        "dense and convolution",
        VOLUME,
        {
            "Conv3D": layer("Conv3D", 4, 3),
            "Conv3D same": layer("Conv3D", 4, 3, padding="same", strides=(1, 2, 2)),
            "Conv3D + BatchNormalization": chain(layer("Conv3D", 4, (2, 3, 3)), _BN, _RELU),
            "Conv3DTranspose": layer("Conv3DTranspose", 4, 2),
            "TimeDistributed(Conv2D)": wrapped("TimeDistributed", "Conv2D", 4, 3),
            "TimeDistributed(net)": _each_frame,
        },
    ),
    *rows(
        "pooling",
        VOLUME,
        {
            "MaxPooling3D": layer("MaxPooling3D"),
            "AveragePooling3D": layer("AveragePooling3D"),
            "MaxPooling3D overlapping": layer("MaxPooling3D", 3, 2, "same"),
            "GlobalMaxPooling3D": layer("GlobalMaxPooling3D"),
            "GlobalAveragePooling3D": layer("GlobalAveragePooling3D"),
            "TimeDistributed(MaxPooling2D)": wrapped("TimeDistributed", "MaxPooling2D"),
        },
    ),
)
