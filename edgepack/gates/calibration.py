"""Whether the rows that set the int8 ranges can be trusted to have set them.

Too few, or also in the test part, and the accuracy that follows proves nothing; and if
either half of them alone gives another model, they do not stand for the data.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgepack.gates.accuracy import AccuracyComparison
from edgepack.gates.finding import Finding, How, Outcome
from edgepack.gates.limits import outcome_at_most

#: "around 100-500 samples" (LiteRT, post-training integer quantization guide).
ENOUGH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRows:
    """The rows that set the int8 ranges, counted.

    Attributes:
        drawn: how many were used.
        different: of them; a row that is there twice teaches no second range.
        tested: how many are test rows too.
    """

    drawn: int
    different: int
    tested: int


def overlap(rows: CalibrationRows) -> Finding | None:
    """Return the failure of rows that are also test rows; None where none is.

    Asked first: what models from such rows differ by says nothing.
    """
    if not rows.tested:
        return None
    says = f"{rows.tested} of {rows.drawn} calibration rows are also test rows; divide the data"
    return _finding(Outcome.FAIL, says, rows)


def judge(
    rows: CalibrationRows, halves: AccuracyComparison, limit: float, compared: str
) -> Finding:
    """Return the one finding about the calibration rows: enough, disjoint, consistent.

    Two models that answer differently by more than the limit, whichever is better, fail;
    only where the whole interval of the difference is beyond it.

    Args:
        halves: the model calibrated on the first half alone against that on the second.
        limit: largest difference of the score, as a share; the profile's of the drop.
        compared: which rows ``halves`` were compared on, for the line a person reads.
    """
    refused = overlap(rows)
    if refused is not None:
        return refused
    low, high = halves.drop_interval
    nearest = max(low, -high, 0.0)  # the least |difference| that the interval holds
    verdict = outcome_at_most(nearest, max(-low, high), limit)
    says = (
        f"{rows.drawn} rows, none of them tested; calibrated on either half alone the"
        f" {halves.score} differs by {abs(halves.drop):.4f} [{low:+.4f}, {high:+.4f}]"
        f" ({halves.samples:,} {compared} rows) of {limit:.4f} allowed"
    )
    if verdict is Outcome.FAIL:
        says += "; raise calibration_samples or mend the training data"
        return _finding(verdict, says, rows)
    if verdict is Outcome.INCONCLUSIVE:
        says += "; too few to decide: bring more validation or training rows"
    if rows.different < ENOUGH:
        verdict = Outcome.INCONCLUSIVE
        says += (
            f"; {rows.different} different ones are fewer than {ENOUGH}:"
            " bring more training rows or raise calibration_samples"
        )
    return _finding(verdict, says, rows)


def _finding(verdict: Outcome, says: str, rows: CalibrationRows) -> Finding:
    return Finding(
        gate="calibration",
        verdict=verdict,
        how=How.EMULATED,
        value=rows.different,
        limit=ENOUGH,
        unit="rows",
        says=says,
    )
