"""What the weights promise, checked tensor by tensor: in Keras here, in .tflite beside it.

A violation is one line. The lists are for reports; the ``assert_`` forms raise, and each
stage calls one on its own output.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.draft import Draft
from converters.errors import InvariantBroken
from converters.inspection import (
    Int8Kernel,
    TfliteInspector,
    belongs_to,
    distinct_codes,
    distinct_per_channel,
)
from converters.weights.choice import empty_blocks
from converters.weights.codebook import CHANNELS, to_codes, to_tflite


def violations(
    weights: Mapping[str, NDArray[Any]],
    promises: Mapping[str, Mapping[str, float]],
    zero_before: Collection[str] = (),
) -> list[str]:
    """Return every promise that ``weights`` break, as one line each; empty is good.

    ``SPARSE`` promises a share of zeros, ``BLOCKED`` that as large a share of the blocks of
    so many inputs is empty, ``CLUSTERED`` the most distinct values and ``QUANTIZED`` the most
    int8 codes of one tensor. Every kernel must be finite and hold a weight that is not zero,
    but for those that held none before.
    """
    broken = []
    for name, values in weights.items():
        if not np.isfinite(values).all():
            broken.append(f"{name}: {np.sum(~np.isfinite(values))} weights are NaN or infinite")
        elif not values.any() and name not in zero_before:
            broken.append(f"{name}: the layer died, all {values.size} weights are zero")
    for name, share in promises.get("SPARSE", {}).items():
        broken += _missing(name, weights) or _too_dense(name, weights[name], share)
    for name, block in promises.get("BLOCKED", {}).items():
        share = promises["SPARSE"][name]
        broken += _missing(name, weights) or _too_full(name, weights[name], share, int(block))
    few = {**promises.get("QUANTIZED", {}), **promises.get("CLUSTERED", {})}
    for name, most in few.items():
        broken += _missing(name, weights) or _too_many(name, weights[name], most)
    return broken


def _missing(name: str, weights: Mapping[str, NDArray[Any]]) -> list[str]:
    return [] if name in weights else [f"{name}: promised, but no such kernel is left"]


def _too_dense(name: str, values: NDArray[Any], share: float) -> list[str]:
    zeros, wanted = int(np.sum(values == 0)), int(share * values.size)
    if zeros >= wanted:
        return []
    return [f"{name}: wanted {wanted} zeros of {values.size}. Received: {zeros}"]


def _too_full(name: str, values: NDArray[Any], share: float, block: int) -> list[str]:
    """Count the empty blocks of ``(inputs, outputs)``."""
    empty, of = empty_blocks(values, block), values.size // block
    wanted = int(share * of)
    if empty >= wanted:
        return []
    return [f"{name}: wanted {wanted} empty blocks of 1x{block} of {of}. Received: {empty}"]


def _too_many(name: str, values: NDArray[Any], most: float) -> list[str]:
    distinct = len(np.unique(values))
    if distinct <= most:
        return []
    return [f"{name}: wanted {most:g} distinct values or fewer. Received: {distinct}"]


def model_violations(draft: Draft, zero_before: Collection[str] = ()) -> list[str]:
    """Return every promise of ``draft`` that its Keras weights break.

    Kernels that are on int8 codes are counted as codes: their floats differ by channel.
    """
    return violations(_counted(draft, _on_codes(draft)), draft.promises, zero_before)


def zero_kernels(model: Any) -> frozenset[str]:
    """Return the names of the kernels of ``model`` that hold nothing but zeros."""
    from converters import keras2

    held = keras2.kernels(model).items()
    return frozenset(name for name, variable in held if not variable.numpy().any())


def zero_note(draft: Draft, zero_before: Collection[str]) -> tuple[str, ...]:
    """Return the report's line on kernels of ``draft`` that were zero and are; or nothing."""
    names = sorted(zero_kernels(draft.model) & set(zero_before))
    if not names:
        return ()
    return (f"kernels that were all zero before and are: {', '.join(names)}",)


def _on_codes(draft: Draft) -> set[str]:
    """Return the kernels whose few values are codes: those trained so, depthwise clusters."""
    clustered = draft.promises.get("CLUSTERED", {})
    depthwise = {name for name in clustered if name.endswith("/depthwise_kernel")}
    return {*draft.promises.get("QUANTIZED", {}), *depthwise}


def _counted(draft: Draft, coded: Collection[str]) -> dict[str, NDArray[Any]]:
    """Return each kernel's values, those of ``coded`` as int8 codes."""
    from converters import keras2

    kinds = _kinds(draft)
    counted = {}
    for name, variable in keras2.kernels(draft.model).items():
        values = variable.numpy()
        if name in coded:
            values = to_codes(values, CHANNELS[kinds[name.rpartition("/")[0]]])
        counted[name] = values
    return counted


def _kinds(draft: Draft) -> dict[str, str]:
    """Return the class name of each layer, by its own name without a wrapper's."""
    from converters import keras2

    layers = [keras2.unwrapped(layer) for layer in draft.model.layers]
    return {layer.name: type(layer).__name__ for layer in layers}


def assert_model(draft: Draft, zero_before: Collection[str] = ()) -> None:
    """Check that every promise of ``draft`` holds and no kernel became zero.

    ``zero_before`` names the kernels that were all zero before the stage: a layer that
    added nothing but its bias has not died.

    Raises:
        InvariantBroken: naming each weight that breaks one.
    """
    raise_if(model_violations(draft, zero_before), draft.model.name)


