"""What a model is for, as far as its compiled loss says."""

from __future__ import annotations

from typing import Any

_CLASSES = ("crossentropy", "hinge", "poisson", "kl_divergence", "kld")
_VALUES = ("squared", "absolute", "mse", "mae", "mape", "msle", "huber", "log_cosh", "logcosh")


def task_of(model: Any) -> str | None:
    """Return ``classification``, ``regression`` or ``reconstruction``; None where unsaid.

    A model that is trained on values and gives back the shape it takes is read as one that
    reconstructs its input; a task given by the user goes before this.
    """
    loss = getattr(model, "loss", None)
    if isinstance(loss, dict):
        loss = list(loss.values())
    if isinstance(loss, list | tuple):
        loss = loss[0] if len(loss) == 1 else None
    if not loss:
        return None
    names = (
        loss,
        getattr(loss, "name", ""),
        getattr(loss, "__name__", ""),
        type(loss).__name__,
    )
    said = " ".join(str(name) for name in names if isinstance(name, str)).lower()
    if any(word in said for word in _CLASSES):
        return "classification"
    if any(word in said for word in _VALUES):
        same = tuple(model.input_shape[1:]) == tuple(model.output_shape[1:])
        return "reconstruction" if same else "regression"
    return None
