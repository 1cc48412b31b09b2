"""Every stage refuses settings that no training can meet, naming them."""

from __future__ import annotations

from typing import Any

import pytest

from edgepack.pipeline.recipe import STAGES

TAUGHT = sorted(STAGES)


@pytest.mark.parametrize("kind", TAUGHT)
@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("epochs", 0, "epochs: wanted 1 to 100,000"),
        ("epochs", 100_001, "epochs: wanted 1 to 100,000"),
        ("distillation", -0.1, r"distillation: wanted a share in \[0, 1\]"),
        ("distillation", 1.1, r"distillation: wanted a share in \[0, 1\]"),
        ("distillation", float("nan"), r"distillation: wanted a share in \[0, 1\]"),
        ("learning_rate", 0.0, "learning_rate: wanted more than 0"),
        ("learning_rate", 1.01, "learning_rate: wanted more than 0 and at most 1"),
        ("learning_rate", float("inf"), "learning_rate: wanted more than 0"),
        ("attention", -0.1, "attention: wanted 0 to 1,000,000"),
        ("attention", float("nan"), "attention: wanted 0 to 1,000,000"),
        ("features", -0.1, "features: wanted 0 to 1,000,000"),
        ("features", float("inf"), "features: wanted 0 to 1,000,000"),
    ],
)
def test_how_a_stage_trains_is_checked(kind: str, name: str, value: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"{wanted}.*Received: {value}"):
        STAGES[kind](**{name: value})


@pytest.mark.parametrize("kind", TAUGHT)
def test_layers_that_nothing_compares_are_refused(kind: str) -> None:
    with pytest.raises(
        ValueError, match=r"layers: wanted attention or features.*Received: a, b"
    ):
        STAGES[kind](layers=("a", "b"))
    assert STAGES[kind](layers=("a",), attention=0.5).compares
    assert not STAGES[kind](distillation=0.0).asks
    assert STAGES[kind](distillation=0.0, features=0.5).asks


@pytest.mark.parametrize("kind", TAUGHT)
@pytest.mark.parametrize("distillation", [0.0, 1.0])
def test_the_ends_of_a_share_are_in_it(kind: str, distillation: float) -> None:
    assert STAGES[kind](distillation=distillation).distillation == distillation


@pytest.mark.parametrize("kind", ["channels", "lowrank", "collaborate"])
@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("macs", 0.0, r"macs: wanted a share in \(0, 1\)"),
        ("macs", 1.0, r"macs: wanted a share in \(0, 1\)"),
        ("per_output", -1.0, "per_output: wanted 0 to 1,000,000"),
        ("per_output", float("inf"), "per_output: wanted 0 to 1,000,000"),
        ("multiple", 0, "multiple: wanted 1 to 65,536"),
    ],
)
def test_how_far_a_stage_cuts_is_checked(kind: str, name: str, value: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"{wanted}.*Received: {value}"):
        STAGES[kind](**{name: value})


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("channels", "floor", 1.0),
        ("collaborate", "floor", 1.5),
        ("channels", "steps", 0),
        ("channels", "step_epochs", 10**9),
        ("qat", "bit_price", float("inf")),
    ],
)
def test_what_no_build_could_end_with_is_refused(kind: str, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}: wanted .*Received: {value}"):
        STAGES[kind](**{name: value})


@pytest.mark.parametrize("layers", [("a", "b", "a"), ("",)])
def test_layers_are_names_each_once(layers: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="layers: wanted names, each once"):
        STAGES["qat"](layers=layers, features=1.0)
