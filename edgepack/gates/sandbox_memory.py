"""Whether a model fits the memory its device grants it, from three sandboxed runs; pure.

The budget is the model's own: what it adds to an interpreter that is running already, with
all of the runtime's code resident. So that baseline is subtracted from the peak. The
container's hard limit is the budget on top of what Python and the runtime took on their own;
it bites some MiB late, by as much of that as is code the kernel can drop. See docs/adr/0009.
"""

from __future__ import annotations

from edgepack.gates.finding import Finding, How, Outcome
from edgepack.inference.protocol import ExitStatus, ProcessMemory, Trace
from edgepack.measurements.bench_figures import MemoryFigures
from edgepack.units import format_bytes

GATE = "peak_ram_sandbox"


def need_bytes(trace: Trace) -> int:
    """Return what the model added to the process at its peak.

    Raises:
        ValueError: the run did not end well, so it has no peak.
    """
    memory = _memory(trace)
    return max(memory.peak_rss_bytes - memory.baseline_rss_bytes, 0)


def limit_bytes(free: Trace, budget_bytes: int) -> int:
    """Return the container limit: the budget, and what was resident after the imports.

    Without the code pages the limit would be exact, but a run whose libraries are not in the
    page cache yet then reads them from disk over and over (seen: 45 to 120 s).

    Raises:
        ValueError: the run did not end well, so it has no baseline.
    """
    memory = _memory(free)
    imported = memory.imported_rss_bytes
    return (memory.baseline_rss_bytes if imported is None else imported) + budget_bytes


def _memory(trace: Trace) -> ProcessMemory:
    if trace.memory is None:
        raise ValueError(f"a run that ended as {trace.status.value} has no memory figures")
    return trace.memory


def judge(
    budget_bytes: int, *, free: Trace, canary: Trace, limited: Trace, where: str
) -> tuple[Finding, MemoryFigures]:
    """Return the finding and its figures.

    Args:
        free: without a memory limit; gives the need.
        canary: a control process that allocates more than the limit: if it is not OOM-killed,
            this engine enforces no limit.
        limited: the model under the limit.
        where: image and processor, for the line a person reads.
    """
    figures = MemoryFigures(
        budget_bytes=budget_bytes,
        canary=canary.status,
        free=free.status,
        limited=limited.status,
    )
    if free.status is not ExitStatus.OK:
        return unfinished(free, f"{where}, no memory limit"), figures
    need, limit = need_bytes(free), limit_bytes(free, budget_bytes)
    memory = _memory(free)
    figures = figures.model_copy(
        update={
            "need_bytes": need,
            "baseline_bytes": memory.baseline_rss_bytes,
            "limit_bytes": limit,
            "code_was_charged": not memory.code_is_resident,
            "anon_bytes": memory.anon_bytes - memory.baseline_anon_bytes,
        }
    )
    told = f"needs {format_bytes(need)} of {format_bytes(budget_bytes)} on {where}"
    if canary.status is not ExitStatus.OOM:
        says = (
            f"{told}, but the limit is not proven: a control process above it ended as "
            f"{canary.status.value}; this engine does not enforce memory limits"
        )
        return _finding(Outcome.INCONCLUSIVE, says, need, budget_bytes), figures
    if limited.status is not ExitStatus.OK:
        under = f"{where} with {format_bytes(budget_bytes)} on top of the interpreter"
        finding = unfinished(limited, under)
        return _finding(finding.verdict, finding.says, need, budget_bytes), figures
    if need > budget_bytes:
        says = f"{told}: over by {format_bytes(need - budget_bytes)}"
        return _finding(Outcome.FAIL, says, need, budget_bytes), figures
    says = f"{told}; ran under that limit; a control process above it was OOM-killed"
    return _finding(Outcome.PASS, says, need, budget_bytes), figures


def unfinished(trace: Trace, where: str, gate: str = GATE) -> Finding:
    """Return the finding of a run that did not end well: each exit status has its own word.

    A timeout is inconclusive, no failure: the machine may be busy or the emulator slow.
    """
    word = {
        ExitStatus.OOM: "out of memory",
        ExitStatus.CRASH: "crash",
        ExitStatus.TIMEOUT: "timeout",
        ExitStatus.ERROR: "error",
    }[trace.status]
    busy = trace.status is ExitStatus.TIMEOUT
    return Finding(
        gate=gate,
        verdict=Outcome.INCONCLUSIVE if busy else Outcome.FAIL,
        how=How.EMULATED,
        value=trace.status.value,
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
