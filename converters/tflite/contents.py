"""What a .tflite of our own converter holds: float operators left, and int8 kernels.

Reads the schema of ai-edge-litert, not TensorFlow. For files from elsewhere there is
``edgepack.tflite.flatbuffer``: this one trusts its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from converters.tflite.tflite_edit import operator_name, parse

_FLOATS = {
    schema.TensorType.FLOAT16: "float16",
    schema.TensorType.FLOAT32: "float32",
    schema.TensorType.FLOAT64: "float64",
}
_KERNEL_INPUT = {
    "CONV_2D": 1,
    "CONV_3D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "FULLY_CONNECTED": 1,
    "TRANSPOSE_CONV": 1,
}


@dataclass(frozen=True, slots=True)
class Kernel:
    """An int8 weight tensor that an operator multiplies with.

    Attributes:
        operator: its kind, ``CONV_2D`` for example.
        name: of the tensor: the names of all Keras layers merged into it, by ``;``.
        codes: ``int8`` in the tensor's own shape.
        channel_axis: along which it has a scale each; None with one scale.
    """

    operator: str
    name: str
    codes: NDArray[np.int8]
    channel_axis: int | None

    def belongs_to(self, layer: str) -> bool:
        """Tell whether the Keras layer ``layer`` is among those merged into this."""
        paths = [f"/{path}/" for path in self.name.split(";")]  # a name may hold slashes
        return any(f"/{own}/" in path for path in paths for own in (layer, f"quant_{layer}"))

    def distinct(self) -> int:
        """Return how many codes the tensor uses."""
        return len(np.unique(self.codes))

    def distinct_per_channel(self) -> int:
        """Return the most codes that any one channel uses; of the tensor with one scale."""
        if self.channel_axis is None:
            return self.distinct()
        rows = np.moveaxis(self.codes, self.channel_axis, 0)
        return max(len(np.unique(row)) for row in rows)


def float_islands(tflite: bytes) -> list[str]:
    """Return each operator that reads or writes float, as ``OPERATOR reads float32 tensor``."""
    found = []
    for graph, operator, kind in _operators(tflite):
        for verb, indices in (("reads", operator.inputs), ("writes", operator.outputs)):
            for index in indices if indices is not None else ():
                tensor = graph.tensors[index] if index >= 0 else None
                if tensor is not None and tensor.type in _FLOATS:
                    name = tensor.name.decode("utf-8", "replace")
                    found.append(f"{kind} {verb} {_FLOATS[tensor.type]} {name!r}")
    return found


def kernels(tflite: bytes) -> list[Kernel]:
    """Return every constant int8 kernel, in the order of its operators."""
    model = parse(tflite)
    found = []
    for graph, operator, kind in _operators(tflite):
        if kind not in _KERNEL_INPUT:
            continue
        tensor = graph.tensors[operator.inputs[_KERNEL_INPUT[kind]]]
        data = model.buffers[tensor.buffer].data
        if tensor.type != schema.TensorType.INT8 or data is None:
            continue
        codes = np.frombuffer(bytes(data), np.int8).reshape(tensor.shape)
        many = len(tensor.quantization.scale) > 1
        axis = int(tensor.quantization.quantizedDimension) if many else None
        found.append(Kernel(kind, tensor.name.decode("utf-8", "replace"), codes, axis))
    return found


def _operators(tflite: bytes) -> Iterator[tuple[Any, Any, str]]:
    """Yield (subgraph, operator, its name) of all subgraphs."""
    model = parse(tflite)
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            yield graph, operator, operator_name(model, operator)
