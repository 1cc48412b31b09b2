"""Instructions of one inference by class, from the counting plugin's lines; pure."""

from __future__ import annotations

import re
from dataclasses import replace

from edgepack.inference.protocol import Ending, Trace

CLASSES = ("int", "muldiv", "load", "store", "simd", "branch", "other")
_LINE = re.compile(rb"^edgepack-count (\d+)((?: \d+){7})$", re.MULTILINE)


def read_counts(trace: Trace, stderr: bytes) -> Trace:
    """Return the trace with ``instructions`` of the last inference and of each one.

    ``extra["instructions"]`` maps class to count, ``total`` with it: the last inference
    less what the same two marks cost around nothing. ``extra["instructions_each"]`` holds
    the totals of all counted inferences. Lines missing make the run an ERROR.
    """
    marks = {
        int(found[1]): tuple(int(n) for n in found[2].split())
        for found in _LINE.finditer(stderr)
    }
    blanks = int(trace.extra.get("blanks", 0))
    pairs = len(marks) // 2
    if pairs <= blanks or blanks < 1 or set(marks) != set(range(2 * pairs)):
        says = f"the counting plugin told {len(marks)} marks, of which no inference can be made"
        return replace(trace, ending=Ending.ERROR, says=says, outputs=None)
    spent = [
        [end - start for start, end in zip(marks[2 * i], marks[2 * i + 1], strict=True)]
        for i in range(pairs)
    ]
    idle = spent[blanks - 1]
    each = [
        [work - none for work, none in zip(one, idle, strict=True)] for one in spent[blanks:]
    ]
    last = dict(zip(CLASSES, each[-1], strict=True))
    extra = {
        **trace.extra,
        "instructions": {**last, "total": sum(last.values())},
        "instructions_each": [sum(one) for one in each],
        "instructions_idle": sum(idle),
    }
    return replace(trace, extra=extra)
