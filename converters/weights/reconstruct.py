"""A model compressed kernel by kernel, each so that its layer still answers as before.

The layers are walked from the input on. What each is to do is a quadratic in its kernel over
rows of the data: it sees the inputs that the compressed model gives it, is fitted to the
outputs of the reference, and so makes up for the layers before it. No gradient, a few hundred
unlabelled rows. See ``least_squares`` for the method. Imports TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import keras2
from converters.draft import Samples, Training, calibration_rows
from converters.errors import TrainingFailed
from converters.weights import codebook, least_squares
from converters.weights.codebook import CHANNELS, LIMIT, Codebook

tf = keras2.tf

#: Most inputs of one output channel: its Hessian is inverted once a channel and round.
MOST_INPUTS = 1024
MOST_AT_ONCE = 4608  # where one inverse serves all channels of a layer: 3x3 of 512
_ROWS = 1024  # of the data
_POINTS = 64  # output points of one row, drawn
_MOST_BYTES = 2**26  # of one batch of patches

#: By the name of a kernel, where it may differ from zero; a kernel left out may anywhere.
Kept = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class CalibrationData:
    """Rows of the data that the layers are fitted on, and the seed of what is drawn."""

    rows: NDArray[Any]
    seed: int


def calibration_data(samples: Samples, training: Training) -> CalibrationData:
    """Return rows of the training part, drawn by the seed; labels are not looked at."""
    rows = calibration_rows(len(samples.x_train), _ROWS, training.seed)
    return CalibrationData(samples.x_train[rows], training.seed)


@dataclass(frozen=True, slots=True)
class LayerProblem:
    """What one layer is to do: its quadratic, and the shape of its kernel."""

    layer: Any
    quadratic: least_squares.Quadratic
    shape: tuple[int, ...]

    def write(self, matrix: NDArray[np.float64]) -> None:
        """Give the layer the kernel and the bias of ``(D, C)``."""
        values = [matrix[:-1].reshape(self.shape)]
        if self.layer.use_bias:
            values.append(matrix[-1])
        self.layer.set_weights([value.astype(np.float32) for value in values])

    def mask(self, kept: Kept) -> NDArray[np.bool_]:
        """Return what may differ from zero as ``(D, C)``, the bias too where there is one."""
        kernel = kept.get(kernel_name(self.layer), np.ones(self.shape, bool))
        flat = kernel.reshape(-1, self.shape[-1])
        bias = np.full((1, flat.shape[1]), self.layer.use_bias)
        return np.concatenate([flat, bias])


def is_solvable(layer: Any, most: int = MOST_INPUTS) -> bool:
    """Tell whether ``layer`` is one whose kernel is solved for: dense, or a convolution."""
    kind = type(layer).__name__
    if kind not in ("Conv2D", "Dense") or len(layer.inbound_nodes) != 1:
        return False
    if kind == "Conv2D" and (layer.groups != 1 or layer.data_format != "channels_last"):
        return False
    return int(math.prod(layer.kernel.shape[:-1])) <= most


def kernel_name(layer: Any) -> str:
    """Return the name of a layer's kernel, as ``keras2.kernels`` gives it."""
    return f"{layer.name}/kernel"


def layer_problems(
    model: Any,
    reference: Any,
    data: CalibrationData,
    is_wanted: Callable[[Any], bool],
    made: Mapping[str, NDArray[np.bool_]] = MappingProxyType({}),
) -> Iterator[LayerProblem]:
    """Yield what each layer is to do, in an order in which inputs are final when seen.

    ``made`` are the channels of the reference's layers that ``model`` still makes, where it
    does not make all.
    """
    for layer in _ordered(model):
        if not is_wanted(layer):
            continue
        partner = reference.get_layer(layer.name)
        views = (
            keras2.keras.Model(model.inputs, layer.input),
            keras2.keras.Model(reference.inputs, partner.input),
        )
        made_here = made.get(layer.name, np.ones(partner.kernel.shape[-1], bool))
        wanted = _matrix(partner)[:, made_here]
        second, cross = _moments(views, (layer, partner), wanted, data)
        start = wanted if wanted.shape == _matrix(layer).shape else _matrix(layer)
        gain = _gain(partner)[made_here]
        quadratic = least_squares.Quadratic(second, cross, start, gain**2)
        yield LayerProblem(layer, quadratic, tuple(layer.kernel.shape))


