"""The loss, metrics and optimizer a model was compiled with, read as names and numbers.

Keras would build whatever object the file names; here only tf_keras' own losses, metrics
and optimizers are built, from plain settings. What is not known is left out and noted.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from converters.errors import quote

# Keras 3 names that tf_keras spells otherwise; without sample weights
# the arithmetic is the same.
_REDUCTIONS = {"mean": "sum_over_batch_size", "mean_with_sample_weight": "sum_over_batch_size"}
_WRAPPERS = frozenset({"MeanMetricWrapper", "LossFunctionWrapper"})
_OPTIMIZERS = (
    *("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax"),
    *("Ftrl", "Lion", "Nadam", "RMSprop", "SGD"),
)
_CHOSEN_BY_KERAS = ("accuracy", "acc", "crossentropy", "ce")


@dataclass(frozen=True, slots=True)
class Compiled:
    """Compile settings as the file names them.

    Attributes:
        loss: a name or ``{"class_name", "config"}``; None where the file has none.
        metrics: each the same, flattened over outputs.
        optimizer: ``(class name, learning rate)``; None where unknown.
    """

    loss: Any = None
    metrics: tuple[Any, ...] = ()
    optimizer: tuple[str, float | None] | None = None


def read(settings: object) -> Compiled:
    """Return what ``compile_config`` (.keras) or ``training_config`` (.h5) says."""
    if not isinstance(settings, dict):
        return Compiled()
    optimizer = settings.get("optimizer_config") or settings.get("optimizer")
    return Compiled(
        loss=_single(settings.get("loss")),
        metrics=tuple(_flat(settings.get("metrics"))),
        optimizer=_optimizer(optimizer),
    )


def apply(compiled: Compiled, model: Any) -> tuple[str, ...]:
    """Compile ``model`` in place where its loss is tf_keras' own; return notes on the rest."""
    from converters.keras2 import keras

    if compiled.loss is None:
        return ()
    loss = _build(compiled.loss, keras.losses)
    if loss is None:
        named = quote(_name(compiled.loss))
        return (f"compiled loss {named} is not Keras' own: left out, a task must name one",)
    notes, metrics = [], []
    for entry in compiled.metrics:
        metric = _build(entry, keras.metrics)
        if metric is None:
            notes.append(f"compiled metric {quote(_name(entry))} is not Keras' own: left out")
        else:
            metrics.append(metric)
    name, rate = compiled.optimizer or ("Adam", None)
    optimizer = getattr(keras.optimizers, name)(
        **({} if rate is None else {"learning_rate": rate})
    )
    model.compile(optimizer=optimizer, loss=loss, metrics=metrics)
    return tuple(notes)


def _single(loss: Any) -> Any:
    """Return the one loss of a model with one output, however it was grouped."""
    while True:
        if isinstance(loss, dict) and "class_name" not in loss and len(loss) == 1:
            loss = next(iter(loss.values()))
        elif isinstance(loss, list) and len(loss) == 1:
            loss = loss[0]
        else:
            return loss


def _flat(metrics: Any) -> list[Any]:
    if isinstance(metrics, dict) and "class_name" not in metrics:
        metrics = list(metrics.values())
    if isinstance(metrics, list):
        return [one for entry in metrics for one in _flat(entry)]
    return [] if metrics is None else [metrics]


def _name(entry: Any) -> Any:
    """Return the public name of a loss or metric in any of the forms Keras writes."""
    if not isinstance(entry, dict):
        return entry
    kind, inner = entry.get("class_name"), entry.get("config")
    if kind == "function":
        return inner
    if kind in _WRAPPERS and isinstance(inner, dict):
        return _name(inner.get("fn"))
    return kind


def _build(entry: Any, module: Any) -> Any:
    """Return the object ``entry`` names in ``module`` (losses or metrics), or None."""
    name = _name(entry)
    if not isinstance(name, str) or name.startswith("_"):
        return None
    if module.__name__.endswith("metrics") and name in _CHOSEN_BY_KERAS:
        return name  # Keras chooses the kind from the loss and the shapes
    thing = getattr(module, name, None)
    if inspect.isfunction(thing) and name not in ("get", "serialize", "deserialize"):
        return name
    if not inspect.isclass(thing) or not isinstance(entry, dict):
        return None
    inner = entry.get("config")
    known = inspect.signature(thing).parameters
    settings = {
        key: _REDUCTIONS.get(value, value) if key == "reduction" else value
        for key, value in (inner.items() if isinstance(inner, dict) else ())
        if key in known and key != "fn" and _is_plain(value)
    }
    try:
        return thing(**settings)
    except (TypeError, ValueError, AttributeError):
        return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _optimizer(entry: Any) -> tuple[str, float | None] | None:
    if isinstance(entry, str):
        entry = {"class_name": entry, "config": {}}
    if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
        return None
    asked = entry["class_name"].rpartition(">")[2].lower()
    name = next((known for known in _OPTIMIZERS if known.lower() == asked), None)
    if name is None:
        return None
    inner = entry.get("config")
    rate = inner.get("learning_rate", inner.get("lr")) if isinstance(inner, dict) else None
    usable = isinstance(rate, (int, float)) and not isinstance(rate, bool) and 0 < rate < 1e3
    return name, float(rate) if usable and isinstance(rate, (int, float)) else None
