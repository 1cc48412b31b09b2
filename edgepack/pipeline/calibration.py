"""Whether the rows that set the int8 ranges can be trusted to have set them.

Too few, or also in the test part, and the accuracy that follows proves nothing; and if
either half of them alone gives another model, they do not stand for the data.
"""

from __future__ import annotations

from typing import Any

from converters.draft import calibration_rows
from edgepack.gates import accuracy as fidelity
from edgepack.gates.finding import Finding, How, Outcome
from edgepack.inference import scoring
from edgepack.inference.protocol import Runtime
from edgepack.pipeline.data.loading import row_digests
from edgepack.pipeline.workspace import Line
from edgepack.profiles.profile import Profile
from edgepack.tflite.flatbuffer import read

#: "around 100-500 samples" (LiteRT, post-training integer quantization guide).
ENOUGH = 100


def judge(line: Line, profile: Profile, options: dict[str, Any], runtime: Runtime) -> Finding:
    """Return the one finding about the calibration rows: enough, disjoint, consistent."""
    samples = line.samples
    rows = calibration_rows(
        len(samples.x_train), line.recipe.int8.calibration_samples, line.training.seed
    )
    drawn = samples.x_train[rows]
    tested, digests = set(row_digests(samples.x_test)), row_digests(drawn)
    shared = sum(digest in tested for digest in digests)
    different = len(set(digests))  # a row that is there twice teaches no second range
    if shared:
        return _finding(
            Outcome.FAIL,
            f"{shared} of {len(rows)} calibration rows are also test rows; divide the data",
            different,
        )
    first, second = (
        scoring.scores(runtime, model, read(model), samples.x_val)
        for model in line.int8_halves(**options)
    )
    task = line.training.task or fidelity.CLASSIFICATION
    found = fidelity.compare(task, samples.y_val, first, second)
    limit = profile.accuracy.max_drop.value
    apart = abs(found.drop)
    says = (
        f"{len(rows)} rows, none of them tested; calibrated on either half alone the"
        f" {found.score} differs by {apart:.4f} (validation part)"
    )
    if apart > limit:
        says += f", more than {limit:.4f}: raise calibration_samples or mend the training data"
        return _finding(Outcome.FAIL, says, different)
    if different < ENOUGH:
        says += (
            f"; {different} different ones are fewer than {ENOUGH}:"
            " bring more training rows or raise calibration_samples"
        )
        return _finding(Outcome.INCONCLUSIVE, says, different)
    return _finding(Outcome.PASS, says, different)


def _finding(verdict: Outcome, says: str, rows: int) -> Finding:
    return Finding(
        gate="calibration",
        verdict=verdict,
        how=How.EMULATED,
        value=rows,
        limit=ENOUGH,
        unit="rows",
        says=says,
    )
