"""What fine-tuning minimises: the model's own loss or the task's, plus distillation.

Distillation (Hinton, Vinyals and Dean 2015, arXiv:1503.02531): the compressed model also
matches the uncompressed one's outputs, softened by a temperature T, with weight alpha;
the T^2 keeps its gradient on the scale of the hard loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.draft import Training
from converters.errors import DataRefused, ModelRefused, TaskNeeded
from converters.task import output_activation

TASKS = ("classification", "multilabel", "regression", "reconstruction")
_FLOOR = 1e-30  # smallest probability whose logarithm is taken; float32 reaches 1e-38


@dataclass(frozen=True, slots=True)
class Objective:
    """The loss of one fine-tune, and how labels and teacher outputs enter it.

    Attributes:
        hard: a tf_keras loss function of (targets, outputs); one number a row or batch.
        head: what the outputs are: ``softmax``, ``sigmoid``, ``logits``, ``binary logits``
            or ``linear``.
        onehot: the loss wants one-hot rows, whatever form the labels have.
        sparse: the loss wants class numbers, whatever form the labels have.
        distils: whether a teacher's outputs can be matched (classification only).
        shape: of one output row.
    """

    hard: Any
    head: str
    onehot: bool
    sparse: bool
    distils: bool
    shape: tuple[int, ...]
    reconstructs: bool = False

    def targets(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """Return the rows that ``hard`` is given for these samples.

        Raises:
            DataRefused: labels that do not fit the model's outputs.
        """
        labels = np.asarray(x if self.reconstructs else y)
        if labels.ndim == 2 and labels.shape[1] == 1 and self.shape != (1,):
            labels = labels[:, 0]
        if self.sparse or self.onehot:
            labels = self._classes(labels)
        elif labels.shape[1:] == () and self.shape == (1,):
            labels = labels[:, np.newaxis]
        wanted = self.shape[:-1] if self.sparse else self.shape
        if labels.shape[1:] != wanted:
            raise DataRefused(
                f"y: wanted rows of shape {wanted}, as the model's output. "
                f"Received: {labels.shape[1:]}"
            )
        return labels if self.sparse else labels.astype(np.float32)

    def _classes(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Return class numbers, or one-hot rows where the loss wants those."""
        units = self.shape[-1]
        if labels.shape[1:] == self.shape:
            return labels.argmax(-1) if self.sparse else labels
        low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
        if low < 0 or high >= units:
            raise DataRefused(
                f"y: wanted class numbers 0 to {units - 1}, one per output of the model. "
                f"Received: {low} to {high}"
            )
        numbers = labels.astype(np.int64)
        return np.eye(units, dtype=np.float32)[numbers] if self.onehot else numbers

    def distance(
        self, teacher: Any, outputs: Any, temperature: float, head: str | None = None
    ) -> Any:
        """Return how far ``outputs`` are from ``teacher``'s, a scalar tensor.

        ``head`` is what the teacher's outputs are, see ``head_of``; None: as the model's.
        """
        from converters.keras2 import tf

        soft = _logits(teacher, head or self.head) / temperature
        mine = _logits(outputs, self.head) / temperature
        if self._apart:
            apart = tf.nn.sigmoid_cross_entropy_with_logits(tf.sigmoid(soft), mine)
        else:
            apart = tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(soft), mine)
        return temperature**2 * tf.reduce_mean(apart)

    @property
    def _apart(self) -> bool:
        """Whether each output is a probability of its own."""
        return self.head in ("sigmoid", "binary logits")

    def head_of(self, teacher: Any) -> str:
        """Return what the outputs of ``teacher`` are, in the words of ``head``.

        Raises:
            ModelRefused: several outputs, or probabilities of another kind than the model's.
        """
        found = _head(teacher)
        if found == "linear":
            return "binary logits" if self._apart else "logits"
        if (found == "sigmoid") != self._apart:
            wanted = "each of its own (sigmoid)" if self._apart else "one of all (softmax)"
            raise ModelRefused(
                f"teacher {teacher.name}: wanted outputs whose probabilities are {wanted}, as "
                f"those of the model. Received: {found}; train the teacher for the same task"
            )
        return found


