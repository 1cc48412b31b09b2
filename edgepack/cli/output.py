"""How results are shown: lines and tables for people, one JSON object for programs."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from edgepack.cli import signals
from edgepack.gates.finding import Finding, Outcome, Verdict

_ANY_WIDTH = 1000
#: A cell that is a number, perhaps with its unit; a column of those is aligned to the right.
_FIGURE = re.compile(r"[-+]?\d[\d,.]*(?:%| [a-zA-Z]+)?")
_MARK = {Outcome.PASS: "pass", Outcome.FAIL: "FAIL", Outcome.INCONCLUSIVE: "inconclusive"}


def as_json(schema: str, verdict: Verdict, **more: Any) -> dict[str, Any]:
    """Return the versioned object that every judging command prints with --json."""
    return {
        "schema": schema,
        "verdict": verdict.outcome.value,
        "findings": [finding.as_json() for finding in verdict.findings],
        **more,
    }


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON object to stdout."""
    print(json.dumps(document, allow_nan=False))


def printable(text: str) -> str:
    """Return ``text`` as one printable line: what a file holds cannot command a terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def print_lines(*texts: str) -> None:
    """Print each of ``texts`` as one plain line to stdout."""
    for line in texts:
        print(printable(line))


def warn(why: str) -> None:
    """Print one line to stderr about what was left out; the command goes on."""
    print(f"edgepack: {printable(' '.join(why.split()))}", file=sys.stderr)


def print_verdict(title: str, name: str, verdict: Verdict, *more: str) -> None:
    """Print a judgement: what of, a line a gate, ``more``, and the one that ends it."""
    print_lines(title, *finding_lines(verdict.findings), *more, verdict_line(name, verdict))


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Return one line a finding: mark, gate, how it was obtained, what it says."""
    width = max((len(finding.gate) for finding in findings), default=0)
    marks = max((len(_MARK[finding.verdict]) for finding in findings), default=0)
    return [
        f"  {_MARK[each.verdict]:<{marks}}  {each.gate:<{width}}  {_how(each)}{each.says}"
        for each in findings
    ]


def _how(finding: Finding) -> str:
    return f"[{finding.how.value}] " if finding.how else ""


def verdict_line(name: str, verdict: Verdict) -> str:
    """Return the one line that ends a judgement."""
    failed = verdict.named(Outcome.FAIL)
    if failed:
        return f"{name}: fail ({', '.join(f.gate for f in failed)})"
    unanswered = verdict.named(Outcome.INCONCLUSIVE)
    if unanswered:
        gates = ", ".join(f.gate for f in unanswered)
        return f"{name}: inconclusive, which is no pass ({gates})"
    return f"{name}: pass ({len(verdict.findings)} gates)"


def exit_code(outcomes: Sequence[Outcome], strict: bool) -> int:
    """Return 3 if a gate failed, or with ``strict`` if one is inconclusive; else 0."""
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
    from rich.text import Text

    drawn = Table(title=Text(printable(title)), title_justify="left")
    for number, name in enumerate(head):
        first = number == 0  # a name is there to be typed: it is never cut short
        figures = any(_FIGURE.fullmatch(row[number]) for row in rows)
        drawn.add_column(name, justify="right" if figures else "left", no_wrap=first)
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))  # brackets are no markup
    console = Console(color_system=_colors(), width=None if sys.stdout.isatty() else _ANY_WIDTH)
    with console.capture() as kept:  # printed here: rich would end us where a pipe breaks
        console.print(drawn)
    print("\n".join(line.rstrip() for line in kept.get().splitlines()))


def _colors() -> Literal["auto"] | None:
    """Return no colours and styles where the user asks for none (no-color.org)."""
    return None if os.environ.get("NO_COLOR") else "auto"


class TerminalProgress:
    """What is being done now, on stderr: bars on a terminal, elsewhere a line a stage."""

    def __init__(self, bars: Any = None) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def step(self, stage: str, done: int, total: int) -> None:
        """Move the bar of ``stage``; the signature stages call."""
        signals.raise_if_received()
        if self._bars is None:
            if stage not in self._tasks:
                self._tasks[stage] = None
                self._line(f"{stage}: {total} steps")
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def say(self, text: str) -> None:
        """Show what is being done now."""
        signals.raise_if_received()
        if self._bars is None:
            self._line(text)
        else:
            self._bars.console.print(printable(text), markup=False, highlight=False)

    def _line(self, text: str) -> None:
        try:
            print(printable(text), file=sys.stderr, flush=True)
        except OSError:  # nobody reads the progress; the result still counts
            with suppress(OSError):  # what it still held has nowhere to go
                sys.stderr.close()
            sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for our whole life


@contextmanager
def progress() -> Iterator[TerminalProgress]:
    """Yield bars that are removed at the end, or lines where stderr is no terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield TerminalProgress()
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(stderr=True, color_system=_colors())
    with Bars(console=console, transient=True) as bars:
        yield TerminalProgress(bars)
