"""TFMOT's pruning and clustering wrappers: put on, driven step by step, taken off.

Imports TensorFlow; only ``Prune`` and ``Cluster`` call it. TFMOT drives its
wrappers by callbacks of ``Model.fit``; the one training loop here calls these instead.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters import keras2
from converters.errors import ModelRefused
from converters.weights import choice

#: What TFMOT prunes and clusters and the .tflite can be counted for; depthwise is ours.
COMPRESSED = ("Conv1D", "Conv2D", "Conv2DTranspose", "Conv3D", "Dense")


def refuse_quantized(model: Any, stage: str) -> None:
    """Raise ModelRefused if ``model`` carries fake quantization already."""
    if keras2.is_quantized(model):
        raise ModelRefused(
            f"{stage}: wanted a float model. Received: {model.name}, which is quantized "
            "already; put this stage before qat"
        )


@dataclass(frozen=True, slots=True)
class KernelLayers:
    """The layers with a kernel, by who compresses them.

    Attributes:
        able: names of those that TFMOT takes.
        depthwise: names of depthwise ones, which we take where we are asked to.
        left: names and classes of the others.
    """

    able: list[str]
    depthwise: list[str]
    left: list[str]

    def notes(self, done: str, *, depthwise: bool) -> tuple[str, ...]:
        """Return the report's lines on what was not ``done``; ``depthwise`` if those were."""
        lines = []
        if self.depthwise and not depthwise:
            names = ", ".join(self.depthwise)
            lines.append(f"depthwise kernels not {done}; depthwise = true takes those: {names}")
        if self.left:
            names = ", ".join(self.left)
            lines.append(f"not {done}, as only dense and convolution kernels are: {names}")
        return tuple(lines)


def kernel_layers(model: Any) -> KernelLayers:
    """Return the layers of ``model`` that have a kernel, sorted."""
    found = KernelLayers([], [], [])
    held = {name.rpartition("/")[0] for name in keras2.kernels(model)}
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in COMPRESSED:
            found.able.append(layer.name)
        elif kind == "DepthwiseConv2D":
            found.depthwise.append(layer.name)
        elif layer.name in held:
            found.left.append(f"{layer.name} ({kind})")
    return found


