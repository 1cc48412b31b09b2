"""What the stages of a line learn from, found to be sound before the first of them trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from converters.draft import Training
from edgepack.gates.accuracy import CLASSIFICATION


def lesson(training: Training, model: Any, teacher: Any, stages: Sequence[Any]) -> Training:
    """Return what every stage is trained with.

    Stages learn from ``model`` as it came, or from ``teacher`` where there is one, and not
    from the stage before.

    Raises:
        ModelRefused: a teacher of another kind of outputs, or a stage's ``layers`` that are
            not in both models.
    """
    from converters.learning import maps, objective

    made = replace(training, original=model, teacher=teacher)
    if teacher is not None and any(stage.distillation for stage in stages):
        goal = objective.objective(model, made)
        if goal.distils:
            goal.head_of(teacher)
    for stage in stages:
        maps.check(model, made.teacher_of(model), stage.layers)
    return made


def notes(
    name: str, told: Sequence[str], task: str | None, stages: Sequence[Any]
) -> tuple[str, ...]:
    """Return what there is to say of the teacher in the file ``name``, itself told so much.

    Labels alone are learned from where a task is no classification and no map is compared.
    """
    said = [f"teacher: {note}" for note in told]
    classes = task == CLASSIFICATION
    if any(stage.asks if classes else stage.compares for stage in stages):
        return tuple(said)
    why = "distillation," if classes else f"{task} learns from its targets, and"
    idle = f"{name} was not asked: {why} attention and features are 0 in every stage"
    return (*said, f"teacher: {idle}")
