"""Layers compressed by what their outputs lose still answer as before, and repeat exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.errors import TrainingFailed

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def model() -> Any:
    from converters.keras2 import keras, seed

    seed(4)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 2)),
            layers.Conv2D(8, 3, padding="same", use_bias=False, name="first"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, name="depth"),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(5, name="last"),
        ]
    )


@pytest.fixture(scope="module")
def calibration_data() -> Any:
    from converters.weights.reconstruct import CalibrationData

    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(256, 8, 8, 2)).cumsum(1).cumsum(2)
    return CalibrationData(smooth.astype(np.float32), 1)


def halved(model: Any, calibration_data: Any) -> Any:
    from converters import keras2
    from converters.weights import reconstruct

    twin = keras2.copy(model)
    assert reconstruct.prune(twin, calibration_data, 0.5) == ["first", "second", "last"]
    return twin


def by_size(model: Any) -> Any:
    from converters import keras2

    twin = keras2.copy(model)
    for name, kernel in keras2.kernels(twin).items():
        if "depth" not in name:
            values = kernel.numpy()
            kernel.assign(np.where(np.abs(values) > np.median(np.abs(values)), values, 0))
    return twin


def apart(model: Any, other: Any, calibration_data: Any) -> float:
    from converters import keras2

    a, b = (keras2.predict(each, calibration_data.rows) for each in (model, other))
    return float(((a - b) ** 2).mean())


def test_half_of_each_kernel_is_zero_and_depthwise_ones_are_whole(
    model: Any, calibration_data: Any
) -> None:
    from converters import keras2

    for name, kernel in keras2.kernels(halved(model, calibration_data)).items():
        assert (kernel.numpy() == 0).mean() == (0 if "depth" in name else 0.5), name


def test_it_answers_nearer_to_before_than_without_the_smallest(
    model: Any, calibration_data: Any
) -> None:
    ours = apart(model, halved(model, calibration_data), calibration_data)
    assert ours < 0.5 * apart(model, by_size(model), calibration_data)


def test_it_repeats_to_the_bit(model: Any, calibration_data: Any) -> None:
    first, second = (halved(model, calibration_data).get_weights() for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_the_reference_is_not_changed(model: Any, calibration_data: Any) -> None:
    before = [np.array(w) for w in model.get_weights()]
    halved(model, calibration_data)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_refitting_takes_back_what_clustering_did(model: Any, calibration_data: Any) -> None:
    from converters import keras2
    from converters.weights import reconstruct

    coarse = keras2.copy(model)
    for name, kernel in keras2.kernels(coarse).items():
        if "depth" not in name:
            kernel.assign(np.sign(kernel.numpy()) * np.float32(0.1))
    before = apart(model, coarse, calibration_data)
    names = {"first/kernel", "second/kernel", "last/kernel"}
    reconstruct.refit(coarse, model, calibration_data, names, {})
    assert apart(model, coarse, calibration_data) < 1e-3 * before


def test_a_teacher_of_another_shape_is_no_reference(model: Any) -> None:
    from converters.keras2 import keras
    from converters.weights import reconstruct

    small = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    other = reconstruct.reference_of(model, small)
    assert other is not model
    assert other.get_layer("first") is not None
    assert reconstruct.reference_of(model, model) is model


def test_weights_that_are_no_numbers_are_named_by_layer(
    model: Any, calibration_data: Any
) -> None:
    from converters import keras2
    from converters.weights import reconstruct

    broken = keras2.copy(model)
    layer = broken.get_layer("depth")
    layer.set_weights([np.full_like(w, np.nan) for w in layer.get_weights()])
    with pytest.raises(TrainingFailed, match="second"):
        reconstruct.prune(broken, calibration_data, 0.5)


def test_kernels_make_up_for_channels_that_are_gone(model: Any, calibration_data: Any) -> None:
    """Least squares on what is left is nearer to the outputs than slicing, and repeats."""
    from converters import keras2
    from converters.graph.network import read
    from converters.structure.channels_graph import channel_graph
    from converters.structure.cutting import cut
    from converters.weights import reconstruct

    net, _ = read(model)
    channels = channel_graph(net)
    kept = np.ones(len(channels.group), bool)
    for group in range(len(channels.sizes)):
        kept[np.flatnonzero(channels.group == group)[::3]] = False
    sliced = cut(model, net, channels, kept)
    made = {name: kept[ports.makes] for name, ports in channels.ports.items()}
    refitted = []
    for _ in range(2):
        twin = keras2.copy(sliced)
        reconstruct.refit_cut(twin, model, calibration_data, made)
        refitted.append(twin)
    assert apart(model, refitted[0], calibration_data) < 0.5 * apart(
        model, sliced, calibration_data
    )
    first, again = (each.get_weights() for each in refitted)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


def test_a_cut_of_nothing_is_solved_to_the_same_answers(
    model: Any, calibration_data: Any
) -> None:
    from converters import keras2
    from converters.weights import reconstruct

    twin = keras2.copy(model)
    reconstruct.refit_cut(twin, model, calibration_data, {})
    scale = float((keras2.predict(model, calibration_data.rows) ** 2).mean())
    assert apart(model, twin, calibration_data) < 1e-4 * scale


def test_images_of_a_series_are_fitted_like_so_many_single_ones() -> None:
    from converters.keras2 import keras
    from converters.weights import reconstruct
    from converters.weights.reconstruct import CalibrationData

    rows = np.random.default_rng(0).normal(size=(32, 3, 5, 5, 2)).astype(np.float32)
    made = []
    for shape, x in (((3, 5, 5, 2), rows), ((5, 5, 2), rows.reshape(-1, 5, 5, 2))):
        inputs = keras.Input(shape)
        conv = keras.layers.Conv2D(4, 3, name="conv")
        model = keras.Model(inputs, conv(inputs))
        conv.set_weights([np.random.default_rng(1).normal(size=(3, 3, 2, 4)), np.ones(4)])
        assert reconstruct.prune(model, CalibrationData(x, 1), 0.5) == ["conv"]
        made.append(conv.get_weights()[0])
    assert np.mean(made[0] == 0) == 0.5
    assert np.abs(made[0] - made[1]).max() <= 1e-6
