"""The memory in which builtin kernels pack the two sides of a matrix product (ruy).

Replayed: ruy/allocator.cc hands out one arena for a product and takes it back behind it.
What does not fit gets a block of its own, and then the arena grows by all such blocks. The
new arena is allocated before the old one's blocks are given back, so that both have been
written: the heap keeps that hole, too small for what comes next.
"""

from __future__ import annotations

from edgepack.planning.arena import align
from edgepack.tflite.facts import Facts, Op

#: Channels or pixels of one block of the widest kernel (ruy/kernel_x86.h, AVX-512: 16; NEON
#: 4 to 8) and the depth that its 8-bit kernels read at once.
TILE, DEPTH = 16, 4
#: Kept apart from the other side's addresses (ruy/allocator.cc, kMinPeriod).
APART = 1024
#: Parameters and small buffers of one product: measured 576 bytes.
SMALL = 1024


def packing_bytes(facts: Facts, left: frozenset[int], unpacked_copy: bool) -> int:
    """Return the most bytes that products of builtin kernels make resident.

    Args:
        left: operators of the main graph that a delegate executes.
        unpacked_copy: whether the release copies int8 filters into twice their bytes for
            each product (tensorflow/lite/kernels/conv.cc of 2.14, bytes_unpacked).
    """
    arena = hole = widest = copied = 0
    for op in facts.ops:
        if op.subgraph == 0 and op.index in left:
            continue
        blocks = _blocks(op, facts)
        weights = facts.feed(op, 1)
        copy = 0
        if unpacked_copy and op.name == "CONV_2D" and weights and weights.dtype == "int8":
            copy = 2 * weights.nbytes
        used = own = 0
        for block in blocks:
            if used + block <= arena:
                used += block
            else:
                own += block
        if own:
            hole = max(hole, copy + used + own)  # the copy lies below the new arena
            arena += own
        widest = max(widest, sum(blocks))
        copied = max(copied, copy)
    return widest + hole + copied


def _blocks(op: Op, facts: Facts) -> tuple[int, ...]:
    """Return the packed weights, the packed inputs and the sums of both, in bytes."""
    data, weights = facts.feed(op, 0), facts.feed(op, 1)
    outputs = facts.yields(op)
    if data is None or weights is None or not weights.shape or not outputs:
        return ()
    if op.name not in ("CONV_2D", "FULLY_CONNECTED") or data.dtype == "int16":
        return ()
    unit = 4 if weights.dtype == "float32" else 1
    channels = max(1, weights.shape[0])
    depth = align(weights.elements // channels, DEPTH)
    rows, columns = align(channels, TILE), align(outputs[0].elements // channels, TILE)
    return (
        rows * depth * unit + APART,
        4 * rows,
        columns * depth * unit + APART,
        4 * columns,
        SMALL,
    )
