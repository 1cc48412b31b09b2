"""What a candidate answers to rows that it was not made with, under a runtime."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from edgepack.bundle.archive import Step
from edgepack.errors import RuntimeFailure
from edgepack.gates import accuracy
from edgepack.gates.accuracy import AccuracyComparison
from edgepack.inference import scoring
from edgepack.inference.protocol import Runtime
from edgepack.pipeline.compress import Candidate, Intermediate
from edgepack.pipeline.workspace import Part, Workspace
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
        float_scores, scores: ``(N, *output_shape) float32``; ``scores`` is None where the
            runtime crashed on the candidate or refused it.
        failure: then why, else None.
        steps: what each step gained and lost; one that the runtime failed on is left out.
        notes: which were left out, and why.
    """

    part: P
    runtime: str
    task: str
    decision_threshold: float
    targets: NDArray[Any]
    float_scores: NDArray[np.float32]
    scores: NDArray[np.float32] | None
    failure: RuntimeFailure | None = None
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    _compared: dict[float, AccuracyComparison] = field(
        default_factory=dict, compare=False, repr=False
    )

    def compared(self, confidence: float = 0.95) -> AccuracyComparison | None:
        """Return how the candidate compares with the float model; None without answers.

        Made once for all devices that ask for the same confidence.
        """
        if self.scores is None:
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
    remembering = workspace.answers.of(runtime)
    before = workspace.float_scores(part)
    scores, failure = None, None
    try:
        scores = scoring.scores(remembering, candidate.tflite, candidate.facts, x)
    except RuntimeFailure as ended:
        failure = ended
    rows: list[Step] = []
    notes: list[str] = []
    for step in candidate.steps:
        facts = read(step.tflite)
        after = before
        if step.step != "float":
            try:
                after = scoring.scores(remembering, step.tflite, facts, x)
            except RuntimeFailure as ended:
                notes.append(f"{step.step}: left out of the steps: {ended}")
                continue
        cut = workspace.decision_threshold
        found = accuracy.compare(workspace.task, targets, before, after, threshold=cut)
        rows.append(_step(step, found))
    return Evaluation(
        part=part,
        runtime=runtime.name,
        task=workspace.task,
        decision_threshold=workspace.decision_threshold,
        targets=targets,
        float_scores=before,
        scores=scores,
        failure=failure,
        steps=tuple(rows),
        notes=tuple(notes),
    )


def _step(made: Intermediate, found: AccuracyComparison) -> Step:
    facts = read(made.tflite)
    total = sum(kernel.elements for kernel in facts.kernels) or 1
    zeros = sum(kernel.zeros_share * kernel.elements for kernel in facts.kernels)
    return Step(
        stage=made.step,
        score_name=found.score,
        score=round(found.score_now, 6),
        flatbuffer_bytes=facts.flatbuffer_bytes,
        download_bytes=facts.download_bytes,
        zeros_share=round(zeros / total, 4),
        codes=max((kernel.distinct for kernel in facts.kernels), default=0),
    )
