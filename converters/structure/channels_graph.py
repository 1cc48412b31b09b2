"""Which channels of a network must go together: the channel-dependency graph.

Each channel of each tensor is a variable. Convolutions and dense layers make new ones;
element-wise layers hand them on; additions unite them; Flatten repeats them. Variables that
were united form one *channel*: it is cut everywhere or nowhere. Channels that appear equally
often in the same kernels are interchangeable and form a *group*. DepGraph (Fang et al. 2023,
arXiv:2301.12900) states the same dependencies layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from converters.graph.network import DEPTHWISE, Call, Network, positions, taps, weighted
from converters.structure.channels_rules import RULES, ChannelUnions, unknown

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelChannels:
    """The channels on both sides of a layer's kernel, by number, in the kernel's order."""

    reads: Ids
    makes: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelCost:
    """What one call of a kernel costs: ``unit * reads * makes``, or ``unit * makes``.

    Attributes:
        unit: multiply-accumulates a channel pair (depthwise: a channel).
        outputs: numbers it writes a channel made.
    """

    layer: str
    unit: int
    outputs: int
    depthwise: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGraph:
    """The channels of a network.

    Attributes:
        tensors: per tensor, the channel of each place on its last axis.
        ports: per layer with a kernel, the channels it reads and makes.
        group: per channel its group; -1 where it is frozen.
        kernels: what each call of a kernel costs.
        reads, makes: ``(kernels, groups + 1)``, how often a channel of a group appears on
            that side of a kernel; the last column counts the frozen ones all together.
        frozen: what kept channels whole that could have been cut, one line each.
    """

    tensors: Mapping[int, Ids]
    ports: Mapping[str, KernelChannels]
    group: Ids
    kernels: tuple[KernelCost, ...]
    reads: NDArray[np.int64]
    makes: NDArray[np.int64]
    frozen: tuple[str, ...]

    @property
    def sizes(self) -> Ids:
        """How many channels each group has."""
        return np.bincount(self.group[self.group >= 0], minlength=self.reads.shape[1] - 1)

    @property
    def widths(self) -> dict[str, int]:
        """How many channels each layer with a kernel makes."""
        return {layer: len(ports.makes) for layer, ports in self.ports.items()}

    def macs(self, left: Ids, per_output: float = 0.0) -> float:
        """Return the multiply-accumulates with ``left`` channels of each group, planned.

        Every number that a kernel writes counts as ``per_output`` more.
        """
        counts = np.append(left, 1)
        reads, makes = self.reads @ counts, self.makes @ counts
        total = 0.0
        for at, kernel in enumerate(self.kernels):
            pairs = 1 if kernel.depthwise else int(reads[at])
            total += int(makes[at]) * (kernel.unit * pairs + kernel.outputs * per_output)
        return total


def channel_graph(network: Network) -> ChannelGraph:
    """Return the channel-dependency graph of ``network``.

    The channels of the model's inputs and outputs are frozen, and so are those of a layer
    whose doings are not known; ``frozen`` names it.

    Raises:
        ModelRefused: a kernel's input is of unknown size.
    """
    unions = ChannelUnions(network)
    for tensor in network.inputs:
        unions.freeze(unions.new(tensor), "")
    for call in network.calls:
        RULES.get(call.kind, unknown)(call, unions)
    for tensor in network.outputs:
        unions.freeze(unions.ids[tensor], "")
    roots = unions.roots()
    names, channel = np.unique(roots, return_inverse=True)
    tensors = {tensor: channel[ids] for tensor, ids in unions.ids.items()}
    free = np.ones(len(names), bool)
    free[channel[unions.frozen_ids()]] = False

    ports, kernels, rows = {}, [], []
    for call in network.calls:
        if weighted(call) and call.layer in unions.ports:
            reads, makes = (channel[side] for side in unions.ports[call.layer])
            ports[call.layer] = KernelChannels(reads=reads, makes=makes)
            kernels.append(_kernel_of(call, network))
            rows.append([np.bincount(ids, minlength=len(names)) for ids in (reads, makes)])
    counts = np.asarray(rows, np.int64).reshape(len(kernels), 2, len(names))
    used = free & (counts.sum((0, 1)) > 0)
    group = np.full(len(names), -1, np.int64)
    alike = np.zeros((2 * len(kernels), 0), np.int64)
    if used.any():
        flat = counts.reshape(2 * len(kernels), -1)[:, used]
        alike, inverse = np.unique(flat, axis=1, return_inverse=True)
        group[used] = inverse.ravel()
    fixed = counts[:, :, ~used].sum(2)
    wide = alike.reshape(len(kernels), 2, -1)
    return ChannelGraph(
        tensors=tensors,
        ports=ports,
        group=group,
        kernels=tuple(kernels),
        reads=np.column_stack([wide[:, 0], fixed[:, 0]]),
        makes=np.column_stack([wide[:, 1], fixed[:, 1]]),
        frozen=unions.reasons(),
    )


def _kernel_of(call: Call, network: Network) -> KernelCost:
    return KernelCost(
        layer=call.layer,
        unit=positions(call, network) * taps(call),
        outputs=prod(int(size or 1) for size in network.shapes[call.outputs[0]][:-1]),
        depthwise=call.kind in DEPTHWISE,
    )
