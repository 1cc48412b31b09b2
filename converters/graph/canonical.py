"""The same function in the layers that every stage knows: exact rewrites of the graph.

Each takes a tf_keras model and returns a new one with the same outputs up to float
rounding, sharing nothing with the first; a model with nothing to rewrite comes back as a
plain copy. What is not rewritten stays as it was and is named by the stages.
"""

from __future__ import annotations

from typing import Any

from converters.graph import (
    activations,
    attention,
    distributed,
    fold,
    layers,
    operators,
    recurrent,
    volumes,
)
from converters.graph.activations import FUSED
from converters.graph.walk import walk

__all__ = ["FUSED", "deployable", "fold_batchnorm", "for_converter", "inline", "simplify"]

#: First: what becomes layers that have rules themselves.
_OPENED = {**layers.UNWRAPPING, **recurrent.CELLS, **distributed.RULES, **volumes.RULES}
_RULES = {
    **activations.RULES,
    **layers.RULES,
    **operators.RULES,
    **attention.RULES,
    **recurrent.WRITTEN,
}


def simplify(model: Any) -> Any:
    """Return ``model`` without nested models, operators, augmentation and rare layers.

    TFMOT refuses nested models and operators, splits separable layers where their weights'
    names are lost, and refuses a whole layer for an activation that it does not know. What
    only changes training data or noise is left out; Dropout stays, it trains.
    """
    kinds = {type(layer).__name__ for layer in model._flatten_layers()}  # of nested ones too
    return walk(walk(model, _OPENED) if kinds & _OPENED.keys() else model, _RULES)


def inline(model: Any) -> Any:
    """Return ``model`` with the layers of nested models in their place.

    A layer whose name is taken gets its model's name in front.
    """
    return walk(model, {})


def fold_batchnorm(model: Any) -> Any:
    """Return ``model`` with normalization and input scaling folded (``fold``)."""
    return fold.fold(model)


def deployable(model: Any) -> Any:
    """Return ``model`` simplified, folded and written out: the kernels of the device."""
    return for_converter(fold_batchnorm(simplify(model)))


def for_converter(model: Any) -> Any:
    """Return ``model`` with the loops and activations written out that int8 has not."""
    return walk(model, {**recurrent.RULES, **activations.LAST_RULES})
