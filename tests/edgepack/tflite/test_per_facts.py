"""An answer about a model is worked out once for as long as the model's facts live."""

from __future__ import annotations

import gc
import weakref

from edgepack.tflite.facts import Facts
from edgepack.tflite.flatbuffer import read
from edgepack.tflite.per_facts import per_facts
from tests.edgepack.networks import NETWORKS

MODEL = next(iter(NETWORKS.values()))()
asked: list[tuple[str, ...]] = []


@per_facts
def answer(facts: Facts, *words: str, loud: bool = False) -> str:
    asked.append(words)
    says = f"{len(facts.ops)} {' '.join(words)}"
    return says.upper() if loud else says


def test_each_question_is_answered_once_and_each_model_for_itself() -> None:
    asked.clear()
    facts, other = read(MODEL), read(MODEL)
    assert answer(facts, "a") == answer(facts, "a")
    assert asked == [("a",)]
    assert answer(facts, "b") != answer(facts, "a")
    assert answer(facts, "b", loud=True) == answer(facts, "b").upper()
    assert len(asked) == 3
    answer(other, "a")
    assert len(asked) == 4


def test_remembering_changes_neither_equality_nor_lifetime() -> None:
    facts, other = read(MODEL), read(MODEL)
    answer(facts, "a")
    assert facts == other
    gone = weakref.ref(facts)
    del facts
    gc.collect()
    assert gone() is None
