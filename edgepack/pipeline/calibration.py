"""What gate ``calibration`` is asked about: the rows, and what either half of them makes."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgepack.gates import calibration
from edgepack.gates.accuracy import AccuracyComparison, compare
from edgepack.gates.calibration import CalibrationRows
from edgepack.gates.finding import Finding, Outcome
from edgepack.inference import scoring
from edgepack.inference.protocol import Runtime
from edgepack.pipeline.compress import Candidate
from edgepack.pipeline.data.loading import row_digests
from edgepack.pipeline.workspace import Workspace
from edgepack.profiles.profile import Profile
from edgepack.tflite.flatbuffer import read

#: Training rows that are asked where the validation part cannot decide; a policy: with 0 of
#: 2,000 rows apart, the interval is 0.002 wide.
MORE_ROWS = 2000


def judge(
    workspace: Workspace, candidate: Candidate, profile: Profile, runtime: Runtime
) -> Finding:
    """Return gate ``calibration`` of the shipped draft.

    The halves are compared on the validation part. Where that is too small to decide,
    training rows are asked too, of which none sees the test part either; those that set no
    range first.
    """
    samples, remembering = workspace.samples, workspace.answers.of(runtime)
    rows = candidate.recipe.int8.rows(samples, workspace.training)
    drawn = samples.x_train[rows]
    tested, digests = set(row_digests(samples.x_test)), row_digests(drawn)
    counted = CalibrationRows(
        drawn=len(rows),
        different=len(set(digests)),
        tested=sum(digest in tested for digest in digests),
    )
    refused = calibration.overlap(counted)
    if refused is not None:
        return refused
    limit = profile.accuracy.max_drop.value
    halves = [(model, read(model)) for model in candidate.halves]

    def scores(x: Any) -> list[Any]:
        return [scoring.scores(remembering, model, facts, x) for model, facts in halves]

    def compared(truth: Any, given: list[Any]) -> AccuracyComparison:
        first, second = given
        return compare(
            workspace.task,
            truth,
            first,
            second,
            threshold=workspace.decision_threshold,
            confidence=profile.accuracy.confidence,
        )

    chosen = scores(samples.x_val)
    found = calibration.judge(counted, compared(samples.y_val, chosen), limit, "validation")
    unasked = len(samples.x_train) and counted.different >= calibration.ENOUGH
    if found.verdict is not Outcome.INCONCLUSIVE or not unasked:
        return found
    rest = np.setdiff1d(np.arange(len(samples.x_train)), rows)
    more = np.concatenate([rest, rows])[:MORE_ROWS]
    pairs = zip(chosen, scores(samples.x_train[more]), strict=True)
    both = [np.concatenate(pair) for pair in pairs]
    truth = np.concatenate([samples.y_val, samples.y_train[more]])
    return calibration.judge(counted, compared(truth, both), limit, "validation and training")
