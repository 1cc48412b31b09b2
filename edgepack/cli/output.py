"""How results are shown: lines and tables for people, one JSON object for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from edgepack.verdict import Finding, Outcome, Verdict

_MARK = {Outcome.PASS: "pass", Outcome.FAIL: "FAIL", Outcome.INCONCLUSIVE: "open"}


def as_json(schema: str, verdict: Verdict, **more: Any) -> dict[str, Any]:
    """Return the versioned object that every judging command prints with --json."""
    return {
        "schema": schema,
        "verdict": verdict.outcome.value,
        "findings": [finding.as_json() for finding in verdict.findings],
        **more,
    }


def emit(plain: dict[str, Any]) -> None:
    """Print one JSON object to stdout."""
    print(json.dumps(plain, allow_nan=False))


def lines(findings: Sequence[Finding]) -> list[str]:
    """Return one line a finding: mark, gate, how it was obtained, what it says."""
    width = max((len(finding.gate) for finding in findings), default=0)
    return [
        f"  {_MARK[each.verdict]}  {each.gate:<{width}}  {_how(each)}{each.says}"
        for each in findings
    ]


def _how(finding: Finding) -> str:
    return f"[{finding.how.value}] " if finding.how else ""


def figures(found: Mapping[str, Any], under: str = "") -> list[str]:
    """Return nested figures as ``path: value`` lines, long lists by their length."""
    told = []
    for key, value in found.items():
        name = f"{under}{key}"
        if isinstance(value, Mapping):
            told += figures(value, f"{name}.")
        elif isinstance(value, list) and len(value) > 8:
            told.append(f"{name}: {len(value)} values")
        elif value not in (None, "", [], {}):
            told.append(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
    return told


def closing(name: str, verdict: Verdict) -> str:
    """Return the one line that ends a judgement."""
    failed = verdict.named(Outcome.FAIL)
    if failed:
        return f"{name}: fail ({', '.join(f.gate for f in failed)})"
    opened = verdict.named(Outcome.INCONCLUSIVE)
    if opened:
        gates = ", ".join(f.gate for f in opened)
        return f"{name}: inconclusive, which is no pass ({gates})"
    return f"{name}: pass ({len(verdict.findings)} gates)"


def exit_code(outcomes: Sequence[Outcome], strict: bool) -> int:
    """Return 3 if a gate failed, or with ``strict`` if one is open; else 0."""
    refused = {Outcome.FAIL, Outcome.INCONCLUSIVE} if strict else {Outcome.FAIL}
    return 3 if refused & set(outcomes) else 0


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of several judgements together."""
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        if outcome in outcomes:
            return outcome
    return Outcome.PASS


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout, as wide as its content where nobody watches a terminal."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for number, name in enumerate(head):
        drawn.add_column(name, justify="left" if number == 0 else "right")
    for row in rows:
        drawn.add_row(*row)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(drawn)


class Progress:
    """Bars on stderr, on terminals only: one for each stage that trains."""

    def __init__(self, bars: Any = None) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def step(self, stage: str, done: int, total: int) -> None:
        """Move the bar of ``stage``; the signature stages call."""
        if self._bars is None:
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def say(self, text: str) -> None:
        """Show what is being done now."""
        if self._bars is not None:
            self._bars.console.print(text)


@contextmanager
def progress() -> Iterator[Progress]:
    """Yield bars that are removed at the end; silent where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        yield Progress(bars)
