"""Where buffers that live at different times lie in one arena: greedy by size.

The planner of TensorFlow Lite Micro (memory_planner/greedy_memory_planner.cc) and, with
other ties, of TensorFlow Lite (arena_planner.cc): the largest buffer first, each at the
lowest place that is free for its whole life (Pisarchyk and Lee, arXiv:2001.03288).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Placing is quadratic; models for these devices have a few hundred buffers.
MOST_PLACED = 3000


@dataclass(frozen=True, slots=True)
class Need:
    """A buffer and the steps, both inclusive, between which its bytes must stay.

    Attributes:
        offset: where an offline plan puts it; None leaves that to the planner.
    """

    size: int
    first: int
    last: int
    offset: int | None = None


def align(size: int, step: int) -> int:
    """Return ``size`` rounded up to a multiple of ``step``."""
    return -(-size // step) * step


def place(needs: Sequence[Need]) -> tuple[int, ...]:
    """Return an offset for each buffer; two that live at once never overlap.

    Offline offsets are kept as they are. Among equal sizes the earlier in the list comes
    last, as the in-place sort of the original leaves them.
    """
    fixed = [i for i, need in enumerate(needs) if need.offset is not None]
    free = [i for i, need in enumerate(needs) if need.offset is None]
    # the original fills its list from the tail, then sorts it stably by falling size
    free.reverse()
    free.sort(key=lambda i: -needs[i].size)
    offsets = [0] * len(needs)
    placed: list[tuple[int, int]] = []  # (offset, index), by offset
    for index in (*fixed, *free):
        need = needs[index]
        if need.offset is not None:
            offsets[index] = need.offset
        else:
            offsets[index] = _gap(need, needs, placed)
        _insert(placed, offsets[index], index)
    return tuple(offsets)


def peak(needs: Sequence[Need]) -> int:
    """Return the bytes that the placed buffers span together.

    Above ``MOST_PLACED`` buffers, where placing takes longer than a check may, the sum of
    all sizes stands in: more than any plan needs, never less.
    """
    if len(needs) > MOST_PLACED:
        return sum(need.size for need in needs)
    return _span(needs, place(needs))


def tightest_gap_peak(needs: Sequence[Need], step: int) -> int:
    """Return the bytes that TensorFlow Lite's own planner spans.

    It takes buffers that live to the end first, then by falling size, and gives each the
    gap that is left with the least room (arena_planner.cc, simple_memory_arena.cc).
    """
    if len(needs) > MOST_PLACED:
        return sum(align(need.size, step) for need in needs)
    last = max((need.last for need in needs), default=0)
    order = sorted(
        range(len(needs)),
        key=lambda i: (
            not (needs[i].first == 0 and needs[i].last == last),
            0 if needs[i].first == 0 and needs[i].last == last else -needs[i].size,
            needs[i].first,
        ),
    )
    offsets = [0] * len(needs)
    placed: list[tuple[int, int]] = []
    for index in order:
        offsets[index] = _tightest(needs[index], needs, placed, step)
        _insert(placed, offsets[index], index)
    return _span(needs, tuple(offsets))


def _span(needs: Sequence[Need], offsets: Sequence[int]) -> int:
    ends = (offset + need.size for offset, need in zip(offsets, needs, strict=True))
    return max(ends, default=0)


def lower_bound(needs: Sequence[Need]) -> int:
    """Return the most bytes that live at one step: no plan needs less."""
    steps = {need.first for need in needs}
    return max(
        (sum(n.size for n in needs if n.first <= step <= n.last) for step in steps), default=0
    )


def _gap(need: Need, needs: Sequence[Need], placed: Sequence[tuple[int, int]]) -> int:
    candidate = 0
    for offset, index in placed:
        other = needs[index]
        if other.first > need.last or need.first > other.last:
            continue
        if offset - candidate >= need.size:
            break
        candidate = max(candidate, offset + other.size)
    return candidate


def _tightest(
    need: Need, needs: Sequence[Need], placed: Sequence[tuple[int, int]], step: int
) -> int:
    best, room, end = None, -1, 0
    for offset, index in placed:
        other = needs[index]
        if other.first > need.last or need.first > other.last:
            continue
        start = align(end, step)
        if start + need.size <= offset and (best is None or offset - start < room):
            best, room = start, offset - end
        end = max(end, offset + other.size)
    return align(end, step) if best is None else best


def _insert(placed: list[tuple[int, int]], offset: int, index: int) -> None:
    at = len(placed)
    for position, (other, _) in enumerate(placed):
        if other > offset:
            at = position
            break
    placed.insert(at, (offset, index))
