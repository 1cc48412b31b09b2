"""A model compressed kernel by kernel, each so that its layer still answers as before.

The layers are walked from the input on. Each sees the inputs that the compressed model gives
it and is fitted to the outputs of the reference, so it also makes up for the layers before
it. No gradient, a few hundred unlabelled rows. See ``least_squares`` for the method.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import keras2
from converters.weights import codebook, least_squares
from converters.weights.codebook import CHANNELS, LIMIT, Codebook
from converters.weights.layer_problems import (
    MOST_AT_ONCE,
    CalibrationData,
    Kept,
    is_solvable,
    kernel_name,
    layer_problems,
)


def prune(
    model: Any,
    data: CalibrationData,
    share: float,
    blocks: Mapping[str, int] = MappingProxyType({}),
) -> list[str]:
    """Zero ``share`` of each kernel of ``model``, in place; return the layers that it took.

    ``model`` before the call is the reference. ``blocks`` names the kernels that lose whole
    blocks of so many inputs.
    """
    done = []
    for problem in layer_problems(model, keras2.copy(model), data, is_solvable):
        block = blocks.get(kernel_name(problem.layer), 1)
        matrix, _ = least_squares.prune(problem.quadratic, problem.mask({}), share, block)
        problem.write(matrix)
        done.append(problem.layer.name)
    return done


def refit(
    model: Any, reference: Any, data: CalibrationData, names: Collection[str], kept: Kept
) -> None:
    """Give the kernels ``names`` their best values, in place, zero outside of ``kept``."""
    for problem in layer_problems(model, reference, data, _among(names)):
        matrix, _ = least_squares.solve(problem.quadratic, problem.mask(kept))
        problem.write(matrix)


def refit_cut(
    model: Any, reference: Any, data: CalibrationData, made: Mapping[str, NDArray[np.bool_]]
) -> None:
    """Let each kernel of ``model`` make up for channels that it no longer has, in place.

    ``made`` tells which output channels of a layer of ``reference`` are left in ``model``;
    of a layer that is not named there all are. He, Zhang and Sun 2017 (arXiv:1707.06168),
    with every layer seeing what the ones before it now give.
    """

    def is_wanted(layer: Any) -> bool:
        return is_solvable(layer, MOST_AT_ONCE)

    for problem in layer_problems(model, reference, data, is_wanted, made):
        matrix, _ = least_squares.solve(problem.quadratic, problem.mask({}))
        problem.write(matrix)


def round_to_codes(
    model: Any, reference: Any, data: CalibrationData, books: Mapping[str, Codebook], kept: Kept
) -> None:
    """Put each kernel that has a book onto its codes, in place, one making up for another."""
    for problem in layer_problems(model, reference, data, _among(books)):
        mask = problem.mask(kept)
        exact, _ = least_squares.solve(problem.quadratic, mask)
        kernel = exact[:-1].reshape(problem.shape)
        each = codebook.scales(kernel, CHANNELS[type(problem.layer).__name__])
        sizes = np.broadcast_to(each, kernel.shape).reshape(-1, kernel.shape[-1])[0] / LIMIT
        code_of = books[kernel_name(problem.layer)].code_of
        problem.write(
            least_squares.round_to_codes(problem.quadratic, mask, sizes, code_of, LIMIT)
        )


def reference_of(model: Any, teacher: Any) -> Any:
    """Return ``teacher`` if its layers pair with those of ``model``, else a copy of that."""
    mine, theirs = (
        {name: kernel.shape for name, kernel in keras2.kernels(each).items()}
        for each in (model, teacher)
    )
    return teacher if mine == theirs else keras2.copy(model)


def _among(names: Collection[str]) -> Callable[[Any], bool]:
    return lambda layer: kernel_name(layer) in names and is_solvable(layer)
