"""A kernel as a product of thinner ones: SVD, spatial and Tucker-2, with their errors.

SVD of a dense or 1x1 kernel and the spatial split of a k x k one into k x 1 and 1 x k
(Jaderberg et al. 2014, arXiv:1405.3866) are the best of their rank (Eckart and Young 1936);
Tucker-2 (Kim et al. 2016, arXiv:1511.06530) narrows both sides of a k x k kernel.
Needs no TensorFlow.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from converters.graph.network import Call, Network

Method = Literal["svd", "spatial", "tucker"]
Floats = NDArray[np.float64]
#: Shares of energy for which Tucker's pairs of ranks are tried.
_ENERGIES = (0.995, 0.98, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)


def factors(kernel: NDArray[Any], method: Method, ranks: tuple[int, ...]) -> list[Floats]:
    """Return the thin kernels that stand for ``kernel``, in the order they are applied.

    ``svd``: of ``(…, in, out)`` with 1 at every other axis, ``(…, in, r), (…, r, out)``.
    ``spatial``: of ``(h, w, in, out)``, ``(h, 1, in, r), (1, w, r, out)``.
    ``tucker``: ``(1, 1, in, r), (h, w, r, s), (1, 1, s, out)``.
    """
    kernel = kernel.astype(np.float64)
    if method == "tucker":
        return _tucker(kernel, *ranks)
    flat = _matrix(kernel, method)
    left, sizes, right = np.linalg.svd(flat, full_matrices=False)
    (rank,) = ranks
    root = np.sqrt(sizes[:rank])  # both halves on one scale, which int8 likes
    first, second = left[:, :rank] * root, root[:, None] * right[:rank]
    *_, reads, makes = kernel.shape
    if method == "svd":
        ones = kernel.shape[:-2]
        return [first.reshape(*ones, reads, rank), second.reshape(*ones, rank, makes)]
    high, wide = kernel.shape[:2]
    across = second.reshape(rank, wide, makes).transpose(1, 0, 2)
    return [first.reshape(high, 1, reads, rank), across[None]]


def product(parts: list[Floats], method: Method) -> Floats:
    """Return the kernel that ``parts`` compute together."""
    if method == "svd":
        return np.asarray(parts[0] @ parts[1])
    if method == "spatial":
        return np.asarray(np.einsum("hir,wro->hwio", parts[0][:, 0], parts[1][0]))
    return np.asarray(np.einsum("ir,hwrs,so->hwio", parts[0][0, 0], parts[1], parts[2][0, 0]))


def error(kernel: NDArray[Any], parts: list[Floats], method: Method) -> float:
    """Return the share of the kernel's energy that is lost, ``|W - W'|^2 / |W|^2``."""
    whole = kernel.astype(np.float64)
    lost = ((whole - product(parts, method)) ** 2).sum()
    return float(lost / max((whole**2).sum(), np.finfo(np.float64).tiny))


def methods(kernel: NDArray[Any]) -> tuple[Method, ...]:
    """Return how a kernel of this shape can be split."""
    if all(size == 1 for size in kernel.shape[:-2]):
        return ("svd",)
    return ("spatial", "tucker") if kernel.ndim == 4 else ()


def rank_choices(kernel: NDArray[Any], method: Method, multiple: int) -> list[tuple[int, ...]]:
    """Return the ranks worth trying, as multiples: all of a split, Tucker's by energy."""
    if method != "tucker":
        most = min(_matrix(kernel, method).shape)
        return [(rank,) for rank in range(multiple, most, multiple)]
    found = []
    for share in _ENERGIES:
        pair = []
        for axis in (2, 3):
            sides = np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)
            energy = np.linalg.svd(sides.astype(np.float64), compute_uv=False) ** 2
            need = int(np.searchsorted(np.cumsum(energy) / energy.sum(), share)) + 1
            pair.append(min(-(-need // multiple) * multiple, kernel.shape[axis]))
        found.append((pair[0], pair[1]))
    return list(dict.fromkeys(found))


def _matrix(kernel: NDArray[Any], method: Method) -> NDArray[Any]:
    """Return the kernel as the matrix whose rank is the split's."""
    *_, reads, makes = kernel.shape
    if method == "svd":
        return kernel.reshape(reads, makes)
    high, wide = kernel.shape[:2]
    return kernel.transpose(0, 2, 1, 3).reshape(high * reads, wide * makes)


def _tucker(kernel: Floats, first: int, second: int) -> list[Floats]:
    import tensorly
    from tensorly.decomposition import partial_tucker

    tensorly.set_backend("numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (core, (reads, makes)), _ = partial_tucker(
            kernel, rank=[first, second], modes=[2, 3], init="svd", random_state=0
        )
    return [reads[None, None], np.asarray(core), makes.T[None, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One split to write a kernel as thin ones.

    Attributes:
        cost: multiply-accumulates of one sample, and what outputs add.
        error: share of the kernel's energy lost, which the choice minimises.
    """

    layer: str
    method: Method
    ranks: tuple[int, ...]
    cost: float
    error: float


def splits(
    network: Network,
    kernels: Mapping[str, NDArray[Any]],
    *,
    multiple: int,
    per_output: float = 0.0,
) -> dict[str, list[Split]]:
    """Return for each layer the splits that cost less than the kernel does, cheapest first.

    Only plain dense and 2-D convolution kernels that are used once are split.
    """
    uses = [call.layer for call in network.calls]
    found = {}
    for call in network.calls:
        if uses.count(call.layer) != 1 or not _splittable(call):
            continue
        kernel = kernels[call.layer]
        if not kernel.any():  # its splits lose nothing and save what it never computed
            continue
        full, kept = _cost(call, network, None, (), per_output), []
        for method in methods(kernel):
            for ranks in rank_choices(kernel, method, multiple):
                cost = _cost(call, network, method, ranks, per_output)
                if cost >= full:
                    continue
                parts = factors(kernel, method, ranks)
                lost = error(kernel, parts, method)
                kept.append(
                    Split(layer=call.layer, method=method, ranks=ranks, cost=cost, error=lost)
                )
        if kept:
            found[call.layer] = sorted(kept, key=lambda split: (split.cost, split.error))
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
        for layer, splits_of in options.items():
            now = chosen.get(layer)
            cost, loss = (now.cost, now.error) if now else (full[layer], 0.0)
            for split in splits_of:
                if split.cost >= cost:
                    break
                price = max(split.error - loss, 0.0) / (cost - split.cost)
                if best is None or price < best[0]:
                    best = (price, split, cost - split.cost)
        if best is None:
            break
        _, split, gain = best
        chosen[split.layer] = split
        saved += gain
    return chosen, saved


def by_energy(options: Mapping[str, list[Split]], energy: float) -> dict[str, Split]:
    """Return for each layer the cheapest split that keeps this share of its energy."""
    chosen = {}
    for layer, splits_of in options.items():
        good = [split for split in splits_of if split.error + energy <= 1]
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
