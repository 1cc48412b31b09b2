"""What a loaded tf_keras model must be before a stage may see it, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import ModelRefused, quote, refusal
from converters.reading.hdf5_check import Hdf5Facts
from converters.reading.hdf5_probe import digest

# Bidirectional builds copies of its layer that it then drops; 4 times leaves room for that.
_BUILT_TIMES = 4
_SLACK_BYTES = 16 * 1024**2
MAX_TENSOR_BYTES = 1024**3  # one sample's largest activation as float32


@contextmanager
def weight_budget(layer_class: Any, most_bytes: int, source: Path) -> Iterator[None]:
    """Refuse, while a model is built, weights far beyond ``most_bytes``, before allocating.

    A config of a few bytes can ask for terabytes; the weights it asks for must all stand in
    the file, whose size is known. ``layer_class`` is the Layer of either Keras, whose
    ``add_weight`` every layer calls.
    """
    original = layer_class.add_weight
    used = 0

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal used
        shape = kwargs.get("shape", next((a for a in args if isinstance(a, (tuple, list))), ()))
        sizes = [n for n in tuple(shape or ()) if isinstance(n, (int, np.integer))]
        used += 4 * math.prod(max(int(n), 0) for n in sizes)
        if used > _BUILT_TIMES * most_bytes + _SLACK_BYTES:
            raise refusal(
                source,
                wanted="an architecture whose weights are in the file",
                got=f"layer {quote(self.name)}, with which it asks for {used:,} bytes of "
                f"weights where the file holds {most_bytes:,}",
                do="copy it again, or save the model again",
            )
        return original(self, *args, **kwargs)

    layer_class.add_weight = counted
    try:
        yield
    finally:
        layer_class.add_weight = original


def check_built(model: Any, source: Path) -> None:
    """Refuse a Sequential of either Keras that was never told the size of its input."""
    if not getattr(model, "inputs", None):
        raise refusal(
            source,
            wanted="a model with one input",
            got="one whose input size is not known yet",
            do="start it with Input(shape=...), or call it once before saving",
        )


def functional(model: Any, source: Path) -> Any:
    """Return ``model`` as a tf_keras functional model of one input and one output tensor.

    Raises:
        ModelRefused: another number of either, a dynamic shape, or other than numbers.
    """
    from converters.keras2 import keras

    check_built(model, source)
    inputs, outputs = list(model.inputs), list(model.outputs)
    for tensors, word in ((inputs, "input"), (outputs, "output")):
        if len(tensors) != 1:
            named = ", ".join(quote(t.name) for t in tensors)
            raise refusal(
                source,
                wanted=f"a model with one {word}",
                got=f"{len(tensors)}: {named}",
                do=f"cut the model to one {word}: keras.Model(one input, one output)",
            )
    check_shape(inputs[0].shape, "input", inputs[0].name, source)
    check_shape(outputs[0].shape, "output", outputs[0].name, source)
    if not outputs[0].dtype.is_floating:
        raise refusal(
            source,
            wanted="an output of real numbers",
            got=f"{quote(outputs[0].name)} of {outputs[0].dtype.name}",
            do="end the model at its scores (before argmax or a comparison)",
        )
    is_plain = model.__class__.__name__ == "Functional" and all(
        not isinstance(ends, (list, dict)) for ends in (model.input, model.output)
    )
    if not is_plain:
        model = keras.Model(inputs[0], outputs[0], name=model.name)
    check_activations(model, source)
    return model


def check_shape(shape: Any, word: str, name: str, source: Path) -> None:
    """Refuse a tensor with an unknown or empty side other than the batch's."""
    sides = [None if side is None else int(side) for side in tuple(shape)[1:]]
    shown = ", ".join(["batch", *(str(side) for side in sides)])
    if None in sides:
        raise refusal(
            source,
            wanted=f"an {word} of fixed size",
            got=f"{quote(name)} of shape ({shown})",
            do="rebuild it with whole numbers, such as Input(shape=(96, 96, 3)): a device "
            "plans its memory before it runs",
        )
    if any(side is not None and side < 1 for side in sides):
        raise refusal(
            source,
            wanted=f"an {word} with something in it",
            got=f"{quote(name)} of shape ({shown})",
            do="save the model again",
        )


def check_activations(model: Any, source: Path) -> None:
    """Refuse a layer whose output for one sample is over 1 GiB, before anything runs."""
    for layer in model.layers:
        for node in layer.inbound_nodes:
            made = node.outputs
            for tensor in made if isinstance(made, (list, tuple)) else [made]:
                sides = [s for s in tuple(getattr(tensor, "shape", ()))[1:] if s is not None]
                size = 4 * math.prod(sides)
                if size > MAX_TENSOR_BYTES:
                    raise refusal(
                        source,
                        wanted=f"layer outputs of at most {MAX_TENSOR_BYTES:,} bytes a sample",
                        got=f"layer {quote(layer.name)} with {size:,} bytes",
                        do="no device in the profiles holds such a tensor",
                    )


def check_finite(model: Any, source: Path) -> None:
    """Refuse NaN and infinite weights, naming the first."""
    for variable, values in zip(model.weights, model.get_weights(), strict=True):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int(values.size - np.isfinite(values).sum())
            raise refusal(
                source,
                wanted="finite weights",
                got=f"{quote(variable.name)} with {bad:,} of {values.size:,} NaN or infinite",
                do="train it again, or go back to an earlier checkpoint",
            )


def check_held(model: Any, facts: Hdf5Facts, source: Path) -> None:
    """Refuse a model with a weight that does not stand in its file, bit for bit as float32.

    Loaders match weights by order or name; one they miss keeps its random initial values.
    """
    for variable, values in zip(model.weights, model.get_weights(), strict=True):
        if (tuple(values.shape), digest(values)) not in facts.weights:
            raise _not_held(quote(variable.name), source)


def _not_held(name: str, source: Path) -> ModelRefused:
    return refusal(
        source,
        wanted="every weight of the model in the file",
        got=f"no values for {name}",
        do="save the whole model again with model.save('model.keras')",
    )