def assert_tflite(
    tflite: bytes, draft: Draft, inspector: TfliteInspector, silent: Collection[str] = ()
) -> None:
    """Check that every promise of ``draft`` holds in the bytes made of it.

    Raises:
        InvariantBroken: naming each weight that breaks one.
    """
    raise_if(tflite_violations(tflite, draft, inspector, silent), f"{draft.model.name}.tflite")


def silent_layers(model: Any, rows: NDArray[Any]) -> frozenset[str]:
    """Return the layers with a kernel that give the same, whatever of ``rows`` they are given.

    Their kernel is zero, or their input is: behind a branch that is always zero, or whose
    numbers are too small to matter. They add their bias and nothing else.
    """
    from converters import keras2

    owners = {name.rpartition("/")[0] for name in keras2.kernels(model)}
    calls = [
        (keras2.unwrapped(node.layer).name, node.outputs)
        for nodes in model._nodes_by_depth.values()
        for node in nodes
        if keras2.unwrapped(node.layer).name in owners
    ]
    watched = keras2.keras.Model(model.inputs, [tensor for _, tensor in calls])
    lowest: list[Any] = [np.inf] * len(calls)
    highest: list[Any] = [-np.inf] * len(calls)
    for row in rows:
        made = watched(keras2.tf.constant(row[np.newaxis], keras2.tf.float32), training=False)
        for at, values in enumerate(keras2.tf.nest.flatten(made)):
            flat = np.asarray(values).reshape(-1, values.shape[-1])
            lowest[at] = np.minimum(lowest[at], flat.min(0))
            highest[at] = np.maximum(highest[at], flat.max(0))
    heard = {
        name
        for (name, _), low, high in zip(calls, lowest, highest, strict=True)
        if (high > low).any()
    }
    return frozenset(owners - heard)


def tflite_violations(
    tflite: bytes, draft: Draft, inspector: TfliteInspector, silent: Collection[str] = ()
) -> list[str]:
    """Return every promise of ``draft`` that the kernels of ``tflite`` break.

    A kernel that was trained on codes must hold exactly those; one that was not keeps its
    zeros, and its clusters per channel where it has a scale per channel. A kernel of zeros
    is a death, unless its layer is among the ``silent`` ones.
    """
    found, kinds = inspector.int8_kernels(tflite), _kinds(draft)
    sizes = _sizes(draft.model)
    broken = [
        f"{kernel.name}: the layer died, all {kernel.codes.size} codes are zero"
        for kernel in found
        if not kernel.codes.any() and not _is_of(kernel, silent, sizes)
    ]
    promised = {name for numbers in draft.promises.values() for name in numbers}
    for name, values in _counted(draft, draft.promises.get("QUANTIZED", {})).items():
        if name not in promised:
            continue
        layer = name.rpartition("/")[0]
        fits = [kernel for kernel in found if kernel.codes.size == values.size]
        # Merged or shared kernels lose their layer's name; then any of the size may be it.
        mine = [kernel for kernel in fits if belongs_to(kernel, layer)] or fits
        if not mine:
            broken.append(f"{name}: promised, but no int8 kernel of its size is left")
        else:
            wanted = to_tflite(values, kinds.get(layer, ""))
            each = [kernel_violations(name, k, wanted, draft.promises) for k in mine]
            broken += sorted(each, key=len)[0]
    return broken


def _sizes(model: Any) -> dict[str, int]:
    """Return how many weights each kernel of ``model`` has, by name."""
    from converters import keras2

    held = keras2.kernels(model).items()
    return {name: int(kernel.shape.num_elements()) for name, kernel in held}


def _is_of(kernel: Int8Kernel, layers: Collection[str], sizes: Mapping[str, int]) -> bool:
    """Tell whether ``kernel`` is one of ``layers``; a merged one has lost its layer's name."""
    owners = {name: name.rpartition("/")[0] for name in sizes}
    mine = [layer for layer in owners.values() if belongs_to(kernel, layer)]
    fits = [owners[name] for name, size in sizes.items() if size == kernel.codes.size]
    return any(layer in layers for layer in mine or fits)


def kernel_violations(
    name: str,
    kernel: Int8Kernel,
    wanted: NDArray[Any],
    promises: Mapping[str, Mapping[str, float]],
) -> list[str]:
    """Return what ``kernel`` breaks of the promises made for ``name``.

    ``wanted`` are the Keras values in the axis order of the file, ``(outputs, inputs)`` if
    dense.
    """
    broken = []
    if name in promises.get("QUANTIZED", {}):
        apart = int(np.sum(kernel.codes.ravel() != wanted.ravel()))
        if apart:
            broken.append(f"{name}: {apart} of {wanted.size} codes are not those trained")
    if name in promises.get("SPARSE", {}):
        share = promises["SPARSE"][name]
        broken += _too_dense(name, kernel.codes, share)
        block = int(promises.get("BLOCKED", {}).get(name, 1))
        if block > 1 and kernel.codes.shape != wanted.shape:  # another's, of the same size
            broken.append(f"{name}: wanted {wanted.shape}. Received: {kernel.codes.shape}")
        elif block > 1:
            broken += _too_full(name, kernel.codes.T, share, block)
    most = promises.get("CLUSTERED", {}).get(name)
    coded = name in promises.get("QUANTIZED", {})
    distinct = distinct_codes(kernel) if coded else distinct_per_channel(kernel)
    if most is not None and distinct > most:
        broken.append(f"{name}: wanted {most:g} int8 codes or fewer. Received: {distinct}")
    return broken


def raise_if(broken: list[str], where: str) -> None:
    """Check that ``broken`` is empty.

    Raises:
        InvariantBroken: with every violation in one line.
    """
    if broken:
        raise InvariantBroken(f"{where}: {'; '.join(broken)}")
