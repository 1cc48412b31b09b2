"""One tiny block per Keras layer."""

from __future__ import annotations

from typing import Any

from tests.converters.zoo import (
    IMAGE,
    SERIES,
    VECTOR,
    Row,
    act,
    after_conv,
    chain,
    layer,
    merged,
    rows,
    wrapped,
)


def dot(k: Any, x: Any) -> Any:
    """Return the product of two projections of a series, as attention scores have it."""
    return k.layers.Dot(axes=2)([k.layers.Dense(6)(x), k.layers.Dense(6)(x)])


_BN = layer("BatchNormalization")
_RELU = layer("ReLU")

LAYERS: tuple[Row, ...] = (
    *rows(
        "dense and convolution",
        VECTOR,
        {
            "Dense": layer("Dense", 8, activation="relu"),
            "Dense without bias": layer("Dense", 8, use_bias=False),
            "Dense + BatchNormalization": chain(layer("Dense", 8), _BN, _RELU),
        },
    ),
    *rows(
        "dense and convolution",
        SERIES,
        {
            "Dense on a series": layer("Dense", 6, activation="relu"),
            "EinsumDense, last axis": layer(
                "EinsumDense", "abc,cd->abd", (None, 6), bias_axes="d"
            ),
            "EinsumDense, heads": layer("EinsumDense", "abc,cde->abde", (None, 2, 3)),
            "TimeDistributed(Dense)": wrapped("TimeDistributed", "Dense", 6),
            "Conv1D": layer("Conv1D", 8, 3, padding="same"),
            "Conv1D causal": layer("Conv1D", 8, 3, padding="causal"),
            "Conv1D dilated": layer("Conv1D", 8, 3, dilation_rate=2),
            "Conv1D + BatchNormalization": chain(layer("Conv1D", 8, 3), _BN, _RELU),
            "Conv1DTranspose": layer("Conv1DTranspose", 8, 3, strides=2),
            "DepthwiseConv1D": layer("DepthwiseConv1D", 3, padding="same"),
            "SeparableConv1D": layer("SeparableConv1D", 8, 3),
            "LocallyConnected1D": layer("LocallyConnected1D", 4, 3),
            "Embedding": layer("Embedding", 16, 4),
        },
    ),
    *rows(
        "dense and convolution",
        IMAGE,
        {
            "Conv2D": layer("Conv2D", 8, 3),
            "Conv2D strided": layer("Conv2D", 8, 3, strides=2, padding="same"),
            "Conv2D dilated": layer("Conv2D", 8, 3, dilation_rate=2),
            "Conv2D grouped": layer("Conv2D", 8, 3, groups=2),
            "Conv2D + BatchNormalization": chain(
                layer("Conv2D", 8, 3, use_bias=False), _BN, _RELU
            ),
            "DepthwiseConv2D": layer("DepthwiseConv2D", 3),
            "DepthwiseConv2D, multiplier 2": layer("DepthwiseConv2D", 3, depth_multiplier=2),
            "SeparableConv2D": layer("SeparableConv2D", 8, 3),
            "Conv2DTranspose": layer("Conv2DTranspose", 8, 3, strides=2, padding="same"),
            "Conv2DTranspose + BatchNormalization": chain(
                layer("Conv2DTranspose", 8, 3, use_bias=False), _BN, _RELU
            ),
            "LocallyConnected2D": layer("LocallyConnected2D", 4, 3),
            "SpectralNormalization(Conv2D)": wrapped("SpectralNormalization", "Conv2D", 8, 3),
        },
    ),
    *rows(
        "pooling",
        SERIES,
        {
            name: layer(name)
            for name in (
                "MaxPooling1D",
                "AveragePooling1D",
                "GlobalMaxPooling1D",
                "GlobalAveragePooling1D",
            )
        },
    ),
    *rows(
        "pooling",
        IMAGE,
        {
            name: layer(name)
            for name in (
                "MaxPooling2D",
                "AveragePooling2D",
                "GlobalMaxPooling2D",
                "GlobalAveragePooling2D",
            )
        },
    ),
    *rows(
        "activation",
        IMAGE,
        {
            "ReLU": after_conv(_RELU),
            "ReLU6": after_conv(layer("ReLU", 6.0)),
            "ReLU with slope": after_conv(layer("ReLU", negative_slope=0.1)),
            "LeakyReLU": after_conv(layer("LeakyReLU")),
            "PReLU": after_conv(layer("PReLU")),
            "PReLU shared": after_conv(layer("PReLU", shared_axes=[1, 2])),
            "ELU": after_conv(layer("ELU")),
            "ThresholdedReLU": after_conv(layer("ThresholdedReLU", 0.5)),
            "Softmax": after_conv(layer("Softmax")),
            **{
                name: act(name)
                for name in (
                    *("swish", "gelu", "selu", "tanh", "sigmoid", "hard_sigmoid"),
                    *("softplus", "softsign", "exponential", "mish"),
                )
            },
        },
    ),
    *rows(
        "normalization",
        IMAGE,
        {
            "BatchNormalization on the input": chain(_BN, layer("Conv2D", 8, 3)),
            "BatchNormalization after pooling": chain(
                layer("Conv2D", 8, 3), layer("MaxPooling2D"), _BN
            ),
            "BatchNormalization after Add": chain(merged("Add"), _BN, _RELU),
            "BatchNormalization after ReLU": chain(layer("Conv2D", 8, 3), _RELU, _BN),
            "Rescaling 1/255": chain(layer("Rescaling", 1 / 255), layer("Conv2D", 8, 3)),
            "Rescaling 1/127.5 - 1": chain(
                layer("Rescaling", 1 / 127.5, -1.0), layer("Conv2D", 8, 3, padding="same")
            ),
            "Normalization": chain(
                layer(
                    "Normalization", mean=[0.1, 0.2, 0.3, 0.4], variance=[1.0, 2.0, 3.0, 4.0]
                ),
                layer("Conv2D", 8, 3),
            ),
            "LayerNormalization": after_conv(layer("LayerNormalization")),
            "GroupNormalization": after_conv(layer("GroupNormalization", 2)),
            "UnitNormalization": after_conv(layer("UnitNormalization")),
        },
    ),
    *rows(
        "normalization",
        VECTOR,
        {"BatchNormalization after ReLU, dense": chain(layer("Dense", 8), _RELU, _BN)},
    ),
    *rows(
        "merging",
        IMAGE,
        {
            name: merged(name)
            for name in (
                *("Add", "Subtract", "Multiply", "Average"),
                *("Maximum", "Minimum", "Concatenate"),
            )
        },
    ),
    *rows("merging", SERIES, {"Dot": dot}),
    *rows(
        "shape",
        SERIES,
        {
            "ZeroPadding1D": layer("ZeroPadding1D"),
            "Cropping1D": layer("Cropping1D"),
            "UpSampling1D": layer("UpSampling1D"),
        },
    ),
    *rows("shape", VECTOR, {"RepeatVector": layer("RepeatVector", 3)}),
    *rows(
        "shape",
        IMAGE,
        {
            "Reshape": layer("Reshape", (4, 16, 4)),
            "Permute": layer("Permute", (2, 1, 3)),
            "Flatten": layer("Flatten"),
            "ZeroPadding2D": layer("ZeroPadding2D"),
            "Cropping2D": layer("Cropping2D"),
            "UpSampling2D": layer("UpSampling2D"),
            "UpSampling2D bilinear": layer("UpSampling2D", interpolation="bilinear"),
            "Resizing": layer("Resizing", 6, 6),
            "CenterCrop": layer("CenterCrop", 6, 6),
        },
    ),
    *rows(
        "training only",
        IMAGE,
        {
            "Dropout": after_conv(layer("Dropout", 0.2)),
            "SpatialDropout2D": after_conv(layer("SpatialDropout2D", 0.2)),
            "GaussianNoise": layer("GaussianNoise", 0.1),
            "GaussianDropout": layer("GaussianDropout", 0.1),
            "AlphaDropout": layer("AlphaDropout", 0.1),
            "ActivityRegularization": layer("ActivityRegularization", 1e-4),
            "RandomFlip": layer("RandomFlip"),
            "RandomRotation": layer("RandomRotation", 0.1),
            "RandomZoom": layer("RandomZoom", 0.1),
            "RandomTranslation": layer("RandomTranslation", 0.1, 0.1),
            "RandomContrast": layer("RandomContrast", 0.1),
            "RandomCrop": layer("RandomCrop", 6, 6),
        },
    ),
)
