"""What a candidate answers to rows that it was not made with, under a runtime."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from edgepack.bundle.archive import Step
from edgepack.errors import RuntimeFailure
from edgepack.gates import absolute_accuracy, accuracy
from edgepack.gates.absolute_accuracy import AccuracyScore
from edgepack.gates.accuracy import AccuracyComparison
from edgepack.inference import scoring
from edgepack.inference.protocol import Runtime
from edgepack.pipeline.compress import Candidate, Intermediate
from edgepack.pipeline.workspace import Part, Workspace
from edgepack.tflite.facts import Facts
from edgepack.tflite.flatbuffer import read

P = TypeVar("P", bound=Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation(Generic[P]):
    """A candidate's and the float model's answers to one part of the data.

    ``Evaluation[Literal["val"]]`` is for what chooses, ``Evaluation[Literal["test"]]`` is
    what ``pack`` takes: a type checker keeps the two apart.

    Attributes:
        part: whose rows were answered.
        runtime: its name; its builtin kernels answered.
        targets: of the rows.
        float_scores, scores: ``(N, *output_shape) float32``; ``float_scores`` is None where
            there is no float model, ``scores`` where the runtime crashed on the candidate or
            refused it.
        failure: then why, else None.
        steps: what each step gained and lost; one that the runtime failed on is left out.
        notes: which were left out, and why.
    """

    part: P
    runtime: str
    task: str
    decision_threshold: float
    targets: NDArray[Any]
    float_scores: NDArray[np.float32] | None
    scores: NDArray[np.float32] | None
    failure: RuntimeFailure | None = None
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    _compared: dict[float, AccuracyComparison] = field(
        default_factory=dict, compare=False, repr=False
    )
    _measured: dict[float, AccuracyScore] = field(
        default_factory=dict, compare=False, repr=False
    )

    def compared(self, confidence: float = 0.95) -> AccuracyComparison | None:
        """Return how the candidate compares with the float model; None without either.

        Made once for all devices that ask for the same confidence.
        """
        if self.scores is None or self.float_scores is None:
            return None
        if confidence not in self._compared:
            self._compared[confidence] = accuracy.compare(
                self.task,
                self.targets,
                self.float_scores,
                self.scores,
                threshold=self.decision_threshold,
                confidence=confidence,
            )
        return self._compared[confidence]

    def measured(self, confidence: float = 0.95) -> AccuracyScore | None:
        """Return how good the candidate is by itself; None without answers."""
        if self.scores is None:
            return None
        if confidence not in self._measured:
            self._measured[confidence] = absolute_accuracy.measure(
                self.task,
                self.targets,
                self.scores,
                threshold=self.decision_threshold,
                confidence=confidence,
            )
        return self._measured[confidence]


Validated = Evaluation[Literal["val"]]
Tested = Evaluation[Literal["test"]]


@overload
def evaluate(
    workspace: Workspace, candidate: Candidate, part: Literal["val"], runtime: Runtime
) -> Validated: ...
@overload
def evaluate(
    workspace: Workspace, candidate: Candidate, part: Literal["test"], runtime: Runtime
) -> Tested: ...
def evaluate(
    workspace: Workspace, candidate: Candidate, part: Part, runtime: Runtime
) -> Validated | Tested:
    """Return the candidate's answers to a part of the data; a runtime's failure is a value.

    Raises:
        UsageError: the test part, of a workspace that chooses (``for_choosing``).
    """
    if part == "val":
        return _evaluated(workspace, candidate, "val", runtime)
    return _evaluated(workspace, candidate, "test", runtime)


def _evaluated(
    workspace: Workspace, candidate: Candidate, part: P, runtime: Runtime
) -> Evaluation[P]:
    x, targets = workspace.rows(part)
    rows = RowsToAnswer(
        part=part,
        x=x,
        targets=targets,
        task=workspace.task,
        decision_threshold=workspace.decision_threshold,
        float_scores=workspace.float_scores(part),
    )
    remembering = workspace.answers.of(runtime)
    return answered(rows, candidate.tflite, candidate.facts, candidate.steps, remembering)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsToAnswer(Generic[P]):
    """Rows of one part, what is right for them, and what the float model answers.

    Attributes:
        x, targets: ``(N, *input_shape)`` in the float model's units, and what is right.
        float_scores: ``(N, *output_shape) float32``; None where there is no float model.
    """

    part: P
    x: NDArray[Any]
    targets: NDArray[Any]
    task: str
    decision_threshold: float
    float_scores: NDArray[np.float32] | None


def answered(
    asked: RowsToAnswer[P],
    tflite: bytes,
    facts: Facts,
    steps: Iterable[Intermediate],
    runtime: Runtime,
) -> Evaluation[P]:
    """Return a .tflite's answers to rows; a runtime's failure is a value.

    Args:
        steps: what led to the file; each is scored too. One named ``float`` is the float
            model, whose answers are known.
    """
    x, targets, before = asked.x, asked.targets, asked.float_scores
    scores, failure = None, None
    try:
        scores = _finite(scoring.scores(runtime, tflite, facts, x), runtime)
    except RuntimeFailure as ended:
        failure = ended
    rows: list[Step] = []
    notes: list[str] = []
    for step in steps:
        made = read(step.tflite)
        after = before
        if step.step != "float" or after is None:
            try:
                after = _finite(scoring.scores(runtime, step.tflite, made, x), runtime)
            except RuntimeFailure as ended:
                notes.append(f"{step.step}: left out of the steps: {ended}")
                continue
        cut = asked.decision_threshold
        found = absolute_accuracy.measure(asked.task, targets, after, threshold=cut)
        rows.append(_step(step, made, found))
    return Evaluation(
        part=asked.part,
        runtime=runtime.name,
        task=asked.task,
        decision_threshold=asked.decision_threshold,
        targets=targets,
        float_scores=before,
        scores=scores,
        failure=failure,
        steps=tuple(rows),
        notes=tuple(notes),
    )


def _finite(scores: NDArray[np.float32], runtime: Runtime) -> NDArray[np.float32]:
    """Return the scores as they are.

    Raises:
        RuntimeFailure: some are no numbers, as a float model's may be.
    """
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        raise RuntimeFailure(
            f"{runtime.name}: {wrong:,} of {scores.size:,} outputs are NaN or infinite; check"
            " the model and how the rows are prepared"
        )
    return scores


def _step(made: Intermediate, facts: Facts, found: AccuracyScore) -> Step:
    total = sum(kernel.elements for kernel in facts.kernels) or 1
    zeros = sum(kernel.zeros_share * kernel.elements for kernel in facts.kernels)
    return Step(
        stage=made.step,
        score_name=found.score,
        score=round(found.value, 6),
        flatbuffer_bytes=facts.flatbuffer_bytes,
        download_bytes=facts.download_bytes,
        zeros_share=round(zeros / total, 4),
        codes=max((kernel.distinct for kernel in facts.kernels), default=0),
    )
