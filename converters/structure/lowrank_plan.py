"""Which kernels become thin ones, and how thin: the least loss for the cost saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.graph.network import Call, Network
from converters.structure import lowrank_math
from converters.structure.lowrank_math import Method


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One way to write a kernel as thin ones.

    Attributes:
        cost: multiply-accumulates of one sample, and what outputs add.
        error: share of the kernel's energy lost.
        loss: what the choice minimises; the error where nothing else is known.
    """

    layer: str
    method: Method
    ranks: tuple[int, ...]
    cost: float
    error: float
    loss: float


def splits(
    network: Network,
    kernels: Mapping[str, NDArray[Any]],
    *,
    multiple: int,
    per_output: float = 0.0,
    fisher: Mapping[str, NDArray[Any]] | None = None,
) -> dict[str, list[Split]]:
    """Return for each layer the splits that cost less than the kernel does, cheapest first.

    Only plain dense and 2-D convolution kernels that are used once are split. With
    ``fisher`` a loss is the squared change of each weight times that, summed.
    """
    uses = [call.layer for call in network.calls]
    found = {}
    for call in network.calls:
        if uses.count(call.layer) != 1 or not _splittable(call):
            continue
        kernel = kernels[call.layer]
        if not kernel.any():  # its splits lose nothing and save what it never computed
            continue
        weight = None if fisher is None else fisher[call.layer]
        full, kept = _cost(call, network, None, (), per_output), []
        for method in lowrank_math.methods(kernel):
            for ranks in lowrank_math.rank_choices(kernel, method, multiple):
                cost = _cost(call, network, method, ranks, per_output)
                if cost >= full:
                    continue
                parts = lowrank_math.factors(kernel, method, ranks)
                lost = lowrank_math.error(kernel, parts, method)
                change = (kernel - lowrank_math.product(parts, method)) ** 2
                loss = lost if weight is None else float((weight * change).sum())
                kept.append(
                    Split(
                        layer=call.layer,
                        method=method,
                        ranks=ranks,
                        cost=cost,
                        error=lost,
                        loss=loss,
                    )
                )
        if kept:
            found[call.layer] = sorted(kept, key=lambda split: (split.cost, split.loss))
    return found


def within(
    options: Mapping[str, list[Split]], full: Mapping[str, float], saving: float
) -> tuple[dict[str, Split], float]:
    """Return the splits that save ``saving`` at the least loss, greedily, and what they save.

    A move replaces a layer's kernel, or its split by a cheaper one; the move with the least
    loss for the cost saved is made until enough is saved, or nothing is left to do.

    Args:
        full: cost of each layer's whole kernel.
    """
    chosen: dict[str, Split] = {}
    saved = 0.0
    while saved < saving:
        best: tuple[float, Split, float] | None = None
        for layer, ways in options.items():
            now = chosen.get(layer)
            cost, loss = (now.cost, now.loss) if now else (full[layer], 0.0)
            for way in ways:
                if way.cost >= cost:
                    break
                price = max(way.loss - loss, 0.0) / (cost - way.cost)
                if best is None or price < best[0]:
                    best = (price, way, cost - way.cost)
        if best is None:
            break
        _, way, gain = best
        chosen[way.layer] = way
        saved += gain
    return chosen, saved


def by_energy(options: Mapping[str, list[Split]], energy: float) -> dict[str, Split]:
    """Return for each layer the cheapest split that keeps this share of its energy."""
    chosen = {}
    for layer, ways in options.items():
        good = [way for way in ways if way.error + energy <= 1]
        if good:
            chosen[layer] = good[0]
    return chosen


def costs(network: Network, per_output: float = 0.0) -> dict[str, float]:
    """Return what each layer that could be split costs as it is."""
    calls = [call for call in network.calls if _splittable(call)]
    return {call.layer: _cost(call, network, None, (), per_output) for call in calls}


def _splittable(call: Call) -> bool:
    settings = call.settings
    return (
        call.kind in ("Dense", "Conv2D")
        and settings.get("groups", 1) == 1
        and settings.get("data_format", "channels_last") == "channels_last"
    )


def _cost(
    call: Call, network: Network, method: Method | None, ranks: tuple[int, ...], extra: float
) -> float:
    """Return multiply-accumulates plus ``extra`` a number written."""
    before = [int(size or 1) for size in network.shapes[call.inputs[0]][:-1]]
    after = [int(size or 1) for size in network.shapes[call.outputs[0]][:-1]]
    *_, reads, makes = call.kernel
    places, area = prod(after), prod(call.kernel[:-2])
    if method is None:
        return places * makes * (area * reads + extra)
    if method == "svd":
        (rank,) = ranks
        return places * (rank * (reads + extra) + makes * (rank + extra))
    if method == "spatial":
        (rank,), (high, wide) = ranks, call.kernel[:2]
        between = after[0] * before[1]  # strided along height only
        return between * rank * (high * reads + extra) + places * makes * (wide * rank + extra)
    first, second = ranks
    return (
        prod(before) * first * (reads + extra)
        + places * second * (area * first + extra)
        + places * makes * (second + extra)
    )


def weights_of(model: Any, network: Network) -> dict[str, NDArray[Any]]:
    """Return the kernels that could be split, by layer."""
    names = {call.layer for call in network.calls if _splittable(call)}
    return {name: np.asarray(model.get_layer(name).kernel) for name in names}
