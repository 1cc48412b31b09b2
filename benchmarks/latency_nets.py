"""The architectures whose latencies are published, made again with random weights.

A count does not depend on weights. 1001 classes as their authors have; 5 for the "flowers"
and 96-pixel ones of STMicroelectronics' model zoo; the ResNets are those of MLPerf Tiny (8)
and its deeper form (32) for CIFAR-100.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Net(NamedTuple):
    """The edge and channels of an input image, and what makes the Keras model."""

    size: int
    channels: int
    make: Callable[[], Any]


def keras() -> Any:
    """Return tf_keras, the Keras that the converter takes."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tf_keras

    return tf_keras


def _v1(alpha: float, size: int, classes: int = 1001, channels: int = 3) -> Net:
    shape = (size, size, channels)
    return Net(size, channels, lambda: keras().applications.MobileNet(
        shape, alpha, weights=None, classes=classes))  # fmt: skip


def _v2(alpha: float, size: int, classes: int = 1001) -> Net:
    return Net(size, 3, lambda: keras().applications.MobileNetV2(
        (size, size, 3), alpha, weights=None, classes=classes))  # fmt: skip


def _v3(kind: str, alpha: float = 1.0, *, minimalistic: bool = False) -> Net:
    return Net(224, 3, lambda: getattr(keras().applications, f"MobileNetV3{kind}")(
        (224, 224, 3), alpha, minimalistic=minimalistic, weights=None,
        include_preprocessing=False, classes=1001))  # fmt: skip


def _resnet(blocks: int, classes: int) -> Net:
    def make() -> Any:
        layers = keras().layers

        def conv(x: Any, filters: int, kernel: int, stride: int, *, relu: bool = True) -> Any:
            x = layers.Conv2D(filters, kernel, stride, padding="same")(x)
            x = layers.BatchNormalization()(x)
            return layers.ReLU()(x) if relu else x

        image = layers.Input((32, 32, 3))
        x, filters = conv(image, 16, 3, 1), 16
        for stage in range(3):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                y = conv(conv(x, filters, 3, stride), filters, 3, 1, relu=False)
                if stride == 2:
                    x = layers.Conv2D(filters, 1, stride, padding="same")(x)
                x = layers.ReLU()(layers.Add()([x, y]))
            filters *= 2
        x = layers.Flatten()(layers.AveragePooling2D(8)(x))
        return keras().Model(image, layers.Dense(classes, activation="softmax")(x))

    return Net(32, 3, make)


_V2 = ("1.3_224", "1.0_192", "0.75_192", "0.75_128", "0.75_96", "0.5_128", "0.5_96",
       "0.35_224", "0.35_192", "0.35_128")  # fmt: skip
NETS: Mapping[str, Net] = {
    "mobilenet_v1_0.25_128": _v1(0.25, 128),
    "mobilenet_v1_0.5_160": _v1(0.5, 160),
    "mobilenet_v1_0.75_192": _v1(0.75, 192),
    "mobilenet_v1_1.0_224": _v1(1.0, 224),
    "mobilenet_v1_0.25_96": _v1(0.25, 96, 5),
    "mobilenet_v1_0.25_96_gray": _v1(0.25, 96, 5, 1),
    "mobilenet_v1_0.25_224": _v1(0.25, 224, 5),
    "mobilenet_v2_1.0_224": _v2(1.0, 224),
    **{f"mobilenet_v2_{n}": _v2(float(n.split("_")[0]), int(n.split("_")[1])) for n in _V2},
    "mobilenet_v2_0.35_128_flowers": _v2(0.35, 128, 5),
    "mobilenet_v3_large_224": _v3("Large"),
    "mobilenet_v3_small_224": _v3("Small"),
    "mobilenet_v3_small_0.75_224": _v3("Small", 0.75),
    "mobilenet_v3_small_minimalistic_224": _v3("Small", minimalistic=True),
    "resnet_v1_8_32": _resnet(1, 10),
    "resnet_v1_32_32": _resnet(5, 100),
}


def convert(net: Net, precision: str) -> bytes:
    """Return the .tflite of a net in ``int8`` or ``float32``."""
    tf_keras = keras()
    import tensorflow as tf

    tf_keras.utils.set_random_seed(0)
    model, shape = net.make(), (1, net.size, net.size, net.channels)
    once = tf.function(lambda x: model(x, training=False))
    graph = once.get_concrete_function(tf.TensorSpec(shape, tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph], model)
    if precision == "int8":
        rng = np.random.default_rng(0)
        samples = [[rng.standard_normal(shape).astype("f")] for _ in range(4)]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: iter(samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return bytes(converter.convert())