def _logits(outputs: Any, head: str) -> Any:
    from converters.keras2 import tf

    if head == "softmax":
        return tf.math.log(tf.maximum(outputs, _FLOOR))
    if head == "sigmoid":
        safe = tf.clip_by_value(outputs, 1e-7, 1 - 1e-7)
        return tf.math.log(safe) - tf.math.log1p(-safe)
    return outputs


def objective(model: Any, training: Training) -> Objective:
    """Return what to minimise for a float ``model``: its compiled loss, else the task's.

    Raises:
        TaskNeeded: neither a compiled loss nor a task.
        ModelRefused: several losses, or an output no loss of the task fits.
    """
    from converters.keras2 import keras

    head, shape = _head(model), tuple(int(size) for size in model.output_shape[1:])
    compiled = getattr(training.whole(model), "loss", None)
    if not compiled and training.task is None:
        raise TaskNeeded(
            "the model carries no compiled loss: wanted a task to choose one, one of "
            f"{', '.join(TASKS)} (--task). Received: none"
        )
    if not compiled:
        return _of_task(str(training.task), head, shape)
    hard = _single(compiled)
    name = getattr(hard, "name", None) or getattr(hard, "__name__", str(hard))
    entropy = "crossentropy" in str(name) or str(name).lower() == "bce"
    sparse = "sparse" in str(name)
    if entropy and head == "linear":
        head = "binary logits" if shape[-1] == 1 or _binary(str(name)) else "logits"
    # Divergence and categorical hinge want one-hot rows as well.
    classes = entropy or training.task == "classification"
    onehot = classes and not sparse and shape[-1] > 1
    reconstructs = training.task == "reconstruction"
    hard = keras.losses.get(hard)
    return Objective(hard, head, onehot, sparse, entropy, shape, reconstructs)


def _binary(name: str) -> bool:
    return "binary" in name or name.lower() == "bce"


def _of_task(task: str, head: str, shape: tuple[int, ...]) -> Objective:
    from converters.keras2 import keras

    if task in ("regression", "reconstruction"):
        hard = keras.losses.mean_squared_error
        return Objective(hard, "linear", False, False, False, shape, task == "reconstruction")
    if task == "multilabel" and head == "softmax":
        raise ModelRefused(
            "task multilabel: wanted outputs that are each a probability (sigmoid) or a logit."
            " Received: softmax, of which one is chosen: --task classification"
        )
    if task not in ("classification", "multilabel"):
        raise TaskNeeded(f"task: wanted one of {', '.join(TASKS)}. Received: {task!r}")
    raw, units = head == "linear", shape[-1]
    if units == 1 or head == "sigmoid" or task == "multilabel":
        hard = keras.losses.BinaryCrossentropy(from_logits=raw)
        kind = "binary logits" if raw else "sigmoid"
        return Objective(hard, kind, units > 1, False, True, shape)
    hard = keras.losses.SparseCategoricalCrossentropy(from_logits=raw)
    return Objective(hard, "logits" if raw else "softmax", False, True, True, shape)


def _single(compiled: Any) -> Any:
    """Return the only loss of a model that may have been compiled with a collection."""
    if isinstance(compiled, dict):
        compiled = list(compiled.values())
    if isinstance(compiled, list | tuple):
        if len(compiled) != 1:
            raise ModelRefused(
                f"the model is compiled with {len(compiled)} losses: wanted one, because one "
                "output is judged. Recompile it, or save it without its optimizer"
            )
        return compiled[0]
    return compiled


def _head(model: Any) -> str:
    """Return what the outputs are, from the last layer that computes.

    Raises:
        ModelRefused: several outputs.
    """
    activation = output_activation(model)
    return activation if activation in ("softmax", "sigmoid") else "linear"
