"""What a model is for, read from its compiled loss, its last activation, shapes and targets.

A loss alone does not say: ``binary_crossentropy`` trains two-class models, multi-label ones
and autoencoders. What it leaves open, the targets decide; what they leave open is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.errors import ModelRefused

CLASSIFICATION, MULTILABEL = "classification", "multilabel"
REGRESSION, RECONSTRUCTION = "regression", "reconstruction"

_CLASSES = ("crossentropy", "hinge", "divergence", "kld", "bce")
_VALUES = (
    *("squared", "absolute", "mse", "mae", "mape", "msle", "huber", "log_cosh", "logcosh"),
    "poisson",
)
# Losses of independent outputs, each a probability or its logit.
_BINARY = ("binary", "bce")
_SHAPE_ONLY = ("Flatten", "Reshape", "Dropout", "InputLayer", "QuantizeLayer")
_SQUASHED = ("sigmoid", "hard_sigmoid")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHint:
    """What a model says of its task before its data are seen.

    Attributes:
        task: the likeliest by loss and shapes alone; None where the loss fits several.
        loss: its name, empty where the model carries none.
        decision_threshold: above which one output means class 1: 0 for logits and hinge,
            and without a loss for what is no sigmoid, else 0.5.
        signed_labels: the loss takes labels of -1 and 1 (hinge).
        reason: of a guess that no loss gave, else empty.
    """

    task: str | None
    loss: str = ""
    decision_threshold: float = 0.5
    signed_labels: bool = False
    reason: str = ""

    @property
    def why(self) -> str:
        """The reason of the guess, for the line a person reads."""
        if self.reason:
            return self.reason
        if not self.loss:
            return "the model carries no compiled loss"
        fits = "" if self.task else ", which fits several"
        return f"the model's loss is {self.loss}{fits}"

    def resolved(self, pairs: Iterable[tuple[NDArray[Any], NDArray[Any] | None]]) -> str | None:
        """Return the task that the targets make of the guess; None: still unknown.

        Args:
            pairs: inputs ``(N, …)`` and their targets, of every part of the data.
        """
        parts = [(x, y) for x, y in pairs if y is not None]
        if self.task is None:
            return None
        if not parts:
            return self.task
        if all(_same(x, y) for x, y in parts):
            return RECONSTRUCTION
        if self._says(_VALUES):
            return REGRESSION
        if self._says(_BINARY) and all(_marks(y) for _, y in parts):
            once = all((y.sum(axis=1) == 1).all() for _, y in parts)
            return CLASSIFICATION if once else MULTILABEL
        # Targets that are neither the input nor its shape: a wrong guess names itself later.
        return CLASSIFICATION

    def _says(self, words: tuple[str, ...]) -> bool:
        return any(word in self.loss.lower() for word in words)


def _same(x: NDArray[Any], y: NDArray[Any]) -> bool:
    """Whether targets are the inputs themselves, which no class number can be."""
    return x.ndim > 1 and y.size == x.size > len(x) and np.array_equal(x.ravel(), y.ravel())


def _marks(y: NDArray[Any]) -> bool:
    """Whether each row of targets marks labels with 0 and 1: ``(N, K)``, K of 2 or more."""
    return y.ndim == 2 and y.shape[1] > 1 and bool(((y == 0) | (y == 1)).all())


def hint_of(model: Any) -> TaskHint:
    """Return what a tf_keras model says of its task.

    Trained on values, or on each output as a probability of its own, and giving back the
    shape it takes, a model is guessed to reconstruct its input.
    """
    loss = getattr(model, "loss", None)
    if isinstance(loss, dict):
        loss = list(loss.values())
    if isinstance(loss, list | tuple):
        if len(loss) > 1:
            return TaskHint(task=None, loss=" and ".join(map(loss_name, loss)))
        loss = loss[0] if loss else None
    if not loss:
        return TaskHint(task=None, decision_threshold=_threshold("", False, model))
    name = loss_name(loss)
    logits = bool(
        getattr(loss, "from_logits", False)
        or getattr(loss, "_fn_kwargs", {}).get("from_logits", False)
    )
    hint = TaskHint(
        task=None,
        loss=name,
        decision_threshold=_threshold(name, logits, model),
        signed_labels="hinge" in name.lower(),
    )
    takes, gives = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
    several = gives not in ((), (1,))
    if takes == gives and hint._says((*_VALUES, *(_BINARY if several else ()))):
        task = RECONSTRUCTION
    elif hint._says(_VALUES):
        task = REGRESSION
    elif hint._says(_CLASSES):
        task = CLASSIFICATION
    else:
        return hint
    return TaskHint(
        task=task,
        loss=name,
        decision_threshold=hint.decision_threshold,
        signed_labels=hint.signed_labels,
    )


def loss_name(loss: Any) -> str:
    """Return a loss's name as its class, function or word has it; not what a user calls it."""
    if isinstance(loss, str):
        return loss
    kind = type(loss).__name__
    named = getattr(loss, "name", kind) if kind == "LossFunctionWrapper" else kind
    return str(getattr(loss, "__name__", named))


def _threshold(loss: str, logits: bool, model: Any) -> float:
    """Return where one output of the model is cut, as Keras' own metrics should be told.

    A sigmoid is a probability whatever the loss was told: with ``from_logits`` too, Keras
    takes the logit from before it.
    """
    activation = output_activation(model) if len(getattr(model, "outputs", ())) == 1 else ""
    if activation in _SQUASHED:
        return 0.5
    return 0.0 if logits or "hinge" in loss.lower() or not loss else 0.5


def output_activation(model: Any) -> str:
    """Return the name of what was applied last: ``softmax``, ``sigmoid``, ``tanh`` …

    Layers that only reshape are looked through. ``linear`` where nothing was.

    Raises:
        ModelRefused: several outputs.
    """
    if len(model.outputs) != 1:
        raise ModelRefused(
            f"{model.name}: wanted a model with one output. Received: {len(model.outputs)}"
        )
    tensor = model.outputs[0]
    while True:
        history = tensor._keras_history  # the only way from a tensor to its layer
        layer = history.layer
        if hasattr(layer, "layers") and hasattr(layer, "outputs"):  # a nested model
            tensor = layer.outputs[history.tensor_index]
            continue
        if type(layer).__name__ not in _SHAPE_ONLY or not layer.inbound_nodes:
            break
        tensor = layer.input
        if isinstance(tensor, list) or layer.input is layer.output:
            break
    if type(layer).__name__ == "Softmax":
        return "softmax"
    layer = getattr(layer, "layer", layer)  # what TimeDistributed and the like call
    operator = str(getattr(layer, "symbol", "")).rpartition(".")[2]  # tf.nn.softmax(x)
    return str(getattr(getattr(layer, "activation", None), "__name__", operator)) or "linear"
