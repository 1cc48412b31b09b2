"""Whole nets of tf_keras.applications, small inputs, random weights."""

from __future__ import annotations

from typing import Any

from tests.converters.zoo import Block, Row

_SIZE = (32, 32, 3)


def _net(name: str, **settings: Any) -> Block:
    def run(k: Any, x: Any) -> Any:
        make = getattr(k.applications, name)
        net = make(input_tensor=x, weights=None, include_top=False, pooling="avg", **settings)
        return net.output

    return run


_NAMES: dict[str, dict[str, Any]] = {
    "MobileNet": {"alpha": 0.25},
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Small": {"alpha": 0.75, "minimalistic": False},
    "MobileNetV3Large": {"alpha": 0.75},
    "EfficientNetB0": {},
    "EfficientNetV2B0": {},
    "DenseNet121": {},
    "ResNet50": {},
}
NETS: tuple[Row, ...] = tuple(
    ("whole net", name, _SIZE, _net(name, **settings)) for name, settings in _NAMES.items()
)
