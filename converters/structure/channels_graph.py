"""Which channels of a network must go together: the channel-dependency graph.

Each channel of each tensor is a variable. Convolutions and dense layers make new ones;
element-wise layers hand them on; additions unite them; Flatten repeats them: one rule a kind
of layer, and one without a rule freezes whatever it touches, and is named. Variables that
were united form one *channel*: it is cut everywhere or nowhere. Channels that appear equally
often in the same kernels are interchangeable and form a *group*. DepGraph (Fang et al. 2023,
arXiv:2301.12900) states the same dependencies layer by layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import custom_activations
from converters.graph.network import (
    DEPTHWISE,
    FORWARD,
    TRANSPOSED,
    Call,
    Network,
    channels,
    positions,
    taps,
    weighted,
)

Ids = NDArray[np.int64]

#: Activations that treat every channel alike and alone; softmax does not.
ALONE = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "swish"),
    *("mish", "tanh", "sigmoid", "hard_sigmoid", "softplus", "softsign", "exponential"),
    *custom_activations.ALONE,
)
_PASS = (
    *("ReLU", "LeakyReLU", "ELU", "ThresholdedReLU", "Dropout", "SpatialDropout1D"),
    *("SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise", "Identity"),
    *("ActivityRegularization", "UpSampling1D", "UpSampling2D", "ZeroPadding1D"),
    *("ZeroPadding2D", "Cropping1D", "Cropping2D", "MaxPooling1D", "MaxPooling2D"),
    *("AveragePooling1D", "AveragePooling2D", "GlobalAveragePooling1D", "RepeatVector"),
    *("GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "Resizing"),
)
_UNITE = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")


class ChannelUnions:
    """The variables of a network's channels, and which of them were united or frozen.

    ``ids`` maps each tensor to the variables on its last axis, ``ports`` each layer with a
    kernel to those it reads and makes.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.ids: dict[int, Ids] = {}
        self.ports: dict[str, tuple[Ids, Ids]] = {}
        self.carried: dict[str, Ids] = {}  # by layers that keep a weight a channel
        self._parent: list[int] = []
        self._frozen: dict[int, list[str]] = {}

    def new(self, tensor: int) -> Ids:
        """Return fresh variables for the channels of ``tensor``."""
        count, start = channels(self.network, tensor), len(self._parent)
        self._parent += range(start, start + count)
        self.ids[tensor] = np.arange(start, start + count)
        return self.ids[tensor]

    def unite(self, one: Ids, other: Ids) -> None:
        """Let each variable of ``one`` share the fate of its partner in ``other``."""
        for pair in np.unique(np.stack([one, other], 1), axis=0):
            first, second = (self._root(int(at)) for at in pair)
            self._parent[max(first, second)] = min(first, second)

    def freeze(self, ids: Ids, reason: str) -> None:
        """Keep these variables; ``reason`` is for the report, empty where it is plain."""
        for at in ids:
            self._frozen.setdefault(int(at), []).append(reason)

    def roots(self) -> Ids:
        """Return for each variable the one that stands for all it was united with."""
        return np.asarray([self._root(at) for at in range(len(self._parent))], np.int64)

    def frozen_ids(self) -> Ids:
        """Return the variables that were frozen."""
        return np.asarray(sorted(self._frozen), np.int64)

    def reasons(self) -> tuple[str, ...]:
        """Return what froze channels that nothing plain froze as well."""
        plain = {self._root(at) for at, why in self._frozen.items() if "" in why}
        notes = [why for at, why in self._frozen.items() if self._root(at) not in plain]
        return tuple(dict.fromkeys(reason for why in notes for reason in why))

    def _root(self, at: int) -> int:
        while self._parent[at] != at:
            self._parent[at] = self._parent[self._parent[at]]
            at = self._parent[at]
        return at


def unknown(call: Call, unions: ChannelUnions) -> None:
    """Freeze everything the call touches."""
    reason = f"{call.layer} ({call.kind})"
    for tensor in call.inputs:
        unions.freeze(unions.ids[tensor], reason)
    for tensor in call.outputs:
        unions.freeze(unions.new(tensor), reason)


def _makes(call: Call, unions: ChannelUnions) -> None:
    """A kernel that reads every input channel and makes new ones."""
    settings, reads = call.settings, unions.ids[call.inputs[0]]
    if _first(settings) or settings.get("groups", 1) != 1 or len(call.inputs) != 1:
        return unknown(call, unions)
    if call.layer in unions.ports:  # shared: the same kernel, so the same channels
        before, made = unions.ports[call.layer]
        unions.unite(before, reads)
        unions.ids[call.outputs[0]] = made
        return None
    made = unions.new(call.outputs[0])
    unions.ports[call.layer] = (reads, made)
    if not _alone(settings.get("activation", "linear")):
        unions.freeze(made, f"{call.layer} ({call.kind} with {settings['activation']})")
    return None


