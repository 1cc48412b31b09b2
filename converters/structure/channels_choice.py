"""Which channels to give up: the least loss for each multiply-accumulate saved."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from converters.errors import ModelRefused
from converters.structure.channels_graph import ChannelGraph


def choose(
    graph: ChannelGraph,
    importance: NDArray[np.float64],
    share: float,
    *,
    multiple: int,
    minimum: int,
    per_output: float = 0.0,
    floors: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    """Return which channels stay, ``(channels,) bool``, so that a ``share`` of cost is left.

    Greedy over all groups at once: a move takes the least important channels of a group
    down to the next multiple, and the move with the least importance per MAC saved is made
    until the share is met. Costs fall as neighbours shrink, so they are counted anew.

    Args:
        importance: ``(channels,)``, on one scale for all groups.
        share: of the cost now, ``graph.macs(graph.sizes, per_output)``.
        multiple: how many channels stay in a group that is cut: a multiple of this.
        minimum: at least so many stay in every group.
        floors: at least so many stay in each group; None asks for no more than ``minimum``.
        per_output: cost of a number written, in multiply-accumulates.

    Raises:
        ModelRefused: the budget cannot be met.
    """
    left = graph.sizes.copy()
    ranked = [_ranked(graph, importance, group) for group in range(len(left))]
    costs = [np.concatenate([[0.0], np.cumsum(importance[ids])]) for ids in ranked]
    least = np.maximum(np.zeros(len(left)) if floors is None else floors, max(minimum, 1))
    now = full = graph.macs(left, per_output)
    refuse_unreachable(graph, share, least, multiple, per_output)
    while now > share * full:
        best: tuple[float, int, int, float] | None = None
        for group, count in enumerate(left):
            fewer = (int(count) - 1) // multiple * multiple
            if fewer < least[group]:
                continue
            fewest = left.copy()
            fewest[group] = fewer
            after = graph.macs(fewest, per_output)
            gone = graph.sizes[group]
            lost = costs[group][gone - fewer] - costs[group][gone - count]
            price = float(lost) / max(now - after, 1)
            if best is None or price < best[0]:
                best = (price, group, fewer, after)
        if best is None:  # the lowest cost was found reachable above
            raise AssertionError(f"{now} of {full} kept, {share:.4f} wanted")
        _, group, fewer, now = best
        left[group] = fewer
    kept = np.ones(len(graph.group), bool)
    for group, ids in enumerate(ranked):
        kept[ids[: graph.sizes[group] - left[group]]] = False
    return kept


def refuse_unreachable(
    graph: ChannelGraph,
    share: float,
    least: NDArray[np.float64],
    multiple: int,
    per_output: float,
) -> None:
    """Check that a ``share`` of the cost can be met with ``least`` channels in each group.

    Raises:
        ModelRefused: it cannot; the lowest share that can is told.
    """
    sizes = graph.sizes
    fewest = np.ceil(least / multiple).astype(np.int64) * multiple
    left = np.minimum(sizes, fewest)
    full = graph.macs(sizes, per_output)
    lowest = graph.macs(left, per_output)
    if (left == sizes).all():
        raise ModelRefused(
            "channels: wanted channels that may be cut. Received: none, as inputs and outputs "
            f"stay whole and no layer has more than multiple ({multiple}), minimum and floor "
            "leave; lower those, or leave the stage out"
        )
    if lowest > share * full:
        raise ModelRefused(
            f"channels: wanted {share:.1%} of the cost kept. Received: {lowest / full:.1%} "
            f"as the least that multiple ({multiple}), minimum and floor leave; set macs to "
            f"{math.ceil(lowest / full * 1000) / 1000:g} or more, or lower those"
        )


def floors(graph: ChannelGraph, before: Mapping[str, int], share: float) -> NDArray[np.float64]:
    """Return how many channels of each group are ``share`` of what there were before.

    ``before`` is how many channels each layer made before any cut.
    """
    least = np.zeros(len(graph.sizes))
    for layer, ports in graph.ports.items():
        groups, counts = np.unique(graph.group[ports.makes], return_counts=True)
        shrunk = before[layer] / len(ports.makes)
        for group, count in zip(groups, counts, strict=True):
            if group >= 0:  # a channel may be made more than once in a layer
                own = min(int(count), int(graph.sizes[group]))
                least[group] = max(least[group], share * shrunk * own)
    return least


def _ranked(
    graph: ChannelGraph, importance: NDArray[np.float64], group: int
) -> NDArray[np.int64]:
    """Return the channels of ``group``, the least important first; ties by their number."""
    members = np.flatnonzero(graph.group == group)
    return members[np.argsort(importance[members], kind="stable")]
