"""Cutting channels: what each is worth, which go under a budget, and the smaller model.

Taylor (Molchanov et al. 2019, arXiv:1906.10771): the first-order change of the loss if the
channel were zero, ``|activation * gradient|`` summed over places and over all layers that
make the channel, averaged over rows. L1 and L2 are norms of the kernels' columns (Li et al.
2017, arXiv:1608.08710), BN-gamma the scales that follow them (Liu et al. 2017,
arXiv:1708.06519). In the smaller model nothing but sizes changes: where the channels taken away
were zero, the outputs stay the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from converters import settings
from converters.draft import Draft, Samples, Training, Trait, calibration_rows
from converters.errors import ModelRefused
from converters.graph.network import DEPTHWISE, FORWARD, TRANSPOSED, Call, Network
from converters.learning.finetune import FineTuneStage, StageInputs
from converters.learning.objective import Objective
from converters.structure.channels_graph import ChannelGraph, channel_graph
from converters.weights.choice import Mask


def choose(
    graph: ChannelGraph,
    importance: NDArray[np.float64],
    share: float,
    *,
    multiple: int,
    minimum: int,
    per_output: float = 0.0,
    floors: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    """Return which channels stay, ``(channels,) bool``, so that a ``share`` of cost is left.

    Greedy over all groups at once: a move takes the least important channels of a group
    down to the next multiple, and the move with the least importance per MAC saved is made
    until the share is met. Costs fall as neighbours shrink, so they are counted anew.

    Args:
        importance: ``(channels,)``, on one scale for all groups.
        share: of the cost now, ``graph.macs(graph.sizes, per_output)``.
        multiple: how many channels stay in a group that is cut: a multiple of this.
        minimum: at least so many stay in every group.
        floors: at least so many stay in each group; None asks for no more than ``minimum``.
        per_output: cost of a number written, in multiply-accumulates.

    Raises:
        ModelRefused: the budget cannot be met.
    """
    left = graph.sizes.copy()
    ranked = [_ranked(graph, importance, group) for group in range(len(left))]
    costs = [np.concatenate([[0.0], np.cumsum(importance[ids])]) for ids in ranked]
    least = np.maximum(np.zeros(len(left)) if floors is None else floors, max(minimum, 1))
    now = full = graph.macs(left, per_output)
    refuse_unreachable(graph, share, least, multiple, per_output)
    while now > share * full:
        best: tuple[float, int, int, float] | None = None
        for group, count in enumerate(left):
            fewer = (int(count) - 1) // multiple * multiple
            if fewer < least[group]:
                continue
            fewest = left.copy()
            fewest[group] = fewer
            after = graph.macs(fewest, per_output)
            gone = graph.sizes[group]
            lost = costs[group][gone - fewer] - costs[group][gone - count]
            price = float(lost) / max(now - after, 1)
            if best is None or price < best[0]:
                best = (price, group, fewer, after)
        if best is None:  # the lowest cost was found reachable above
            raise AssertionError(f"{now} of {full} kept, {share:.4f} wanted")
        _, group, fewer, now = best
        left[group] = fewer
    kept = np.ones(len(graph.group), bool)
    for group, ids in enumerate(ranked):
        kept[ids[: graph.sizes[group] - left[group]]] = False
    return kept


def refuse_unreachable(
    graph: ChannelGraph,
    share: float,
    least: NDArray[np.float64],
    multiple: int,
    per_output: float,
) -> None:
    """Check that a ``share`` of the cost can be met with ``least`` channels in each group.

    Raises:
        ModelRefused: it cannot; the lowest share that can is told.
    """
    sizes = graph.sizes
    fewest = np.ceil(least / multiple).astype(np.int64) * multiple
    left = np.minimum(sizes, fewest)
    full = graph.macs(sizes, per_output)
    lowest = graph.macs(left, per_output)
    if (left == sizes).all():
        raise ModelRefused(
            "channels: wanted channels that may be cut. Received: none, as inputs and outputs "
            f"stay whole and no layer has more than multiple ({multiple}), minimum and floor "
            "leave; lower those, or leave the stage out"
        )
    if lowest > share * full:
        raise ModelRefused(
            f"channels: wanted {share:.1%} of the cost kept. Received: {lowest / full:.1%} "
            f"as the least that multiple ({multiple}), minimum and floor leave; set macs to "
            f"{math.ceil(lowest / full * 1000) / 1000:g} or more, or lower those"
        )


def floors(graph: ChannelGraph, before: Mapping[str, int], share: float) -> NDArray[np.float64]:
    """Return how many channels of each group are ``share`` of what there were before.

    ``before`` is how many channels each layer made before any cut.
    """
    least = np.zeros(len(graph.sizes))
    for layer, ports in graph.ports.items():
        groups, counts = np.unique(graph.group[ports.makes], return_counts=True)
        shrunk = before[layer] / len(ports.makes)
        for group, count in zip(groups, counts, strict=True):
            if group >= 0:  # a channel may be made more than once in a layer
                own = min(int(count), int(graph.sizes[group]))
                least[group] = max(least[group], share * shrunk * own)
    return least


def _ranked(
    graph: ChannelGraph, importance: NDArray[np.float64], group: int
) -> NDArray[np.int64]:
    """Return the channels of ``group``, the least important first; ties by their number."""
    members = np.flatnonzero(graph.group == group)
    return members[np.argsort(importance[members], kind="stable")]


Criterion = Literal["taylor", "l1", "l2", "bn"]
Scores = NDArray[np.float64]


def by_weights(
    model: Any, network: Network, graph: ChannelGraph, criterion: Criterion
) -> Scores:
    """Return ``(channels,)`` importances from weights, of mean 1 in each group.

    Norms of different layers are on scales of their own, so only their order in a group
    says anything. Groups without any BatchNormalization fall back to L2 under ``bn``.
    """
    total = np.zeros(len(graph.group))
    for call in {call.layer: call for call in network.calls}.values():
        layer = model.get_layer(call.layer)
        if criterion == "bn":
            if call.kind == "BatchNormalization" and getattr(layer, "gamma", None) is not None:
                ids = graph.tensors[call.inputs[0]]
                np.add.at(total, ids, np.abs(layer.gamma.numpy()))
        elif call.layer in graph.ports and call.kind not in DEPTHWISE:
            kernel = layer.kernel.numpy().astype(np.float64)
            kernel = np.moveaxis(kernel, -2, -1) if call.kind in TRANSPOSED else kernel
            columns = np.abs(kernel.reshape(-1, kernel.shape[-1]))
            norms = columns.sum(0) if criterion == "l1" else np.sqrt((columns**2).sum(0))
            np.add.at(total, graph.ports[call.layer].makes, norms)
    spare = by_weights(model, network, graph, "l2") if criterion == "bn" else total
    for group in range(len(graph.sizes)):
        members = graph.group == group
        if not total[members].any():
            total[members] = spare[members]
        mean = total[members].mean()
        if mean > 0:
            total[members] /= mean
    return total


def taylor(
    model: Any,
    read: tuple[Network, dict[int, Any]],
    graph: ChannelGraph,
    objective: Objective,
    rows: tuple[NDArray[Any], NDArray[Any]],
    *,
    batch: int = 64,
) -> Scores:
    """Return ``(channels,)`` mean changes of the loss, on one scale for all groups.

    Args:
        rows: inputs and targets, as the objective takes them.
    """
    from converters.keras2 import keras, tf

    network, tensors = read
    taps = _taps(network, graph)
    watched = keras.Model(model.inputs, [*(tensors[at] for at in taps), *model.outputs])
    members = [tf.constant(graph.tensors[at]) for at in taps]
    count = len(graph.group)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def changes(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            *values, outputs = watched(x, training=False)
            tape.watch(values)
            # The loss is one number a row or their mean; each row's own change is wanted.
            loss = tf.reduce_mean(objective.hard(y, outputs)) * tf.cast(
                tf.shape(x)[0], tf.float32
            )
        total = tf.zeros((count, tf.shape(x)[0]))
        for value, slope, ids in zip(values, tape.gradient(loss, values), members, strict=True):
            if slope is None:
                continue
            each = value * slope
            each = tf.reduce_sum(each, tuple(range(1, len(value.shape) - 1)))
            total += tf.math.unsorted_segment_sum(tf.transpose(each), ids, count)
        return tf.reduce_sum(tf.abs(total), 1)

    x, y = rows
    kind = tf.int64 if np.issubdtype(y.dtype, np.integer) else tf.float32
    found = np.zeros(count)
    for at in range(0, len(x), batch):
        here = slice(at, at + batch)
        found += changes(tf.constant(x[here], tf.float32), tf.constant(y[here], kind)).numpy()
    return found / len(x)


def _taps(network: Network, graph: ChannelGraph) -> list[int]:
    """Return the tensors in which channels are made, behind their BatchNormalization.

    Zeroing a channel before a BatchNormalization would leave its shift.
    """
    found = []
    for call in network.calls:
        if call.layer not in graph.ports or call.kind in DEPTHWISE:
            continue
        readers = network.readers(call.outputs[0])
        norm = len(readers) == 1 and readers[0].kind == "BatchNormalization"
        found.append(readers[0].outputs[0] if norm else call.outputs[0])
    return found


LayerWeights = list[NDArray[Any]]


def cut(model: Any, network: Network, graph: ChannelGraph, kept: Mask) -> Any:
    """Return ``model`` with only the ``kept`` channels, ``(channels,) bool``.

    Layers keep their names; ``model`` is left as it was.

    Raises:
        ModelRefused: a layer would have no channel left, or a frozen one would go.
    """
    from converters import keras2

    if not kept[graph.group < 0].all():
        raise ModelRefused(f"{model.name}: wanted frozen channels kept. Received: some cut")
    source = keras2.keras.Model(model.inputs, model.outputs, name=model.name)
    config = source.get_config()
    calls = {call.layer: call for call in network.calls}
    weights = {}
    for layer in source.layers:
        weights[layer.name] = layer.get_weights()
        if layer.name in calls:
            weights[layer.name] = _sliced(calls[layer.name], weights[layer.name], graph, kept)
    for words in config["layers"]:
        words.pop("build_config", None)  # the shapes it was built with
        if words["name"] in calls:
            _narrow(words["config"], calls[words["name"]], network, graph, kept)
    with keras2.tfmot.quantization.keras.quantize_scope():
        fresh = keras2.keras.Model.from_config(config)
    for layer in fresh.layers:
        layer.set_weights(weights[layer.name])
    fresh.trainable = True
    return keras2.compile_like(fresh, model)


def _narrow(
    words: dict[str, Any], call: Call, network: Network, graph: ChannelGraph, kept: Mask
) -> None:
    """Write the new number of channels into a layer's config, where it is told there."""
    left = int(kept[graph.tensors[call.outputs[0]]].sum())
    if left == 0:
        raise ModelRefused(f"{call.layer}: wanted a channel or more kept. Received: none")
    if call.layer in graph.ports and call.kind not in DEPTHWISE:
        words["units" if call.kind == "Dense" else "filters"] = left
    if call.kind == "Reshape":
        words["target_shape"] = [*network.shapes[call.outputs[0]][:-1], left]


