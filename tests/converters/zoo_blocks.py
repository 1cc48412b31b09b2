"""Tiny blocks of several layers: operators, and parts of known nets."""

from __future__ import annotations

from typing import Any

from tests.converters.zoo import IMAGE, Row, after_conv, layer


def _tf() -> Any:
    from converters.keras2 import tf

    return tf


def _hard_swish(k: Any, x: Any) -> Any:
    """Return hard-swish as tf_keras' MobileNetV3 writes it."""
    return k.layers.Multiply()([x, k.layers.ReLU(6.0)(x + 3.0) * (1.0 / 6.0)])


def _hard_swish_ops(k: Any, x: Any) -> Any:
    return x * _tf().nn.relu6(x + 3.0) / 6.0


def _on_two(operate: Any) -> Any:
    """Return a block that joins two convolutions by ``operate(a, b)``."""
    return lambda k, x: operate(k.layers.Conv2D(8, 1)(x), k.layers.Conv2D(8, 1)(x))


def _op(operate: Any) -> Any:
    """Return a block of a convolution and ``operate(tf, x)``."""
    return after_conv(lambda k, x: operate(_tf(), x))


def _squeeze_excite(k: Any, x: Any) -> Any:
    x = k.layers.Conv2D(8, 1, activation="relu")(x)
    gate = k.layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = k.layers.Conv2D(4, 1, activation="relu")(gate)
    gate = k.layers.Conv2D(8, 1, activation="sigmoid")(gate)
    return k.layers.Multiply()([x, gate])


def _mobilenet_v3(k: Any, x: Any) -> Any:
    h = k.layers.Conv2D(8, 1, use_bias=False)(x)
    h = _hard_swish(k, k.layers.BatchNormalization()(h))
    h = k.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(h)
    h = _hard_swish(k, k.layers.BatchNormalization()(h))
    gate = k.layers.GlobalAveragePooling2D(keepdims=True)(h)
    gate = k.layers.Conv2D(8, 1)(k.layers.Conv2D(4, 1, activation="relu")(gate))
    h = k.layers.Multiply()([h, k.layers.ReLU(6.0)(gate + 3.0) * (1.0 / 6.0)])
    return k.layers.Add()([x, k.layers.BatchNormalization()(k.layers.Conv2D(4, 1)(h))])


def _mobilenet_v2(k: Any, x: Any) -> Any:
    h = k.layers.ReLU(6.0)(k.layers.BatchNormalization()(k.layers.Conv2D(8, 1)(x)))
    h = k.layers.DepthwiseConv2D(3, padding="same")(h)
    h = k.layers.ReLU(6.0)(k.layers.BatchNormalization()(h))
    return k.layers.Add()([x, k.layers.BatchNormalization()(k.layers.Conv2D(4, 1)(h))])


def _resnet(k: Any, x: Any) -> Any:
    h = k.layers.BatchNormalization()(k.layers.Conv2D(8, 3, padding="same")(x))
    h = k.layers.Conv2D(4, 3, padding="same")(k.layers.ReLU()(h))
    return k.layers.ReLU()(k.layers.Add()([x, k.layers.BatchNormalization()(h)]))


def _resnet_v2(k: Any, x: Any) -> Any:
    h = k.layers.ReLU()(k.layers.BatchNormalization()(k.layers.Conv2D(4, 1)(x)))
    h = k.layers.Conv2D(4, 3, padding="same")(h)
    return k.layers.ReLU()(k.layers.BatchNormalization()(k.layers.Add()([x, h])))


def _densenet(k: Any, x: Any) -> Any:
    for _ in range(2):
        h = k.layers.ReLU()(k.layers.BatchNormalization()(x))
        x = k.layers.Concatenate()([x, k.layers.Conv2D(4, 3, padding="same")(h)])
    return x


def _transition(k: Any, x: Any) -> Any:
    x = k.layers.AveragePooling2D()(k.layers.Conv2D(8, 1, activation="relu")(x))
    h = k.layers.Conv2D(4, 3, padding="same")(k.layers.ReLU()(k.layers.BatchNormalization()(x)))
    return k.layers.Concatenate()([x, h])


def _inception(k: Any, x: Any) -> Any:
    parts = [k.layers.Conv2D(4, size, padding="same")(x) for size in (1, 3, 5)]
    return k.layers.Concatenate()([*parts, k.layers.MaxPooling2D(3, 1, "same")(x)])


def _shuffle(k: Any, x: Any) -> Any:
    x = k.layers.Conv2D(8, 1)(x)
    x = k.layers.Permute((1, 2, 4, 3))(k.layers.Reshape((8, 8, 2, 4))(x))
    return k.layers.Conv2D(8, 1)(k.layers.Reshape((8, 8, 8))(x))


def _convnext(k: Any, x: Any) -> Any:
    h = k.layers.LayerNormalization()(k.layers.DepthwiseConv2D(5, padding="same")(x))
    h = k.layers.Dense(4)(k.layers.Dense(8, activation="gelu")(h))
    return k.layers.Add()([x, h])


