"""Instructions of one inference by class, from the counting plugin's lines; pure."""

from __future__ import annotations

import re
from dataclasses import replace

from edgepack.inference.protocol import ExitStatus, InstructionCounts, Trace

CLASSES = ("int", "muldiv", "load", "store", "simd", "branch", "other")
_LINE = re.compile(rb"^edgepack-count (\d+)((?: \d+){7})$", re.MULTILINE)


def read_counts(trace: Trace, stderr: bytes) -> Trace:
    """Return the trace with the instructions of its inferences; missing lines are an ERROR.

    Of each count the same two marks' cost around nothing is taken off.
    """
    marks = {
        int(found[1]): tuple(int(n) for n in found[2].split())
        for found in _LINE.finditer(stderr)
    }
    blanks = trace.blank_pairs
    pairs = len(marks) // 2
    if pairs <= blanks or blanks < 1 or set(marks) != set(range(2 * pairs)):
        says = f"the counting plugin told {len(marks)} marks, of which no inference can be made"
        return replace(trace, status=ExitStatus.ERROR, says=says, outputs=None)
    spent = [
        [end - start for start, end in zip(marks[2 * i], marks[2 * i + 1], strict=True)]
        for i in range(pairs)
    ]
    idle = spent[blanks - 1]
    each = [
        [work - none for work, none in zip(one, idle, strict=True)] for one in spent[blanks:]
    ]
    counts = InstructionCounts(
        by_class=dict(zip(CLASSES, each[-1], strict=True)),
        each=tuple(sum(one) for one in each),
        overhead=sum(idle),
    )
    return replace(trace, instructions=counts)
