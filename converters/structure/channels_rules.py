"""What each kind of layer does to the channels it is given: one rule a kind.

A rule says it in ``ChannelUnions``: new variables, the same ones handed on, united ones, or
frozen ones. A kind without a rule freezes whatever it touches, and is named.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import own_activations
from converters.graph.network import DEPTHWISE, FORWARD, TRANSPOSED, Call, Network, channels

Ids = NDArray[np.int64]

#: Activations that treat every channel alike and alone; softmax does not.
ALONE = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "swish"),
    *("mish", "tanh", "sigmoid", "hard_sigmoid", "softplus", "softsign", "exponential"),
    *own_activations.ALONE,
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
        told = [why for at, why in self._frozen.items() if self._root(at) not in plain]
        return tuple(dict.fromkeys(reason for why in told for reason in why))

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
