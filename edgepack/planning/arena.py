"""Where buffers that live at different times lie in one arena: the one memory planner.

Four ways of placing, over the same buffers: the greedy order of TensorFlow Lite Micro
(memory_planner/greedy_memory_planner.cc), the tightest gap of TensorFlow Lite
(arena_planner.cc, simple_memory_arena.cc), XNNPACK's (src/memory-planner.c), and the best of
several first-fit orders for C of our own. All take buffers by falling size, each at a place
that is free for its whole life (Pisarchyk and Lee, arXiv:2001.03288).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np

#: Placing is quadratic; models for these devices have a few hundred buffers.
MOST_PLACED = 3000


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes that have to stay untouched from step ``first`` to step ``last``, inclusive.

    Attributes:
        offset: where an offline plan puts it; None leaves that to the planner.
    """

    nbytes: int
    first: int
    last: int
    offset: int | None = None

    def meets(self, other: Buffer) -> bool:
        """Return whether both are needed in some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Placement:
    """An offset for each buffer, in the buffers' order.

    Attributes:
        total_bytes: what they span together.
        floor_bytes: the most that any one step needs: no placement is below it.
    """

    offsets: tuple[int, ...]
    total_bytes: int
    floor_bytes: int


def align(size: int, step: int) -> int:
    """Return ``size`` rounded up to a multiple of ``step``."""
    return -(-size // step) * step


def floor_bytes(buffers: Sequence[Buffer]) -> int:
    """Return the most bytes that live at one step."""
    changes = [(b.first, b.nbytes) for b in buffers] + [
        (b.last + 1, -b.nbytes) for b in buffers
    ]
    # at one step what ended is subtracted first
    return max(accumulate(change for _, change in sorted(changes)), default=0)


def place_as_tflm(buffers: Sequence[Buffer]) -> Placement:
    """Return the placement of TensorFlow Lite Micro, each buffer at its lowest free place.

    Offline offsets are kept as they are. Among equal sizes the earlier in the list comes
    last, as the in-place sort of the original leaves them.
    """
    # the original fills its list from the tail, then sorts it stably by falling size
    free = [i for i, buffer in enumerate(buffers) if buffer.offset is None][::-1]
    free.sort(key=lambda i: -buffers[i].nbytes)
    fixed = [i for i, buffer in enumerate(buffers) if buffer.offset is not None]
    return _placed(buffers, (*fixed, *free), _lowest)


def place_as_tflite(buffers: Sequence[Buffer], alignment: int) -> Placement:
    """Return the placement of TensorFlow Lite's own planner.

    It takes buffers that live to the end first, then by falling size, and gives each the
    gap that is left with the least room.
    """
    end = max((buffer.last for buffer in buffers), default=0)

    def order(index: int) -> tuple[bool, int, int]:
        buffer = buffers[index]
        shorter = not (buffer.first == 0 and buffer.last == end)
        return shorter, -buffer.nbytes if shorter else 0, buffer.first

    def tightest(buffer: Buffer, taken: Iterable[tuple[int, int]]) -> int:
        best, room, end = None, -1, 0
        for start, stop in taken:
            at = align(end, alignment)
            if at + buffer.nbytes <= start and (best is None or start - at < room):
                best, room = at, start - end
            end = max(end, stop)
        return align(end, alignment) if best is None else best

    indices = sorted(range(len(buffers)), key=order)
    return _placed(buffers, indices, tightest, alignment)


def place_as_xnnpack(buffers: Sequence[Buffer]) -> Placement:
    """Return the placement of XNNPACK (src/memory-planner.c, find_value_alloc_offset).

    By falling size, equal ones in the order given (glibc's qsort is stable). A gap counts
    only between two blocks that live: nothing is placed below the first of them, so a chain
    of equal sizes reuses nothing at all.
    """

    def between(buffer: Buffer, taken: Iterable[tuple[int, int]]) -> int:
        blocks: list[tuple[int, int]] = []
        for start, stop in taken:
            if blocks and start <= blocks[-1][1]:
                blocks[-1] = (blocks[-1][0], max(blocks[-1][1], stop))
            else:
                blocks.append((start, stop))
        gaps = [
            (start - end, end)
            for (_, end), (start, _) in pairwise(blocks)
            if start - end >= buffer.nbytes
        ]
        # of equal gaps the first; without one, behind the last block
        return min(gaps)[1] if gaps else blocks[-1][1] if blocks else 0

    indices = sorted(range(len(buffers)), key=lambda index: -buffers[index].nbytes)
    return _placed(buffers, indices, between)


_ORDERS: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
    lambda b: (-b.nbytes, b.first),
    lambda b: (-(b.last - b.first), -b.nbytes),
    lambda b: (b.first, -b.nbytes),
    lambda b: (-b.last, -b.nbytes),
    lambda b: (-b.nbytes * (b.last - b.first + 1), b.first),
)


def place_smallest(buffers: Sequence[Buffer], alignment: int) -> Placement:
    """Return the smallest placement that several first-fit orders find, all aligned."""
    padded = [replace(b, nbytes=align(b.nbytes, alignment)) for b in buffers]
    found = []
    for order in _ORDERS:
        keys = [(*order(buffer), index) for index, buffer in enumerate(buffers)]
        found.append(
            _placed(padded, sorted(range(len(buffers)), key=keys.__getitem__), _lowest)
        )
    return min(found, key=lambda placement: placement.total_bytes)


def _placed(
    buffers: Sequence[Buffer],
    order: Sequence[int],
    gap: Callable[[Buffer, Iterable[tuple[int, int]]], int],
    alignment: int = 1,
) -> Placement:
    """Return the buffers placed one after the other, each where ``gap`` says.

    Above ``MOST_PLACED`` buffers, where placing takes longer than a check may, each gets
    bytes of its own: more than any plan needs, never less.

    Args:
        gap: takes a buffer and the (start, end) of those placed that meet it, by start.
        alignment: of each, when every buffer has bytes of its own.
    """
    offsets = [0] * len(buffers)
    if len(buffers) > MOST_PLACED:
        end = 0
        for index, buffer in enumerate(buffers):
            offsets[index], end = end, end + align(buffer.nbytes, alignment)
        return Placement(tuple(offsets), end, floor_bytes(buffers))
    # in the order of placing, so that one comparison finds the placed ones that meet
    first = np.array([buffers[index].first for index in order])
    last = np.array([buffers[index].last for index in order])
    for count, index in enumerate(order):
        buffer = buffers[index]
        offset = buffer.offset
        if offset is None:
            meets = (first[:count] <= buffer.last) & (last[:count] >= buffer.first)
            meeting = [order[n] for n in np.flatnonzero(meets).tolist()]
            meeting.sort(key=offsets.__getitem__)  # of equal ones, the one placed first
            offset = gap(
                buffer, ((offsets[i], offsets[i] + buffers[i].nbytes) for i in meeting)
            )
        offsets[index] = offset
    pairs = zip(offsets, buffers, strict=True)
    total = max((offset + buffer.nbytes for offset, buffer in pairs), default=0)
    return Placement(tuple(offsets), total, floor_bytes(buffers))


def _lowest(buffer: Buffer, taken: Iterable[tuple[int, int]]) -> int:
    """Return the lowest place with room between what is taken."""
    candidate = 0
    for start, end in taken:
        if start - candidate >= buffer.nbytes:
            break
        candidate = max(candidate, end)
    return candidate