def _unet(k: Any, x: Any) -> Any:
    down = k.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    low = k.layers.Conv2D(8, 3, padding="same")(k.layers.MaxPooling2D()(down))
    up = k.layers.Conv2DTranspose(8, 2, strides=2)(low)
    return k.layers.Conv2D(4, 1)(k.layers.Concatenate()([down, up]))


def _nested(k: Any, x: Any) -> Any:
    inner = k.Sequential(
        [k.layers.Input(x.shape[1:]), k.layers.Conv2D(8, 3), k.layers.BatchNormalization()]
    )
    return k.layers.ReLU()(inner(x))


def _shared(k: Any, x: Any) -> Any:
    conv = k.layers.Conv2D(4, 3, padding="same")
    return conv(k.layers.ReLU()(conv(x)))


def _vit(k: Any, x: Any) -> Any:
    x = k.layers.Reshape((16, 8))(k.layers.Conv2D(8, 2, strides=2)(x))
    h = k.layers.LayerNormalization()(x)
    return k.layers.Add()([x, k.layers.MultiHeadAttention(2, 4)(h, h)])


_OPS: dict[str, Any] = {
    "x + y": _on_two(lambda a, b: a + b),
    "x - y": _on_two(lambda a, b: a - b),
    "x * y": _on_two(lambda a, b: a * b),
    "x / y": _on_two(lambda a, b: a / (b * b + 1.0)),
    "x + constant": _op(lambda tf, x: x + 2.0),
    "constant - x": _op(lambda tf, x: 1.0 - x),
    "x * constant": _op(lambda tf, x: x * 0.5),
    "tf.nn.relu6": _op(lambda tf, x: tf.nn.relu6(x)),
    "hard-swish by layers": after_conv(_hard_swish),
    "hard-swish by operators": after_conv(_hard_swish_ops),
    "tf.nn.sigmoid": _op(lambda tf, x: tf.nn.sigmoid(x)),
    "tf.nn.softmax": _op(lambda tf, x: tf.nn.softmax(x)),
    "tf.clip_by_value": _op(lambda tf, x: tf.clip_by_value(x, -1.0, 1.0)),
    "tf.reduce_mean": _op(lambda tf, x: tf.reduce_mean(x, [1, 2])),
    "tf.reduce_max": _op(lambda tf, x: tf.reduce_max(x, [1, 2])),
    "tf.reduce_sum": _op(lambda tf, x: tf.reduce_sum(x, [1, 2])),
    "tf.reshape": _op(lambda tf, x: tf.reshape(x, [-1, 64, 8])),
    "tf.transpose": _op(lambda tf, x: tf.transpose(x, [0, 2, 1, 3])),
    "tf.concat": _on_two(lambda a, b: _tf().concat([a, b], -1)),
    "tf.pad": _op(lambda tf, x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])),
    "tf.matmul": _on_two(lambda a, b: _tf().matmul(a, b, transpose_b=True)),
    "x[:, 1:-1, 1:-1]": _op(lambda tf, x: x[:, 1:-1, 1:-1]),
    "x[:, 0]": _op(lambda tf, x: x[:, 0]),
    "x[..., :3]": _op(lambda tf, x: x[..., :3]),
    "tf.split": _op(lambda tf, x: tf.add(*tf.split(x, 2, -1))),
    "tf.unstack": _op(lambda tf, x: tf.multiply(*tf.unstack(x[:, :2], axis=1))),
    "tf.abs": _op(lambda tf, x: tf.abs(x)),
    "tf.exp": _op(lambda tf, x: tf.exp(x)),
    "tf.sqrt": _op(lambda tf, x: tf.sqrt(tf.nn.relu(x) + 0.1)),
    "tf.nn.l2_normalize": _op(lambda tf, x: tf.nn.l2_normalize(x, -1)),
    "Lambda": layer("Lambda", lambda x: x * 2.0 + 1.0),
    "tf.expand_dims": _op(lambda tf, x: tf.squeeze(tf.expand_dims(x, 1), 1)),
}
_NETS: dict[str, Any] = {
    "squeeze and excite": _squeeze_excite,
    "MobileNetV2 block": _mobilenet_v2,
    "MobileNetV3 block": _mobilenet_v3,
    "ResNet block": _resnet,
    "ResNetV2 block": _resnet_v2,
    "DenseNet block": _densenet,
    "DenseNet transition": _transition,
    "Inception block": _inception,
    "channel shuffle": _shuffle,
    "ConvNeXt block": _convnext,
    "U-Net step": _unet,
    "nested model": _nested,
    "shared layer": _shared,
    "ViT patch and attention": _vit,
}
BLOCKS: tuple[Row, ...] = (
    *(("operator", name, IMAGE, block) for name, block in _OPS.items()),
    *(("part of a net", name, IMAGE, block) for name, block in _NETS.items()),
)
