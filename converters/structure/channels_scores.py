"""How much each channel matters, by weights alone or by what the loss would do.

Taylor (Molchanov et al. 2019, arXiv:1906.10771): the first-order change of the loss if the
channel were zero, ``|activation * gradient|`` summed over places and over all layers that
make the channel, averaged over rows. L1 and L2 are norms of the kernels' columns (Li et al.
2017, arXiv:1608.08710), BN-gamma the scales that follow them (Liu et al. 2017,
arXiv:1708.06519).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from converters.graph.network import DEPTHWISE, TRANSPOSED, Network
from converters.learning.objective import Objective
from converters.structure.channels_graph import ChannelGraph

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
