"""Channels as a stage: smaller, still right, and whole enough for every stage after it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from converters.draft import Draft, Samples, Training
from converters.errors import ModelRefused
from converters.graph.network import model_macs, read
from converters.quantized.int8 import Int8
from converters.quantized.qat import Qat
from converters.structure.channels import Channels
from converters.structure.channels_graph import ChannelGraph, channel_graph
from converters.structure.cutting import taylor
from converters.weights.cluster import Cluster
from converters.weights.prune import Prune
from edgepack.tflite.flatbuffer import read as read_tflite
from edgepack.tflite.inspection import FactsInspector
from tests.converters.lifted import lifted

pytestmark = pytest.mark.train
TRAINING = Training(task="classification", seed=1, batch_size=32, inspector=FactsInspector())
CUT = Channels(macs=0.5, epochs=8, learning_rate=5e-3, rows=64)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return lifted(200, 60, 60, (8, 8, 2))


@pytest.fixture(scope="module")
def start(samples: Samples, k2: Any) -> Draft:
    k2.utils.set_random_seed(3)
    layers = k2.layers
    inputs = k2.Input((8, 8, 2))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.7)(x))
    y = layers.SeparableConv2D(32, 3, padding="same", activation="relu")(x)
    y = layers.BatchNormalization(momentum=0.7)(layers.Conv2D(16, 1)(y))
    x = layers.Dropout(0.1)(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(24, 3, activation="relu")(x))
    model = k2.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model.compile(k2.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(samples.x_train, samples.y_train, epochs=12, verbose=0)
    return Draft(model)


@pytest.fixture(scope="module")
def slim(start: Draft, samples: Samples) -> Draft:
    return CUT(start, samples, TRAINING)


def accuracy(draft: Draft, samples: Samples) -> float:
    from converters import keras2

    found = keras2.predict(draft.model, samples.x_test).argmax(1)
    return float((found == samples.y_test).mean())


def test_the_cut_costs_its_share_and_answers_as_well(
    start: Draft, slim: Draft, samples: Samples
) -> None:
    assert model_macs(slim.model) <= 0.5 * model_macs(start.model)
    assert accuracy(slim, samples) >= accuracy(start, samples) - 0.05 > 0.8
    assert "multiply-accumulates (planned)" in slim.notes[0]


def test_the_input_is_left_untouched_and_the_seed_decides(
    start: Draft, slim: Draft, samples: Samples
) -> None:
    before = [w.copy() for w in start.model.get_weights()]
    again = CUT(start, samples, TRAINING)
    for one, other in zip(before, start.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(again.model.get_weights(), slim.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("criterion", ["l1", "l2", "bn"])
def test_every_criterion_meets_the_budget(
    criterion: Any, start: Draft, samples: Samples
) -> None:
    cut = dataclasses.replace(CUT, criterion=criterion, epochs=1, steps=2)
    made = cut(start, samples, TRAINING)
    assert model_macs(made.model) <= 0.5 * model_macs(start.model)


def test_the_stages_after_it_keep_their_promises_to_the_file(
    slim: Draft, samples: Samples
) -> None:
    draft = slim
    for stage in (Prune(sparsity=0.5, epochs=1), Cluster(clusters=8, epochs=1), Qat(epochs=1)):
        draft = stage(draft, samples, TRAINING)
    facts = read_tflite(Int8(calibration_samples=60)(draft, samples, TRAINING).tflite)
    assert facts.float_ops == ()
    dense = [kernel for kernel in facts.kernels if "depthwise" not in kernel.name]
    assert dense
    assert all(kernel.distinct <= 8 and kernel.zeros_share >= 0.45 for kernel in dense)
    assert draft.notes[: len(slim.notes)] == slim.notes


def test_a_draft_with_promises_is_refused(start: Draft, samples: Samples) -> None:
    sparse = Prune(sparsity=0.5, epochs=1)(start, samples, TRAINING)
    with pytest.raises(ModelRefused, match="before prune"):
        CUT(sparse, samples, TRAINING)


def test_taylor_is_the_change_of_the_loss_when_a_channel_is_scaled(k2: Any) -> None:
    """Scaling what a linear channel makes by 1-h changes each row's loss by h times that."""
    from converters.learning import objective

    k2.utils.set_random_seed(0)
    inputs = k2.Input((5,))
    hidden = k2.layers.Dense(4, name="hidden")(inputs)
    model = k2.Model(inputs, k2.layers.Dense(3)(hidden))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 5)).astype(np.float32), rng.integers(0, 3, 6)
    goal = objective.objective(model, TRAINING)
    found = read(model)
    channels: ChannelGraph = channel_graph(found[0])
    scores = taylor(model, found, channels, goal, (x, y))
    step = 1e-2
    for at, channel in enumerate(channels.ports["hidden"].makes):
        twin = k2.models.clone_model(model)
        losses = []
        for scale in (1 + step, 1 - step):
            kernel, bias = model.get_layer("hidden").get_weights()
            kernel, bias = kernel.copy(), bias.copy()
            kernel[:, at] *= scale
            bias[at] *= scale
            twin.set_weights([kernel, bias, *model.get_weights()[2:]])
            each = k2.losses.sparse_categorical_crossentropy(y, twin(x), from_logits=True)
            losses.append(np.asarray(each))
        slope = np.abs(losses[0] - losses[1]) / (2 * step)
        assert scores[channel] == pytest.approx(slope.mean(), rel=1e-2)


@pytest.mark.parametrize(
    ("name", "value"), [("macs", 0.0), ("macs", 1.0), ("steps", 0), ("distillation", 1.1)]
)
def test_settings_out_of_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Channels(**{name: value})


def test_a_share_out_of_reach_is_refused_before_anything_is_trained(
    start: Draft, samples: Samples
) -> None:
    trained = []
    training = dataclasses.replace(TRAINING, progress=lambda *step: trained.append(step))
    deep = dataclasses.replace(CUT, macs=0.02, steps=3)
    with pytest.raises(ModelRefused, match=r"wanted 2\.0% .* Received: \d+\.\d% as the least"):
        deep(start, samples, training)
    assert not trained


def test_a_model_of_which_nothing_can_be_cut_is_told_so(samples: Samples, k2: Any) -> None:
    inputs = k2.Input((8, 8, 2))
    flat = k2.layers.Flatten()(inputs)
    model = k2.Model(inputs, k2.layers.Dense(3, activation="softmax")(flat))
    with pytest.raises(ModelRefused, match=r"that may be cut\. Received: none"):
        CUT(Draft(model), samples, TRAINING)


def test_the_least_macs_that_a_refusal_names_can_be_cut_to_in_any_number_of_steps(
    start: Draft, samples: Samples
) -> None:
    tight = dataclasses.replace(CUT, minimum=16, multiple=8, epochs=1)
    with pytest.raises(ModelRefused, match="set macs to") as refused:
        dataclasses.replace(tight, macs=0.05)(start, samples, TRAINING)
    least = float(str(refused.value).partition("set macs to ")[2].split()[0])
    whole = model_macs(start.model)
    for steps in (1, 2, 4):
        done = dataclasses.replace(tight, macs=least, steps=steps)(start, samples, TRAINING)
        assert model_macs(done.model) <= least * whole