def _sliced(call: Call, values: LayerWeights, graph: ChannelGraph, kept: Mask) -> LayerWeights:
    if not values:
        return values
    if call.layer in graph.ports:
        ports = graph.ports[call.layer]
        reads, makes = kept[ports.reads], kept[ports.makes]
        kernel, *bias = values
        if call.kind in FORWARD:
            kernel = kernel[..., reads, :][..., makes]
        elif call.kind in TRANSPOSED:
            kernel = kernel[..., makes, :][..., reads]
        else:
            kernel = kernel[..., reads, :]
        return [kernel, *(value[makes] for value in bias)]
    if call.kind in ("BatchNormalization", "PReLU"):
        ids = graph.tensors[call.inputs[0]]
        return [value[..., kept[ids]] for value in values]
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(FineTuneStage):
    """How far channels are cut, and by what measure.

    Attributes:
        macs: share of the cost kept, in (0, 1): of multiply-accumulates, and of what
            ``per_output`` adds.
        per_output: what every number a kernel writes costs besides, in
            multiply-accumulates. 0 counts those alone; 50 fits the instructions of int8
            kernels on arm64 (docs/structured.md), where wide early layers then go first.
        criterion: ``taylor``, ``l1``, ``l2`` or ``bn``, see above.
        multiple: channels kept in a group that is cut are a multiple of this; set it to
            the vector width of the target's kernels.
        minimum: at least so many channels stay in every group.
        floor: at least this share of every group stays, in [0, 1): what a deep cut by
            importance alone would leave of a few layers is too little to train.
        rows: training rows from which ``taylor`` is averaged.
        reconstruct: after the cut, give each kernel the values with which its layer still
            answers as before, solved layer by layer where that is possible.
    """

    macs: float = 0.5
    per_output: float = 0.0
    criterion: Criterion = "taylor"
    multiple: int = 8
    minimum: int = 8
    floor: float = 0.0
    rows: int = 512
    reconstruct: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that no cut can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        FineTuneStage.__post_init__(self)
        settings.open_share(self, "macs")
        settings.between(0, settings.MOST_PER_OUTPUT, self, "per_output")
        settings.between(1, 65_536, self, "multiple", "minimum")
        settings.between(1, 1_000_000, self, "rows")
        settings.half_open_share(self, "floor")

    def refuse_unreachable(self, channels: ChannelGraph) -> None:
        """Check that a model of these can be cut to ``macs``: before it is trained at all.

        Raises:
            ModelRefused: it cannot; the least that can be reached is told.
        """
        least = floors(channels, channels.widths, self.floor)
        refuse_unreachable(
            channels,
            self.macs,
            np.maximum(least, self.minimum),
            self.multiple,
            self.per_output,
        )

    def shrunk(
        self,
        model: Any,
        share: float,
        setting: StageInputs,
        before: Mapping[str, int] | None = None,
    ) -> tuple[Any, str]:
        """Return the recalibrated model at that share of its cost, and what stayed whole.

        ``before`` is how many channels each layer made before any cut; None where this is
        the first one.
        """
        from converters.graph.network import read
        from converters.learning import objective
        from converters.learning.recalibrate import recalibrate
        from converters.weights import reconstruct

        draft, samples, training = setting
        found = read(model)
        channels = channel_graph(found[0])
        if self.criterion == "taylor":
            goal = objective.objective(draft.model, training)
            rows = scoring_rows(goal, samples, training, self.rows)
            importance = taylor(model, found, channels, goal, rows)
        else:
            importance = by_weights(model, found[0], channels, self.criterion)
        kept = choose(
            channels,
            importance,
            share,
            multiple=self.multiple,
            minimum=self.minimum,
            floors=floors(channels, before or channels.widths, self.floor),
            per_output=self.per_output,
        )
        smaller = cut(model, found[0], channels, kept)
        if self.reconstruct:
            made = {layer: kept[ports.makes] for layer, ports in channels.ports.items()}
            reconstruct.refit_cut(
                smaller, model, reconstruct.calibration_data(samples, training), made
            )
        recalibrate(smaller, samples, training)
        return smaller, ", ".join(channels.frozen)


def planned_cost(model: Any, per_output: float) -> float:
    """Return the planned multiply-accumulates of ``model`` and what its outputs add."""
    from converters.graph.network import read

    channels = channel_graph(read(model)[0])
    return channels.macs(channels.sizes, per_output)


def scoring_rows(
    goal: Any, samples: Samples, training: Training, wanted: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return inputs and targets of ``wanted`` training rows, drawn from the seed."""
    chosen = calibration_rows(len(samples.x_train), wanted, training.seed)
    x = samples.x_train[chosen]
    return x, goal.targets(x, samples.y_train[chosen])


def refuse_compressed(draft: Draft, stage: str) -> None:
    """Check that ``draft`` promises nothing yet.

    Raises:
        ModelRefused: it is quantized, sparse or clustered.
    """
    from converters.weights import wrapping

    wrapping.refuse_quantized(draft.model, stage)
    if draft.traits is not Trait.NONE:
        raise ModelRefused(
            f"{stage}: wanted a draft that promises nothing yet. Received: "
            f"{draft.traits.name}; put this stage before prune and cluster"
        )
