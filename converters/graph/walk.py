"""A model built again call by call, where a rule may put other layers in a layer's place.

The graph is walked from its inputs with tensors of the new model, so a rule sees shapes;
what it makes is a chain of layers, and their weights are set once all is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: Returns the new outputs of one call, or None to let the layer stay.
RewriteRule = Callable[["Site"], Any]


@dataclass(frozen=True, slots=True)
class Site:
    """One call of one layer, on tensors of the new model.

    Attributes:
        layer: the old layer; its weights may be read.
        args, kwargs: what it was called with, tensors replaced by the new ones.
        output: its old output, for its shape.
        readers: how many layers read that output.
    """

    layer: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any
    readers: int
    walk: Walk

    @property
    def x(self) -> Any:
        """The one tensor the layer was called with, None if there are several."""
        return self.args[0] if len(self.args) == 1 and is_tensor(self.args[0]) else None

    def make(
        self, kind: Any, suffix: str = "", weights: list[Any] | None = None, **settings: Any
    ) -> Any:
        """Return a new layer named after the old one; called twice, the same layer twice."""
        return self.walk.make(self.layer, kind, suffix, weights, settings)


def walk(model: Any, rules: Mapping[str, RewriteRule]) -> Any:
    """Return ``model`` with ``rules`` (by class name) applied, nested models inlined.

    Layers without a rule are copied with their weights. The loss is kept.
    """
    return Walk(rules).run(model)


def is_tensor(value: Any) -> bool:
    """Tell whether ``value`` is a symbolic tensor of a graph under construction."""
    return hasattr(value, "_keras_history")


def producer(tensor: Any) -> Any:
    """Return the layer that made the symbolic ``tensor``."""
    return tensor._keras_history.layer


def feeds(tensor: Any) -> list[Any]:
    """Return the tensors that the maker of ``tensor`` was called with."""
    from converters.keras2 import tf

    history = tensor._keras_history
    node = history.layer.inbound_nodes[history.node_index]
    called = tf.nest.flatten((node.call_args, node.call_kwargs))
    return [value for value in called if is_tensor(value)]


@dataclass
class Walk:
    """The state of one walk: what was made, under which names."""

    rules: Mapping[str, RewriteRule]
    made: dict[tuple[int, str], Any] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    weights: list[tuple[Any, list[Any]]] = field(default_factory=list)

    def run(self, model: Any) -> Any:
        """Return the new model."""
        from converters import keras2

        keras = keras2.keras
        self.taken |= {layer.name for layer in model.layers}
        inputs = [
            keras.Input(old.shape[1:], dtype=old.dtype, name=producer(old).name)
            for old in model.inputs
        ]
        with keras2.copying():
            fresh = keras.Model(inputs, self._calls(model, inputs, ""), name=model.name)
        for layer, values in self.weights:
            layer.set_weights(values)
        fresh.trainable = True
        return keras2.compile_like(fresh, model)

    def make(
        self, old: Any, kind: Any, suffix: str, weights: list[Any] | None, settings: Any
    ) -> Any:
        """Return the layer made in the place of ``old`` under ``suffix``."""
        from converters.keras2 import keras

        key = (id(old), suffix)
        if key not in self.made:
            cls = getattr(keras.layers, kind) if isinstance(kind, str) else kind
            plain = re.sub(r"\W+", "_", old.name).strip("_")
            name = f"{plain}_{suffix}" if suffix else plain
            if suffix or name != old.name:
                name = self._free(name)
            self.made[key] = cls(name=name, **settings)
            if weights is not None:
                values = [np.asarray(value, np.float32) for value in weights]
                self.weights.append((self.made[key], values))
        return self.made[key]

    def _free(self, name: str) -> str:
        """Return ``name``, numbered if it is taken."""
        number, free = 1, name
        while free in self.taken:
            number += 1
            free = f"{name}_{number}"
        self.taken.add(free)
        return free

    def _twin(self, layer: Any, prefix: str) -> Any:
        """Return the copy of ``layer``; a layer of a nested model gets its name in front."""
        key = (id(layer), "")
        if key not in self.made:
            name = layer.name
            if prefix:
                name = self._free(name if name not in self.taken else f"{prefix}_{name}")
            twin = type(layer).from_config(layer.get_config() | {"name": name})
            self.made[key] = twin
            self.weights.append((twin, layer.get_weights()))
        return self.made[key]

    def _calls(self, part: Any, inputs: list[Any], prefix: str) -> list[Any]:
        from converters.keras2 import keras, tf

        known = {id(old): new for old, new in zip(part.inputs, inputs, strict=True)}
        by_depth = part._nodes_by_depth  # depth falls from the inputs to the outputs
        nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
        read: dict[int, int] = {id(out): 1 for out in part.outputs}
        for node in nodes:
            for value in tf.nest.flatten((node.call_args, node.call_kwargs)):
                read[id(value)] = read.get(id(value), 0) + 1
        for node in nodes:
            if node.is_input:
                continue
            called = (node.call_args, node.call_kwargs)
            flat = [known.get(id(value), value) for value in tf.nest.flatten(called)]
            args, kwargs = tf.nest.pack_sequence_as(called, flat)
            if isinstance(node.layer, keras.Model):
                made: Any = self._calls(node.layer, tf.nest.flatten(args), node.layer.name)
            else:
                made = self._call(node, args, kwargs, read, prefix)
            outputs = tf.nest.flatten(node.outputs)
            known |= dict(zip(map(id, outputs), tf.nest.flatten(made), strict=True))
        return [known[id(old)] for old in part.outputs]

    def _call(
        self, node: Any, args: Any, kwargs: Any, read: dict[int, int], prefix: str
    ) -> Any:
        layer, output = node.layer, node.outputs
        rule = self.rules.get(type(layer).__name__)
        if rule is not None:
            site = Site(layer, tuple(args), kwargs, output, read.get(id(output), 0), self)
            made = rule(site)
            if made is not None:
                return made
        return self._twin(layer, prefix)(*args, **kwargs)
