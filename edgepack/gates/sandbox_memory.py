"""Whether a model fits the memory its device grants it, from three sandboxed runs; pure.

The budget is the model's own: what it adds to an interpreter that is running already, with
all of the runtime's code resident. So that baseline is subtracted from the peak. The
container's hard limit is the budget on top of what Python and the runtime took on their own;
it bites some MiB late, by as much of that as is code the kernel can drop. See docs/adr/0009.
"""

from __future__ import annotations

from typing import Any

from edgepack.gates.finding import Finding, How, Outcome
from edgepack.inference.protocol import Ending, Trace
from edgepack.units import format_bytes

GATE = "peak_ram_sandbox"


def need_bytes(trace: Trace) -> int:
    """Return what the model added to the process at its peak.

    Raises:
        ValueError: the run did not end well, so it has no peak.
    """
    if trace.peak_rss_bytes is None or trace.baseline_rss_bytes is None:
        raise ValueError(f"a run that ended as {trace.ending.value} has no peak")
    return max(trace.peak_rss_bytes - trace.baseline_rss_bytes, 0)


def limit_bytes(free: Trace, budget_bytes: int) -> int:
    """Return the container limit: the budget, and what was resident after the imports.

    Without the code pages the limit would be exact, but a run whose libraries are not in the
    page cache yet then reads them from disk over and over (seen: 45 to 120 s).
    """
    if free.baseline_rss_bytes is None:
        raise ValueError(f"a run that ended as {free.ending.value} has no baseline")
    return int(free.extra.get("imported_rss_bytes", free.baseline_rss_bytes)) + budget_bytes


def judge(
    budget_bytes: int, *, free: Trace, canary: Trace, limited: Trace, where: str
) -> tuple[Finding, dict[str, Any]]:
    """Return the finding and its figures.

    Args:
        free: without a memory limit; gives the need.
        canary: a hog under the limit: if it lived, the limit does not bite here.
        limited: the model under the limit.
        where: image and processor, for the line a person reads.
    """
    figures: dict[str, Any] = {
        "budget_bytes": budget_bytes,
        "canary": canary.ending.value,
        "free": free.ending.value,
        "limited": limited.ending.value,
    }
    if free.ending is not Ending.OK:
        return unfinished(free, f"{where}, no memory limit"), figures
    need, limit = need_bytes(free), limit_bytes(free, budget_bytes)
    figures |= {
        "need_bytes": need,
        "baseline_bytes": free.baseline_rss_bytes,
        "limit_bytes": limit,
        "code_was_charged": not free.extra.get("code_is_resident", False),
        "anon_bytes": free.extra.get("rss_anon_bytes", 0)
        - free.extra.get("baseline_anon_bytes", 0),
    }
    told = f"needs {format_bytes(need)} of {format_bytes(budget_bytes)} on {where}"
    if canary.ending is not Ending.OOM:
        says = (
            f"{told}, but the limit could not be proven: a hog under it ended as "
            f"{canary.ending.value}; this engine does not enforce memory limits"
        )
        return _finding(Outcome.INCONCLUSIVE, says, need, budget_bytes), figures
    if limited.ending is not Ending.OK:
        under = f"{where} with {format_bytes(budget_bytes)} on top of the interpreter"
        finding = unfinished(limited, under)
        return _finding(finding.verdict, finding.says, need, budget_bytes), figures
    if need > budget_bytes:
        says = f"{told}: over by {format_bytes(need - budget_bytes)}"
        return _finding(Outcome.FAIL, says, need, budget_bytes), figures
    says = f"{told}; ran under that limit, which killed a hog"
    return _finding(Outcome.PASS, says, need, budget_bytes), figures


def unfinished(trace: Trace, where: str, gate: str = GATE) -> Finding:
    """Return the finding of a run that did not end well: each ending says what it was.

    A timeout is open, not a failure: the machine may be busy or the emulator slow.
    """
    word = {
        Ending.OOM: "out of memory",
        Ending.CRASH: "crash",
        Ending.TIMEOUT: "timeout",
        Ending.ERROR: "error",
    }[trace.ending]
    open_ = trace.ending is Ending.TIMEOUT
    return Finding(
        gate=gate,
        verdict=Outcome.INCONCLUSIVE if open_ else Outcome.FAIL,
        how=How.EMULATED,
        value=trace.ending.value,
        says=f"{word} on {where}: {trace.says}",
    )


def _finding(verdict: Outcome, says: str, need: int, budget: int) -> Finding:
    return Finding(
        gate=GATE,
        verdict=verdict,
        how=How.EMULATED,
        value=need,
        limit=budget,
        unit="B",
        says=says,
    )
