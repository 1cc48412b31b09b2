"""Keras 3 and the bridge from it: its model rebuilt in tf_keras and proven equal.

TFMOT knows tf_keras only. Each layer is made anew by ``keras3_layers`` (operators by
``keras3_ops``), called in the order of the original's graph, and given its weights; then
both models run on the same random input and every layer's output is compared.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.errors import quote, refusal
from converters.reading import keras3_layers, keras3_ops
from converters.reading.keras3_layers import Twin


@dataclass(frozen=True, slots=True)
class Bridged:
    """A Keras 3 model in tf_keras.

    Attributes:
        model: the tf_keras functional model.
        max_abs_diff: largest absolute difference of the outputs, measured in float32.
        notes: what was left out, in words for the report.
    """

    model: Any
    max_abs_diff: float
    notes: tuple[str, ...]


def import_keras3() -> Any:
    """Return the ``keras`` package, on TensorFlow, beside tf_keras in the same process."""
    from converters import keras2

    with keras2.quiet():  # keras2 has set KERAS_BACKEND
        import keras
    if keras.backend.backend() != "tensorflow":
        raise ImportError(
            "converters.keras2 must be imported before Keras, or KERAS_BACKEND=tensorflow be "
            f"set. Received: Keras already imported with {keras.backend.backend()}"
        )
    return sys.modules["keras"]


def bridge(original: Any, source: Path) -> Bridged:
    """Return the Keras 3 functional or Sequential model ``original`` in tf_keras, proven.

    Raises:
        ModelRefused: a layer or operator without a counterpart, by name and class, or
            outputs that differ by more than ``bridge_proof`` tolerates.
    """
    from converters.reading import admission, bridge_proof

    for tensors, word in ((original.inputs, "input"), (original.outputs, "output")):
        for tensor in tensors:
            admission.check_shape(tensor.shape, word, tensor.name, source)
    walk = _Walk(source)
    model = walk.model(original)
    admission.check_activations(model, source)
    worst = bridge_proof.prove(original, model, walk.pairs, source)
    return Bridged(model, worst, tuple(dict.fromkeys(walk.notes)))


@dataclass
class _Walk:
    """One rebuilding, its layers made once each so that shared ones stay shared."""

    source: Path
    twins: dict[int, Twin] = field(default_factory=dict)
    pairs: list[tuple[str, Any, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    depth: int = 0

    def model(self, original: Any) -> Any:
        """Return the tf_keras model of a Keras 3 functional or Sequential one."""
        from converters.keras2 import keras

        graph = getattr(original, "_functional", None) or original
        inputs = [
            keras.Input(tuple(t.shape)[1:], dtype=t.dtype, name=t.name) for t in graph.inputs
        ]
        made = dict(zip((id(t) for t in graph.inputs), inputs, strict=True))
        self.depth += 1
        for tensor in _in_order(graph, set(made)):
            operation, node = _origin(tensor)
            outputs = self._call(operation, node, made)
            flat = outputs if isinstance(outputs, (list, tuple)) else [outputs]
            for old, new in zip(node.outputs, flat, strict=True):
                made[id(old)] = new
                if self.depth == 1:
                    self.pairs.append((operation.name, old, new))
        self.depth -= 1
        ends = [made[id(t)] for t in graph.outputs]
        return keras.Model(
            inputs if len(inputs) > 1 else inputs[0],
            ends if len(ends) > 1 else ends[0],
            name=original.name,
        )

    def _call(self, operation: Any, node: Any, made: dict[int, Any]) -> Any:
        """Return the counterpart's outputs for one call of a layer or operator."""
        args = _replace(node.arguments.args, made)
        kwargs = {
            key: _replace(value, made)
            for key, value in node.arguments.kwargs.items()
            # tf_keras carries masks itself; None says nothing
            if value is not None and key != "mask"
        }
        keras = sys.modules["keras"]
        try:
            if not isinstance(operation, keras.layers.Layer):
                return keras3_ops.call(operation, args, kwargs, self.source)
            twin = self._twin(operation)
            outputs = twin.call(*args, **kwargs)
            twin.fill()
            return outputs
        except (TypeError, ValueError, NotImplementedError, AttributeError) as fault:
            raise refusal(
                self.source,
                wanted="layers that tf_keras has too",
                got=f"layer {quote(operation.name)} ({type(operation).__name__}), which "
                f"tf_keras cannot rebuild: {quote(fault)}",
                do="replace it by an equivalent Keras layer, or save the model from tf_keras",
            ) from fault

    def _twin(self, layer: Any) -> Twin:
        if id(layer) not in self.twins:
            keras = sys.modules["keras"]
            if isinstance(layer, (keras.Sequential, keras.Model)):
                self.twins[id(layer)] = Twin(self.model(layer), ())
            else:
                self.twins[id(layer)] = keras3_layers.twin(layer, self.source, self.notes)
        return self.twins[id(layer)]


def _origin(tensor: Any) -> tuple[Any, Any]:
    """Return the operation that made a KerasTensor and the call it came from."""
    history = tensor._keras_history  # the only way from a tensor to its layer
    return history.operation, history.operation._inbound_nodes[history.node_index]


def _in_order(graph: Any, known: set[int]) -> Iterator[Any]:
    """Yield one tensor per call that the outputs need, each after those it reads.

    Masks that Keras computed on the side are not followed. No recursion: depth is the
    file's to choose.
    """
    done = set(known)
    stack = [(tensor, False) for tensor in reversed(graph.outputs)]
    while stack:
        tensor, ready = stack.pop()
        if id(tensor) in done:
            continue
        _, node = _origin(tensor)
        if ready:
            done.update(id(output) for output in node.outputs)
            yield tensor
            continue
        stack.append((tensor, True))
        kwargs = {k: v for k, v in node.arguments.kwargs.items() if k != "mask"}
        reads = _tensors((node.arguments.args, kwargs))
        stack.extend((read, False) for read in reads if id(read) not in done)


def _tensors(nested: Any) -> list[Any]:
    if isinstance(nested, dict):
        nested = list(nested.values())
    if isinstance(nested, (list, tuple)):
        return [tensor for item in nested for tensor in _tensors(item)]
    return [nested] if hasattr(nested, "_keras_history") else []


def _replace(nested: Any, made: dict[int, Any]) -> Any:
    """Return ``nested`` with each Keras 3 tensor replaced by its tf_keras counterpart."""
    if isinstance(nested, dict):
        return {key: _replace(value, made) for key, value in nested.items()}
    if isinstance(nested, (list, tuple)):
        return type(nested)(_replace(item, made) for item in nested)
    return made.get(id(nested), nested)