def with_pruning(
    twin: Any, names: Collection[str], sparsity: float, ramp: int
) -> tuple[Any, list[Any]]:
    """Return ``twin`` wrapped for pruning, and its wrappers.

    Sparsity climbs from 0 over ``ramp`` steps; masks are renewed 20 times on the way. The
    wrapped model shares its variables with ``twin``.
    """
    prune = keras2.tfmot.sparsity.keras
    every = max(1, ramp // 20)
    schedule = prune.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=sparsity,
        begin_step=0,
        end_step=max(1, ramp // every * every),
        frequency=every,
    )

    def wrap(layer: Any) -> Any:
        if layer.name not in names:
            return layer
        return prune.prune_low_magnitude(layer, pruning_schedule=schedule)

    wrapped = keras2.keras.models.clone_model(twin, clone_function=wrap)
    wrappers = [layer for layer in wrapped.layers if hasattr(layer, "pruning_vars")]
    return wrapped, wrappers


def set_pruning_step(wrappers: list[Any], step: int) -> None:
    """Tell each wrapper which step begins; it adds one before it looks at its schedule."""
    for wrapper in wrappers:
        wrapper.pruning_step.assign(step)


def apply_masks(wrappers: list[Any]) -> None:
    """Zero what the masks zero: the last gradient step has moved those weights again."""
    for wrapper in wrappers:
        for weight, mask, _ in wrapper.pruning_vars:
            weight.assign(weight * mask)


def fill_masks(wrappers: list[Any], sparsity: float) -> None:
    """Let each mask zero its whole share, the smallest of the kept weights going too.

    TFMOT keeps every weight that ties with its threshold: of some hundred thousand weights
    two of one size there are likely, and the kernel is a zero short.
    """
    for wrapper in wrappers:
        for weight, mask, _ in wrapper.pruning_vars:
            kept = mask.numpy().ravel()
            short = int(sparsity * kept.size) - int(np.sum(kept == 0))
            if short <= 0:
                continue
            sizes = np.where(kept != 0, np.abs(weight.numpy().ravel()), np.inf)
            kept[np.argsort(sizes, kind="stable")[:short]] = 0
            mask.assign(kept.reshape(mask.shape))


def without_pruning(wrapped: Any) -> Any:
    """Return the model inside the pruning wrappers; it shares their variables."""
    return keras2.tfmot.sparsity.keras.strip_pruning(wrapped)


def pruned_names(model: Any, wrappers: list[Any]) -> list[str]:
    """Return the names, as ``keras2.kernels`` gives them, of the weights that were pruned."""
    ours = {id(weight) for wrapper in wrappers for weight, _, _ in wrapper.pruning_vars}
    return [name for name, weight in keras2.kernels(model).items() if id(weight) in ours]


def with_clustering(twin: Any, names: Collection[str], clusters: int, sparse: bool) -> Any:
    """Return ``twin`` wrapped for clustering, zeros counting as one cluster if ``sparse``."""
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import (
        cluster,
    )

    start = keras2.tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS

    def wrap(layer: Any) -> Any:
        if layer.name not in names:
            return layer
        return cluster.cluster_weights(
            layer, clusters, cluster_centroids_init=start, preserve_sparsity=sparse
        )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return keras2.keras.models.clone_model(twin, clone_function=wrap)


def without_clustering(wrapped: Any) -> Any:
    """Return the model with its kernels at their centroids, sharing no wrapper."""
    return keras2.tfmot.clustering.keras.strip_clustering(wrapped)


def zero_masks(
    model: Any, names: Collection[str], sparse: Collection[str]
) -> list[tuple[Any, Any]]:
    """Return (variable, mask) of each kernel among ``names`` that must keep its zeros.

    ``sparse`` names those that must.
    """
    return [
        (variable, keras2.tf.cast(variable != 0, variable.dtype))
        for name, variable in keras2.kernels(model).items()
        if name in names and name in sparse
    ]


@dataclass(frozen=True, slots=True)
class GradualMasks:
    """Kernels on their way to a share of zeros, by masks of our own.

    For what TFMOT prunes in no such way: blocks and depthwise kernels. The schedule is its
    own: sparsity climbs along a cubic, masks are renewed 20 times on the way (Zhu and Gupta
    2017, arXiv:1710.01878).

    Attributes:
        held: (variable, its mask, its block) by kernel; both are tf.Variables, so that a
            compiled training step sees each renewal.
        share: of zeros at the end.
        ramp: steps until then.
    """

    held: Mapping[str, tuple[Any, Any, int]]
    share: float
    ramp: int

    @property
    def masks(self) -> list[tuple[Any, Any]]:
        """(variable, mask) of each kernel, as ``fine_tune`` holds them."""
        return [(variable, mask) for variable, mask, _ in self.held.values()]

    def before_step(self, step: int) -> None:
        """Renew the masks if they are due at this step, the first being 0."""
        every = max(1, self.ramp // 20)
        last = max(1, self.ramp // every * every)
        at = step + 1
        if at > last or at % every:
            return
        reached = self.share * (1 - (1 - at / last) ** 3)
        for variable, mask, block in self.held.values():
            stays = choice.kept(variable.numpy(), reached, block).astype(np.float32)
            mask.assign(stays)
            variable.assign(variable * mask)


def gradual_masks(
    model: Any, blocks: Mapping[str, int], share: float, ramp: int
) -> GradualMasks:
    """Return growing masks for the kernels of ``model`` named in ``blocks``, by their block."""
    kernels = keras2.kernels(model)
    held = {
        name: (kernels[name], keras2.tf.Variable(keras2.tf.ones_like(kernels[name])), block)
        for name, block in blocks.items()
    }
    return GradualMasks(held, share, ramp)
