"""Drafts made by other views or another teacher are other drafts, and an idle one is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.draft import Samples, Training
from edgepack.pipeline import recipe
from edgepack.pipeline.cache import Cache
from edgepack.pipeline.source import Source
from edgepack.pipeline.workspace import Workspace, teacher_notes, training_setup

NONE = np.zeros((0, 4, 4, 1), np.float32)
EMPTY: dict[str, Any] = {f"{a}_{part}": NONE for a in "xy" for part in ("train", "val", "test")}


def source(folder: Path, name: str) -> Source:
    path = folder / name
    path.write_bytes(name.encode())
    return Source(path, Cache(folder / "cache"))


def test_no_two_ways_of_teaching_share_a_draft(tmp_path: Path) -> None:
    model, big, other = (source(tmp_path, name) for name in ("m.h5", "big.h5", "other.h5"))
    samples = Samples(**EMPTY, digest="d")
    stages = recipe.load("qat").stages
    made = [
        Workspace(model, samples, Training(augment=augment), teacher)
        for augment in ((), ("hflip",), ("hflip", "translate"), ("translate", "hflip"))
        for teacher in (None, model, big, other)
    ]
    assert len({each.key(stages) for each in made}) == len(made)
    assert len({each.key(stages, "int8") for each in made}) == len(made)
    assert len({each.key(()) for each in made}) == 1  # no stage has touched that one


@pytest.mark.parametrize(
    ("settings", "task", "idle"),
    [
        ("", "classification", None),
        ("distillation = 0", "classification", "distillation, attention and features are 0"),
        ("distillation = 0\nfeatures = 0.1", "classification", None),
        ("", "regression", "regression learns from its targets, and attention and features"),
        ("attention = 0.1", "reconstruction", None),
    ],
)
def test_a_teacher_that_nobody_asks_is_said(settings: str, task: str, idle: str | None) -> None:
    text = f'schema = 1\n[[stage]]\nkind = "prune"\n{settings}\n'
    stages = recipe.parse(text.encode(), "r", "r.toml").stages
    said = teacher_notes("big.h5", ["rebuilt"], task, stages)
    assert said[0] == "teacher: rebuilt"
    if idle is None:
        assert len(said) == 1
    else:
        assert said[1].startswith(f"teacher: big.h5 was not asked: {idle}")


def test_one_stage_that_asks_is_enough() -> None:
    text = b'schema = 1\n[[stage]]\nkind = "prune"\ndistillation = 0\n[[stage]]\nkind = "qat"\n'
    stages = recipe.parse(text, "r", "r.toml").stages
    assert teacher_notes("big.h5", [], "classification", stages) == ()


def test_layers_of_a_stage_are_written_in_a_recipe() -> None:
    text = b'schema = 1\n[[stage]]\nkind = "qat"\nfeatures = 0.5\nlayers = ["a", "b"]\n'
    (stage,) = recipe.parse(text, "r", "r.toml").stages
    assert (stage.features, stage.attention, stage.layers) == (0.5, 0.0, ("a", "b"))


@pytest.mark.train
def test_the_teacher_and_the_layers_are_looked_at_before_any_stage() -> None:
    from converters.errors import ModelRefused
    from converters.keras2 import keras

    def net(activation: str) -> Any:
        inputs = keras.Input((4,))
        inner = keras.layers.Dense(5, activation="relu", name="inner")(inputs)
        return keras.Model(inputs, keras.layers.Dense(3, activation=activation)(inner))

    def stages(settings: str) -> tuple[Any, ...]:
        text = f'schema = 1\n[[stage]]\nkind = "prune"\n[[stage]]\nkind = "qat"\n{settings}\n'
        return recipe.parse(text.encode(), "r", "r.toml").stages

    training, model = Training(task="classification"), net("softmax")
    made = training_setup(training, model, None, stages(""))
    assert made.original is model
    assert made.teacher is None
    with pytest.raises(ModelRefused, match=r"softmax.*Received: sigmoid"):
        training_setup(training, model, net("sigmoid"), stages(""))
    with pytest.raises(ModelRefused, match="Received: 'iner'; nearest: inner"):
        training_setup(training, model, None, stages('features = 1\nlayers = ["iner"]'))
