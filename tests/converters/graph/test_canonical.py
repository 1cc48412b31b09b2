"""A canonical model computes the same numbers, in layers that every stage knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.converters import coverage
from tests.converters.zoo import Row

pytestmark = pytest.mark.train
#: Largest difference of outputs in [0, 1]; a few roundings of float32 (2^-24 each).
CLOSE = 1e-6
ROWS = {row[1]: row for row in coverage.ZOO}
#: The layers each block must have become, in order of the graph; the head is left out.
BECOMES = {
    "Conv2D + BatchNormalization": "Conv2D ReLU",
    "Conv2DTranspose + BatchNormalization": "Conv2DTranspose ReLU",
    "Dense + BatchNormalization": "Dense ReLU",
    "BatchNormalization on the input": "Conv2D",
    "BatchNormalization after pooling": "Conv2D MaxPooling2D DepthwiseConv2D",
    "BatchNormalization after ReLU, dense": "Dense ReLU",
    "Rescaling 1/255": "Conv2D",
    "Rescaling 1/127.5 - 1": "DepthwiseConv2D Conv2D",
    "Normalization": "Conv2D",
    "GroupNormalization": "Conv2D Reshape Permute Reshape LayerNormalization Reshape Permute "
    "Reshape DepthwiseConv2D",
    "SeparableConv1D": "Reshape DepthwiseConv2D Reshape Conv1D",
    "Conv1DTranspose": "Reshape Conv2DTranspose Reshape",
    "EinsumDense, heads": "Dense Reshape",
    "TimeDistributed(Dense)": "Dense",
    "SpectralNormalization(Conv2D)": "Conv2D",
    "RandomRotation": "",
    "RandomCrop": "Resizing",
    "GaussianNoise": "",
    "hard-swish by layers": "Conv2D Activation",
    "hard-swish by operators": "Conv2D Activation",
    "constant - x": "Conv2D",
    "tf.pad": "Conv2D ZeroPadding2D",
    "tf.reduce_sum": "Conv2D GlobalAveragePooling2D",
    "x[:, 1:-1, 1:-1]": "Conv2D Cropping2D",
    "Attention": "Dense Dense Dot Softmax Dot",
    "nested model": "Conv2D ReLU",
    "TimeDistributed(Conv2D)": "Conv2D",
    "Conv3D": "Cropping3D Cropping3D Cropping3D Concatenate Conv2D",
    "Conv3D + BatchNormalization": "Cropping3D Cropping3D Concatenate Conv2D ReLU",
    "MaxPooling3D": "Reshape MaxPooling2D Reshape Reshape MaxPooling2D Reshape",
    "GlobalAveragePooling3D": "Reshape GlobalAveragePooling2D",
    "RNN(LSTMCell)": "LSTM",
    "ThresholdedReLU": "Conv2D Activation Rescaling",
    "tf.nn.l2_normalize": "Conv2D UnitNormalization",
    "tf.abs": "Conv2D Activation",
    "AdditiveAttention": "Dense Dense Reshape Reshape Add Activation Dense Reshape Softmax Dot",
}


def outputs(model: Any, row: Row) -> np.ndarray:
    x = coverage.samples(row[2], whole=row[1] == "Embedding").x_test
    return np.asarray(model(x, training=False))


def kinds(model: Any) -> list[str]:
    left_out = ("InputLayer", "Flatten")
    return [type(e).__name__ for e in model.layers if type(e).__name__ not in left_out][:-1]


@pytest.mark.parametrize("name", BECOMES)
def test_a_block_becomes_plain_layers_with_the_same_outputs(name: str) -> None:
    from converters.graph import canonical

    model = coverage.build(ROWS[name])
    plain = canonical.deployable(model)
    assert kinds(plain) == BECOMES[name].split()
    assert np.abs(outputs(plain, ROWS[name]) - outputs(model, ROWS[name])).max() <= CLOSE


@pytest.mark.parametrize(
    "name",
    [
        *("MultiHeadAttention, cross", "transformer encoder", "MobileNetV3 block"),
        *("ELU", "selu", "hard_sigmoid", "DenseNet block", "GRU", "Bidirectional(GRU)"),
    ],
)
def test_each_step_alone_keeps_the_outputs(name: str) -> None:
    from converters.graph import canonical

    row = ROWS[name]
    model = coverage.build(row)
    wanted = outputs(model, row)
    simple = canonical.simplify(model)
    for made in (simple, canonical.fold_batchnorm(simple), canonical.for_converter(simple)):
        assert np.abs(outputs(made, row) - wanted).max() <= CLOSE


def test_the_proof_would_see_a_wrong_weight() -> None:
    from converters.graph import canonical

    row = ROWS["MobileNetV3 block"]
    model = coverage.build(row)
    plain = canonical.deployable(model)
    kernel = next(v for v in plain.trainable_variables if "kernel" in v.name)
    kernel.assign(kernel * 1.001)
    assert np.abs(outputs(plain, row) - outputs(model, row)).max() > 10 * CLOSE


def test_a_rewrite_shares_nothing_with_its_model() -> None:
    from converters.graph import canonical

    row = ROWS["MobileNetV3 block"]
    model = coverage.build(row)
    before = outputs(model, row)
    for variable in canonical.deployable(model).variables:
        variable.assign(variable * 0)
    assert (outputs(model, row) == before).all()


def test_rewriting_twice_changes_nothing_more() -> None:
    from converters.graph import canonical

    for name in ("transformer encoder", "MobileNetV3 block", "GroupNormalization"):
        once = canonical.deployable(coverage.build(ROWS[name]))
        twice = canonical.deployable(once)
        assert [layer.name for layer in twice.layers] == [layer.name for layer in once.layers]


def test_a_shared_layer_stays_one_layer() -> None:
    from converters.graph import canonical

    model = coverage.build(ROWS["shared layer"])
    plain = canonical.deployable(model)
    assert len(plain.trainable_variables) == len(model.trainable_variables)


def test_names_of_two_nested_models_do_not_clash() -> None:
    from converters.graph import canonical
    from converters.keras2 import keras

    def part(name: str) -> Any:
        conv = keras.layers.Conv2D(4, 1, name="conv")
        return keras.Sequential([keras.layers.Input((4, 4, 4)), conv], name=name)

    inputs = keras.Input((4, 4, 4))
    model = keras.Model(inputs, part("b")(part("a")(inputs)))
    plain = canonical.inline(model)
    x = np.ones((1, 4, 4, 4), np.float32)
    assert [layer.name for layer in plain.layers[1:]] == ["conv", "b_conv"]
    assert (np.asarray(plain(x)) == np.asarray(model(x))).all()
