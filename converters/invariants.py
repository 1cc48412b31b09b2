"""What the weights promise, checked tensor by tensor: in Keras here, in .tflite beside it.

A violation is one line. The lists are for reports; the ``assert_`` forms raise, and each
stage calls one on its own output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.codebook import CHANNELS, to_codes
from converters.draft import Draft
from converters.errors import InvariantBroken


def violations(
    kernels: Mapping[str, NDArray[Any]], promises: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Return every promise that ``kernels`` break, as one line each; empty is good.

    ``SPARSE`` promises a share of zeros, ``CLUSTERED`` the most distinct values and
    ``QUANTIZED`` the most int8 codes of one tensor. Every
    kernel must be finite and hold a weight that is not zero.
    """
    broken = []
    for name, values in kernels.items():
        if not np.isfinite(values).all():
            broken.append(f"{name}: {np.sum(~np.isfinite(values))} weights are NaN or infinite")
        elif not values.any():
            broken.append(f"{name}: the layer died, all {values.size} weights are zero")
    for name, share in promises.get("SPARSE", {}).items():
        broken += _missing(name, kernels) or _too_dense(name, kernels[name], share)
    few = {**promises.get("QUANTIZED", {}), **promises.get("CLUSTERED", {})}
    for name, most in few.items():
        broken += _missing(name, kernels) or _too_many(name, kernels[name], most)
    return broken


def _missing(name: str, kernels: Mapping[str, NDArray[Any]]) -> list[str]:
    return [] if name in kernels else [f"{name}: promised, but no such kernel is left"]


def _too_dense(name: str, values: NDArray[Any], share: float) -> list[str]:
    zeros, wanted = int(np.sum(values == 0)), int(share * values.size)
    if zeros >= wanted:
        return []
    return [f"{name}: wanted {wanted} zeros of {values.size}. Received: {zeros}"]


def _too_many(name: str, values: NDArray[Any], most: float) -> list[str]:
    distinct = len(np.unique(values))
    if distinct <= most:
        return []
    return [f"{name}: wanted {most:g} distinct values or fewer. Received: {distinct}"]


def model_violations(draft: Draft) -> list[str]:
    """Return every promise of ``draft`` that its Keras weights break.

    Kernels that are on int8 codes are counted as codes: their floats differ by channel.
    """
    from converters import keras2

    coded = draft.promises.get("QUANTIZED", {})
    kinds = {
        inner.name: type(inner).__name__ for inner in map(keras2.unwrapped, draft.model.layers)
    }
    kernels = {}
    for name, variable in keras2.kernels(draft.model).items():
        values = variable.numpy()
        if name in coded:
            values = to_codes(values, CHANNELS[kinds[name.split("/")[0]]])
        kernels[name] = values
    return violations(kernels, draft.promises)


def assert_model(draft: Draft) -> None:
    """Return if every promise of ``draft`` holds.

    Raises:
        InvariantBroken: naming each weight that breaks one.
    """
    raise_if(model_violations(draft), draft.model.name)


def raise_if(broken: list[str], where: str) -> None:
    """Return if ``broken`` is empty.

    Raises:
        InvariantBroken: with every violation in one line.
    """
    if broken:
        raise InvariantBroken(f"{where}: {'; '.join(broken)}")