def _ordered(model: Any) -> list[Any]:
    depths = model._nodes_by_depth  # depth falls from the inputs to the outputs
    return [node.layer for depth in sorted(depths, reverse=True) for node in depths[depth]]


def _moments(
    views: tuple[Any, Any],
    layers: tuple[Any, Any],
    wanted: NDArray[np.float64],
    data: CalibrationData,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of ``x x'`` and of ``x y'`` over drawn output points of the rows.

    ``views`` give the inputs of the layer in the compressed model and in the reference,
    ``layers`` are it in both, and ``wanted`` is the reference's ``(D, C)`` that makes ``y``.

    Raises:
        TrainingFailed: values that are no numbers.
    """
    draw = np.random.default_rng(data.seed)
    size = len(_matrix(layers[0]))
    second, cross, count = np.zeros((size, size)), np.zeros((size, wanted.shape[1])), 0
    places = math.prod(length or 1 for length in layers[1].output_shape[1:-1])
    batch = int(np.clip(_MOST_BYTES / (4 * places * len(wanted)), 1, 128))
    for at in range(0, len(data.rows), batch):
        part = tf.constant(data.rows[at : at + batch], tf.float32)
        inputs, theirs = (
            _inputs(layer, view(part, training=False))
            for layer, view in zip(layers, views, strict=True)
        )
        most = _POINTS * len(part)
        if len(inputs) > most:
            some = np.sort(draw.choice(len(inputs), most, replace=False))
            inputs, theirs = inputs[some], theirs[some]
        second += inputs.T @ inputs
        cross += inputs.T @ (theirs @ wanted.astype(np.float32))
        count += len(inputs)
    if not (np.isfinite(second).all() and np.isfinite(cross).all()):
        raise TrainingFailed(
            f"{layers[0].name}: wanted finite inputs and outputs on the training rows. "
            "Received: NaN or infinity; look for them in the data and in the weights before "
            "this layer"
        )
    return second / count, cross / count


def _inputs(layer: Any, x: Any) -> NDArray[np.float32]:
    """Return ``(points, D)``: what each output point is linear in, with a 1 last."""
    if type(layer).__name__ == "Conv2D":
        x = tf.image.extract_patches(
            tf.reshape(x, (-1, *x.shape[-3:])),  # the images of all steps, if it has steps
            (1, *layer.kernel_size, 1),
            (1, *layer.strides, 1),
            (1, *layer.dilation_rate, 1),
            layer.padding.upper(),
        )
    flat = np.asarray(x, np.float32).reshape(-1, x.shape[-1])
    return np.concatenate([flat, np.ones((len(flat), 1), np.float32)], axis=1)


def _matrix(layer: Any) -> NDArray[np.float64]:
    """Return kernel and bias as ``(D, C)``; a bias of zeros where there is none."""
    kernel = layer.kernel.numpy().astype(np.float64)
    flat = kernel.reshape(-1, kernel.shape[-1])
    bias = layer.bias.numpy() if layer.use_bias else np.zeros(flat.shape[1])
    return np.concatenate([flat, bias[np.newaxis]])


def _gain(layer: Any) -> NDArray[np.float64]:
    """Return what a BatchNormalization right after ``layer`` multiplies each channel by."""
    readers = [node.outbound_layer for node in layer.outbound_nodes]
    if len(readers) != 1 or "BatchNormalization" not in type(readers[0]).__name__:
        return np.ones(layer.kernel.shape[-1])
    norm = readers[0]
    gamma = norm.gamma.numpy() if norm.scale else 1.0
    gain = gamma / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    return np.asarray(gain, np.float64)


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
