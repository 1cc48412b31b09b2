"""Laws of the memory gate: the budget is the model's own, and a limit must have bitten."""

import pytest

from edgepack.gates.finding import Outcome
from edgepack.gates.sandbox import limit_bytes, need_bytes, peak_ram, unfinished
from edgepack.inference.protocol import ExitStatus, ProcessMemory, Trace

MIB = 2**20
HELD = ProcessMemory(peak_rss_bytes=50 * MIB, baseline_rss_bytes=30 * MIB)
OK = Trace(status=ExitStatus.OK, says="ran", memory=HELD)
KILLED = Trace(status=ExitStatus.OOM, says="killed")


def verdict(
    budget: int, *, canary: Trace = KILLED, limited: Trace = OK, free: Trace = OK
) -> str:
    finding, _ = peak_ram(budget, free=free, canary=canary, limited=limited, where="here")
    return finding.verdict.value


def test_need_is_the_peak_less_what_was_there_before_the_model() -> None:
    assert need_bytes(OK) == 20 * MIB
    assert limit_bytes(OK, 8 * MIB) == 38 * MIB


@pytest.mark.parametrize(
    ("budget", "wanted"),
    [(20 * MIB - 1, "fail"), (20 * MIB, "pass"), (20 * MIB + 1, "pass")],
)
def test_the_budget_is_inclusive(budget: int, wanted: str) -> None:
    assert verdict(budget) == wanted


@pytest.mark.parametrize(
    "status", [ExitStatus.OK, ExitStatus.CRASH, ExitStatus.TIMEOUT, ExitStatus.ERROR]
)
def test_nothing_is_claimed_where_the_control_was_not_killed(status: ExitStatus) -> None:
    assert verdict(99 * MIB, canary=Trace(status=status, says="?")) == "inconclusive"
    assert verdict(1 * MIB, canary=Trace(status=status, says="?")) == "inconclusive"


@pytest.mark.parametrize(
    ("status", "word", "wanted"),
    [
        (ExitStatus.OOM, "out of memory", Outcome.FAIL),
        (ExitStatus.CRASH, "crash", Outcome.FAIL),
        (ExitStatus.TIMEOUT, "timeout", Outcome.INCONCLUSIVE),
        (ExitStatus.ERROR, "error", Outcome.FAIL),
    ],
)
def test_four_bad_endings_are_four_findings(
    status: ExitStatus, word: str, wanted: Outcome
) -> None:
    bad = Trace(status=status, says="why")
    for finding in (
        unfinished(bad, "here"),
        peak_ram(99 * MIB, free=bad, canary=KILLED, limited=OK, where="here")[0],
        peak_ram(99 * MIB, free=OK, canary=KILLED, limited=bad, where="here")[0],
    ):
        assert finding.verdict is wanted
        assert finding.says.startswith(f"{word} on here")
        assert "why" in finding.says


def test_a_run_that_did_not_end_well_has_no_need_and_no_baseline() -> None:
    with pytest.raises(ValueError, match="oom"):
        need_bytes(KILLED)
    with pytest.raises(ValueError, match="oom"):
        limit_bytes(KILLED, 1)
