"""The slice-zero proof: a cut model answers as the whole one with those channels silent.

The oracle never slices: it zeroes, in the whole model, the weights that *make* the channels
(kernel columns, biases, BatchNormalization's scale and shift), and lets zeros flow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from converters.graph.network import macs, read
from converters.structure.channels_graph import ChannelGraph, channel_graph
from converters.structure.cutting import cut
from tests.converters import structured_models

pytestmark = pytest.mark.train
Build = Callable[[Any], Any]


def simple(build: Build, k2: Any) -> Any:
    from converters.graph import canonical

    return canonical.simplify(structured_models.trained_looking(build, k2))


def half_gone(channels: ChannelGraph) -> np.ndarray:
    """Keep a random half of each group: no rule may rely on which ones."""
    rng, kept = np.random.default_rng(1), np.ones(len(channels.group), bool)
    for number, size in enumerate(channels.sizes):
        members = np.flatnonzero(channels.group == number)
        kept[rng.choice(members, size // 2, replace=False)] = False
    return kept


def silenced(model: Any, channels: ChannelGraph, kept: np.ndarray, k2: Any) -> Any:
    """Return a twin in which all that makes the channels cut is zero."""
    from converters import keras2

    twin = keras2.copy(model)
    for layer in twin.layers:
        kind = type(layer).__name__
        if kind == "BatchNormalization":
            gone = ~kept[channels.tensors[tensor_of(model, layer.name)]]
            for name in ("gamma", "beta"):
                variable = getattr(layer, name)
                variable.assign(np.where(gone, 0, variable.numpy()))
        elif layer.name in channels.ports:
            gone = ~kept[channels.ports[layer.name].makes]
            for variable in layer.weights:
                if "kernel" not in variable.name:
                    variable.assign(np.where(gone, 0, variable.numpy()))
                elif kind.endswith("Transpose"):
                    variable.assign(np.where(gone[:, None], 0, variable.numpy()))
                elif kind.startswith("Depthwise"):
                    lost = gone.reshape(variable.shape[-2:])
                    variable.assign(np.where(lost, 0, variable.numpy()))
                else:
                    variable.assign(np.where(gone, 0, variable.numpy()))
    return twin


def tensor_of(model: Any, name: str) -> int:
    net, _ = read(model)
    return next(call.inputs[0] for call in net.calls if call.layer == name)


def answers(model: Any, x: np.ndarray) -> list[np.ndarray]:
    made = model(x, training=False)
    return [np.asarray(part) for part in (made if isinstance(made, list) else [made])]


@pytest.mark.parametrize("build", structured_models.ALL, ids=lambda build: build.__name__)
def test_a_cut_model_answers_as_the_whole_one_with_those_channels_silent(
    build: Build, k2: Any
) -> None:
    model = simple(build, k2)
    net, _ = read(model)
    channels = channel_graph(net)
    kept = half_gone(channels)
    smaller = cut(model, net, channels, kept)
    x = np.random.default_rng(2).normal(size=(5, *model.input_shape[1:])).astype(np.float32)
    wanted = answers(silenced(model, channels, kept, k2), x)
    whole = answers(model, x)
    for got, want, before in zip(answers(smaller, x), wanted, whole, strict=True):
        assert np.abs(got - want).max() <= 1e-5 * max(1.0, np.abs(want).max())
        assert np.abs(want - before).max() > 1e-2  # the channels mattered
    assert channels.frozen == ()
    assert smaller.count_params() < 0.75 * model.count_params()


@pytest.mark.parametrize("build", structured_models.ALL, ids=lambda build: build.__name__)
def test_the_costs_of_the_graph_are_those_of_the_network_that_is_cut(
    build: Build, k2: Any
) -> None:
    model = simple(build, k2)
    net, _ = read(model)
    channels = channel_graph(net)
    assert channels.macs(channels.sizes) == macs(net)
    kept = half_gone(channels)
    left = np.bincount(channels.group[kept & (channels.group >= 0)])
    assert channels.macs(left) == macs(read(cut(model, net, channels, kept))[0])


def test_keeping_all_gives_the_same_model(k2: Any) -> None:
    model = simple(structured_models.residual, k2)
    net, _ = read(model)
    channels = channel_graph(net)
    same = cut(model, net, channels, np.ones(len(channels.group), bool))
    for one, other in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV2"])
def test_a_published_architecture_is_cut_alike(name: str, k2: Any) -> None:
    alpha = {"MobileNet": 0.25, "MobileNetV2": 0.35}[name]
    k2.utils.set_random_seed(0)
    made = getattr(k2.applications, name)
    model = made(
        input_shape=(32, 32, 3),
        alpha=alpha,
        weights=None,
        classes=5,
        classifier_activation=None,
    )
    net, _ = read(model)
    channels = channel_graph(net)
    kept = half_gone(channels)
    x = np.random.default_rng(2).normal(size=(2, 32, 32, 3)).astype(np.float32)
    got = answers(cut(model, net, channels, kept), x)[0]
    want = answers(silenced(model, channels, kept, k2), x)[0]
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    assert channels.frozen == ()
