"""A model's calls as plain data: which layer reads which tensors and what their shapes are.

Read once from a tf_keras functional model; what reasons about channels and costs after that
needs no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from converters.errors import ModelRefused

Shape = tuple[int | None, ...]

#: Kernels ``(…, in, out)`` that make every output channel from every input channel.
FORWARD = ("Conv1D", "Conv2D", "Conv3D", "Dense")
#: Kernels ``(…, out, in)``.
TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
#: Kernels ``(…, in, multiplier)``, whose channels do not meet.
DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One use of a layer; a shared layer has several.

    Attributes:
        layer: its name.
        kind: the class name of a layer of Keras' own, else ``module.Class``.
        settings: its config.
        inputs: the tensors it reads, positional ones first.
        outputs: the tensors it makes.
        kernel: shape of its kernel; empty where it has none.
    """

    layer: str
    kind: str
    settings: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    kernel: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The calls of a model in an order in which they can run.

    Attributes:
        shapes: of each tensor, without the batch.
        inputs, outputs: the model's own tensors.
    """

    calls: tuple[Call, ...]
    shapes: Mapping[int, Shape]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def readers(self, tensor: int) -> list[Call]:
        """Return the calls that read ``tensor``."""
        return [call for call in self.calls if tensor in call.inputs]


def read(model: Any) -> tuple[Network, dict[int, Any]]:
    """Return the network of a flat tf_keras functional ``model``, and its Keras tensors."""
    from converters.keras2 import keras, tf

    numbers: dict[int, int] = {}
    tensors: dict[int, Any] = {}

    def number(tensor: Any) -> int:
        found = numbers.setdefault(id(tensor), len(numbers))
        tensors[found] = tensor
        return found

    inputs = tuple(number(tensor) for tensor in model.inputs)
    by_depth, calls = model._nodes_by_depth, []  # depth falls from inputs to outputs
    for node in [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]:
        if node.is_input:
            continue
        given = tf.nest.flatten((node.call_args, node.call_kwargs))
        reads = [value for value in given if keras.backend.is_keras_tensor(value)]
        layer = node.layer
        own = type(layer).__module__.split(".")[0] in ("keras", "tf_keras")
        kind = type(layer).__name__
        calls.append(
            Call(
                layer=layer.name,
                kind=kind if own else f"{type(layer).__module__}.{kind}",
                settings=layer.get_config(),
                inputs=tuple(number(tensor) for tensor in reads),
                outputs=tuple(number(tensor) for tensor in tf.nest.flatten(node.outputs)),
                kernel=_kernel(layer),
            )
        )
    shapes = {at: tuple(tensor.shape[1:]) for at, tensor in tensors.items()}
    outputs = tuple(number(tensor) for tensor in model.outputs)
    net = Network(calls=tuple(calls), shapes=shapes, inputs=inputs, outputs=outputs)
    return net, tensors


def _kernel(layer: Any) -> tuple[int, ...]:
    for kind in ("kernel", "depthwise_kernel"):
        variable = getattr(layer, kind, None)
        if variable is not None and hasattr(variable, "shape"):
            return tuple(int(size) for size in variable.shape)
    return ()


def weighted(call: Call) -> bool:
    """Tell whether ``call`` multiplies by a kernel whose channels are understood."""
    return call.kind in (*FORWARD, *TRANSPOSED, *DEPTHWISE)


def positions(call: Call, network: Network) -> int:
    """Return how often the kernel of ``call`` is applied to one sample.

    Raises:
        ModelRefused: the shape is not known.
    """
    transposed = call.kind in TRANSPOSED  # each input position is spread over the output
    tensor = call.inputs[0] if transposed else call.outputs[0]
    sizes = network.shapes[tensor][:-1]
    if None in sizes:
        raise ModelRefused(
            f"{call.layer}: wanted an input of known size to count multiplications. "
            f"Received: {sizes}"
        )
    return prod(int(size) for size in sizes if size is not None)


def taps(call: Call) -> int:
    """Return how many places of its input one output of ``call`` reads, per channel pair."""
    return 1 if call.kind == "Dense" else prod(call.kernel[:-2])


def macs(network: Network) -> int:
    """Return the multiply-accumulates of one sample, planned: kernels only."""
    total = 0
    for call in network.calls:
        if weighted(call):
            # Dense (in, out), conv (…, in, out), depthwise (…, in, multiplier) alike.
            total += positions(call, network) * prod(call.kernel)
    return total


def channels(network: Network, tensor: int) -> int:
    """Return the size of a tensor's last axis; 0 where it has none or it is unknown."""
    shape = network.shapes[tensor]
    return int(shape[-1] or 0) if shape else 0


def model_macs(model: Any) -> int:
    """Return the planned multiply-accumulates of one sample of a tf_keras model.

    Separable layers and nested models are counted by what they are made of.
    """
    from converters.graph import canonical

    return macs(read(canonical.simplify(model))[0])


def parameters(model: Any) -> int:
    """Return how many numbers the weights of ``model`` are."""
    return int(sum(np.prod(variable.shape) for variable in model.weights))
