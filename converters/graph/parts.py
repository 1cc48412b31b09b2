"""Rules for operators that take tensors apart: split, unstack, slices, batches of matrices."""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import prod
from typing import Any

import numpy as np

from converters.graph.arithmetic import Bound, number, operands
from converters.graph.walk import Site, is_tensor

#: More matrix products than these make a file that no small device takes.
MOST_PRODUCTS = 16


def part(site: Site, x: Any, axis: int, ends: tuple[int, int], name: str) -> Any:
    """Return ``x`` between two ``ends`` of an axis that is not the batch.

    A Cropping layer for images cuts two axes of four, so others are laid together first.
    """
    sizes, (start, stop) = tuple(x.shape[1:]), ends
    size = sizes[axis - 1]
    square = (prod(sizes[: axis - 1]), size, prod(sizes[axis:]))
    cut = ((0, 0), (start, size - stop))
    if sizes != square:
        x = site.make("Reshape", f"{name}_flat", target_shape=square)(x)
    x = site.make("Cropping2D", f"{name}_cut", cropping=cut)(x)
    shape = (*sizes[: axis - 1], stop - start, *sizes[axis:])
    return site.make("Reshape", name, target_shape=shape)(x)


def _known(x: Any, axis: Any) -> int | None:
    """Return ``axis`` counted from the front, None if ``x`` cannot be cut there."""
    if not is_tensor(x) or not isinstance(axis, int | np.integer) or None in x.shape[1:]:
        return None
    return int(axis) % len(x.shape) or None


def split(site: Site, bound: Bound) -> Any:
    """Return the parts of tf.split, each cut out."""
    x, sizes = operands(bound)
    axis = _known(x, bound.get("axis", 0))
    wanted = number(sizes)
    if axis is None or wanted is None or (wanted < 0).any():
        return None
    if wanted.ndim == 0:
        wanted = np.full(int(wanted), x.shape[axis] // int(wanted))
    ends = [0, *accumulate(int(size) for size in wanted)]
    return [part(site, x, axis, pair, f"part_{at}") for at, pair in enumerate(pairwise(ends))]


def unstack(site: Site, bound: Bound) -> Any:
    """Return the parts of tf.unstack, without the axis."""
    x = next(iter(bound.values()))
    axis = _known(x, bound.get("axis", 0))
    if axis is None:
        return None
    sizes = (*x.shape[1:axis], *x.shape[axis + 1 :])
    made = []
    for at in range(x.shape[axis]):
        one = part(site, x, axis, (at, at + 1), f"part_{at}")
        made.append(site.make("Reshape", f"only_{at}", target_shape=sizes)(one))
    return made


def slicing(site: Site) -> Any:
    """Return Cropping layers for ``x[...]`` without strides; a number takes its axis away."""
    x, *cuts = site.args
    sides = _sides(x, cuts[0]) if len(cuts) == 1 and is_tensor(x) else None
    if sides is None:
        return None
    rank, middle = len(x.shape), sides[1:-1]
    if rank in (3, 4) and sides[-1] == (0, 0):
        cropping = middle[0] if rank == 3 else tuple(middle)
        x = site.make(f"Cropping{rank - 2}D", cropping=cropping)(x)
    else:
        for axis, (start, end) in enumerate(sides):
            if start or end:
                x = part(site, x, axis, (start, x.shape[axis] - end), f"cut_{axis}")
    wanted = tuple(site.output.shape[1:])
    if tuple(x.shape[1:]) == wanted:
        return x
    return site.make("Reshape", "without", target_shape=wanted)(x)


def _sides(x: Any, cuts: Any) -> list[tuple[int, int]] | None:
    """Return how much each axis loses before and behind, None where that is not all."""
    cuts = list(cuts) if isinstance(cuts, list | tuple) else [cuts]
    if Ellipsis in [cut for cut in cuts if not isinstance(cut, dict)]:
        at = cuts.index(Ellipsis)
        whole = {"start": None, "stop": None, "step": None}
        cuts[at : at + 1] = [whole] * (len(x.shape) - len(cuts) + 1)
    sides = []
    for size, cut in zip(x.shape, cuts, strict=False):
        if isinstance(cut, int) and size is not None:
            sides.append((cut % size, size - 1 - cut % size))
            continue
        if not isinstance(cut, dict) or any(is_tensor(value) for value in cut.values()):
            return None
        whole_axis = cut["start"] in (None, 0) and cut["stop"] is None
        if cut["step"] not in (None, 1) or (size is None and not whole_axis):
            return None
        start, stop, _ = slice(cut["start"], cut["stop"]).indices(size or 0)
        sides.append((0, 0) if whole_axis else (start, size - max(start, stop)))
    sides += [(0, 0)] * (len(x.shape) - len(sides))
    known = None not in x.shape[1:] and len(cuts) <= len(x.shape)
    return sides if known and sides[0] == (0, 0) else None


def matmul(site: Site, bound: Bound) -> Any:
    """Return a Dense layer for a constant kernel, a Dot layer for each pair of matrices."""
    left, right = operands(bound)
    turned = [bool(bound.get(name)) for name in ("transpose_a", "transpose_b")]
    kernel = number(right)
    if kernel is not None and kernel.ndim == 2 and is_tensor(left) and not turned[0]:
        kernel = kernel.T if turned[1] else kernel
        dense = site.make("Dense", "", [kernel], units=kernel.shape[1], use_bias=False)
        return dense(left)
    if not (is_tensor(left) and is_tensor(right)) or len(left.shape) != len(right.shape):
        return None
    axes = (1 if turned[0] else 2, 2 if turned[1] else 1)
    if len(left.shape) == 3:
        return site.make("Dot", axes=axes)([left, right])
    if len(left.shape) != 4 or left.shape[1] != right.shape[1]:
        return None
    if None in (*left.shape[1:], *right.shape[1:]) or left.shape[1] > MOST_PRODUCTS:
        return None
    made = []
    for at in range(left.shape[1]):
        pair = []
        for x, name in ((left, "left"), (right, "right")):
            one = part(site, x, 1, (at, at + 1), f"{name}_{at}")
            shape = tuple(x.shape[2:])
            pair.append(site.make("Reshape", f"{name}_{at}_matrix", target_shape=shape)(one))
        product = site.make("Dot", f"product_{at}", axes=axes)(pair)
        shape = (1, *product.shape[1:])
        made.append(site.make("Reshape", f"product_{at}_row", target_shape=shape)(product))
    return site.make("Concatenate", "", axis=1)(made) if len(made) > 1 else made[0]