def _depthwise(call: Call, unions: ChannelUnions) -> None:
    """A kernel a channel: what comes out is what went in, ``multiplier`` times."""
    settings = call.settings
    if _first(settings) or not _alone(settings.get("activation", "linear")):
        return unknown(call, unions)
    reads = unions.ids[call.inputs[0]]
    if call.layer in unions.ports:
        unions.unite(unions.ports[call.layer][0], reads)
    made = np.repeat(reads, int(settings["depth_multiplier"]))
    unions.ports.setdefault(call.layer, (reads, made))
    unions.ids[call.outputs[0]] = made
    return None


def _passes(call: Call, unions: ChannelUnions) -> None:
    """Nothing happens between channels."""
    if _first(call.settings):
        return unknown(call, unions)
    unions.ids[call.outputs[0]] = unions.ids[call.inputs[0]]
    return None


def _activation(call: Call, unions: ChannelUnions) -> None:
    return (_passes if _alone(call.settings["activation"]) else _mixes)(call, unions)


def _carries(call: Call, unions: ChannelUnions) -> None:
    """A layer with weights of its own a channel: BatchNormalization, PReLU."""
    if not _last(call, unions):
        return unknown(call, unions)
    ids = unions.ids[call.inputs[0]]
    unions.unite(unions.carried.setdefault(call.layer, ids), ids)
    unions.ids[call.outputs[0]] = ids
    return None


def _rescales(call: Call, unions: ChannelUnions) -> None:
    alike = all(np.ndim(call.settings.get(key, 0)) == 0 for key in ("scale", "offset"))
    return _passes(call, unions) if alike else unknown(call, unions)


def _mixes(call: Call, unions: ChannelUnions) -> None:
    """Channels stay what they are, but each depends on all: none may go."""
    if len(call.inputs) != 1 or not _last(call, unions):
        return unknown(call, unions)
    unions.freeze(unions.ids[call.inputs[0]], f"{call.layer} ({call.kind})")
    return _passes(call, unions)


def _unites(call: Call, unions: ChannelUnions) -> None:
    """Element by element: partners go together; one channel for all stays."""
    made = channels(unions.network, call.outputs[0])
    sides = [unions.ids[tensor] for tensor in call.inputs]
    if any(len(ids) not in (1, made) for ids in sides):
        return unknown(call, unions)
    whole = [ids for ids in sides if len(ids) == made]
    for ids in sides:
        if len(ids) == made:
            unions.unite(whole[0], ids)
        else:
            unions.freeze(ids, f"{call.layer} ({call.kind} of one channel with {made})")
    unions.ids[call.outputs[0]] = whole[0]
    return None


def _joins(call: Call, unions: ChannelUnions) -> None:
    """Concatenation: side by side along channels, else partner by partner."""
    rank = len(unions.network.shapes[call.outputs[0]])
    sides = [unions.ids[tensor] for tensor in call.inputs]
    if call.settings["axis"] in (-1, rank):
        unions.ids[call.outputs[0]] = np.concatenate(sides)
        return
    for ids in sides[1:]:
        unions.unite(sides[0], ids)
    unions.ids[call.outputs[0]] = sides[0]


def _reshapes(call: Call, unions: ChannelUnions) -> None:
    """Decidable where sizes are known: all that meet in one new channel go together."""
    before, after = (unions.network.shapes[side[0]] for side in (call.inputs, call.outputs))
    if _first(call.settings) or None in (*before, *after) or not after or not before:
        return unknown(call, unions)
    ids = unions.ids[call.inputs[0]]
    rows = np.broadcast_to(ids, (prod(before[:-1]), len(ids))).reshape(-1, after[-1])  # type: ignore[arg-type]
    pairs = np.stack([np.broadcast_to(rows[0], rows.shape).ravel(), rows.ravel()], 1)
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    unions.unite(pairs[:, 0], pairs[:, 1])
    unions.ids[call.outputs[0]] = rows[0].copy()
    return None


def _permutes(call: Call, unions: ChannelUnions) -> None:
    dims = call.settings["dims"]
    return _passes(call, unions) if dims[-1] == len(dims) else unknown(call, unions)


def _first(settings: Any) -> bool:
    return bool(settings.get("data_format") == "channels_first")


def _last(call: Call, unions: ChannelUnions) -> bool:
    """Tell whether the axis that the layer names is the channels' own."""
    axis = call.settings.get("axis", -1)
    axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
    return axis in (-1, len(unions.network.shapes[call.inputs[0]]))


def _alone(activation: Any) -> bool:
    """Tell whether ``activation``, as a config has it, never looks at a neighbour."""
    if isinstance(activation, dict):  # a registered function
        activation = activation.get("config")
    return activation is None or (isinstance(activation, str) and activation in ALONE)


RULES: dict[str, Callable[[Call, ChannelUnions], None]] = {
    **dict.fromkeys((*FORWARD, *TRANSPOSED), _makes),
    **dict.fromkeys(DEPTHWISE, _depthwise),
    **dict.fromkeys(_PASS, _passes),
    **dict.fromkeys(_UNITE, _unites),
    **dict.fromkeys(("BatchNormalization", "PReLU"), _carries),
    **dict.fromkeys(("Flatten", "Reshape"), _reshapes),
    **dict.fromkeys(("LayerNormalization", "Normalization", "Softmax"), _mixes),
    "Activation": _activation,
    "Concatenate": _joins,
    "Permute": _permutes,
    "Rescaling": _rescales,
}


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
