"""Where each value lies in the arena: static memory planning, no allocation at run time.

Two values may share bytes when no step needs both. The placement is greedy, first fit, tried
in several orders; ``floor_bytes`` is what no placement can go below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

ALIGNMENT_BYTES = 4  # words are loaded from the arena


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes that have to stay untouched from step ``first`` to step ``last``, inclusive."""

    bytes: int
    first: int
    last: int

    def meets(self, other: Block) -> bool:
        """Return whether both are needed in some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Placement:
    """An offset for each block, in the blocks' order, and the arena that holds them all."""

    offsets: tuple[int, ...]
    total_bytes: int
    floor_bytes: int


_ORDERS: tuple[Callable[[Block], tuple[int, ...]], ...] = (
    lambda b: (-b.bytes, b.first),
    lambda b: (-(b.last - b.first), -b.bytes),
    lambda b: (b.first, -b.bytes),
    lambda b: (-b.last, -b.bytes),
    lambda b: (-b.bytes * (b.last - b.first + 1), b.first),
)


def place(blocks: Sequence[Block]) -> Placement:
    """Return the smallest placement that the greedy orders find."""
    found = [_first_fit(blocks, order) for order in _ORDERS]
    totals = [_end(blocks, offsets) for offsets in found]
    best = totals.index(min(totals))
    return Placement(found[best], totals[best], floor_bytes(blocks))


def floor_bytes(blocks: Sequence[Block]) -> int:
    """Return the most bytes that any one step needs at once."""
    steps = {b.first for b in blocks}
    return max(
        (sum(_aligned(b.bytes) for b in blocks if b.first <= s <= b.last) for s in steps),
        default=0,
    )


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _end(blocks: Sequence[Block], offsets: Sequence[int]) -> int:
    pairs = zip(blocks, offsets, strict=True)
    return max((offset + _aligned(block.bytes) for block, offset in pairs), default=0)


def _first_fit(
    blocks: Sequence[Block], order: Callable[[Block], tuple[int, ...]]
) -> tuple[int, ...]:
    offsets: dict[int, int] = {}
    for index in sorted(range(len(blocks)), key=lambda i: (*order(blocks[i]), i)):
        block = blocks[index]
        taken = sorted(
            (offsets[i], offsets[i] + _aligned(blocks[i].bytes))
            for i in offsets
            if blocks[i].meets(block)
        )
        offset = 0
        for start, end in taken:
            if offset + block.bytes <= start:
                break
            offset = max(offset, end)
        offsets[index] = offset
    return tuple(offsets[i] for i in range(len(blocks)))
