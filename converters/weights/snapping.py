"""Clustered kernels of a folded model, put onto a few int8 codes they share.

Called by ``Qat`` before it trains. Each kernel is first given its best values for the zeros
it has, because what clustering in float left of them need not bind the int8 codes; the
codebook is fitted on those, and then each kernel is rounded weight by weight, the others
making up for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.weights import codebook
from converters.weights.codebook import CHANNELS, Codebook


def coded(clusters: Mapping[str, int], layers: Collection[str]) -> dict[str, int]:
    """Return the kernels of ``layers`` with fewer codes promised than int8 has."""
    return {
        name: most
        for name, most in clusters.items()
        if name.rpartition("/")[0] in layers and most <= 2 * codebook.LIMIT
    }


def books(model: Any, clusters: Mapping[str, int], bit_price: float) -> dict[str, Codebook]:
    """Return every clustered kernel's codebook: one for all kernels of as many codes.

    One codebook compresses better than one a kernel, because a compressor learns it once;
    kernels over their scales are alike enough to share it.
    """
    from converters import keras2

    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    held = {name: kernel.numpy() for name, kernel in keras2.kernels(model).items()}
    found: dict[str, Codebook] = {}
    for most in sorted(set(clusters.values())):
        members = [name for name in clusters if clusters[name] == most]
        flat = [
            (held[n] / codebook.scales(held[n], CHANNELS[kinds[n.rpartition("/")[0]]])).ravel()
            for n in members
        ]
        book = codebook.fit(np.concatenate(flat), (), most, bit_price)
        found |= dict.fromkeys(members, book)
    return found


def snap(
    model: Any,
    teacher: Any,
    calibration_data: Any,
    clusters: Mapping[str, int],
    kept: Mapping[str, NDArray[np.bool_]],
    *,
    bit_price: float,
) -> dict[str, Codebook]:
    """Put the kernels ``clusters`` of ``model`` onto codes, in place; return their books.

    ``kept`` tells where kernels may differ from zero. A kernel that ``reconstruct`` does not
    take keeps its values here.
    """
    from converters.weights import reconstruct

    reference = reconstruct.reference_of(model, teacher)
    reconstruct.refit(model, reference, calibration_data, clusters, kept)
    found = books(model, clusters, bit_price)
    reconstruct.round_to_codes(model, reference, calibration_data, found, kept)
    return found


def write(book: Codebook, variables: Mapping[str, Any], clusters: int) -> None:
    """Write ``book`` into the variables of a kernel's quantizer, with room for ``clusters``."""
    spare = clusters - len(book.codes)
    variables["codes"].assign(np.pad(book.codes.astype(np.float32), (0, spare)))
    variables["edges"].assign(np.pad(book.edges, (0, spare), constant_values=np.inf))
