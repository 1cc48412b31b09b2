"""A kernel as a product of thinner ones: SVD, spatial and Tucker-2, with their errors.

SVD of a dense or 1x1 kernel and the spatial split of a k x k one into k x 1 and 1 x k
(Jaderberg et al. 2014, arXiv:1405.3866) are the best of their rank (Eckart and Young 1936);
Tucker-2 (Kim et al. 2016, arXiv:1511.06530) narrows both sides of a k x k kernel.
Needs no TensorFlow.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

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
