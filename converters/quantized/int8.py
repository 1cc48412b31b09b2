"""Full-int8 .tflite bytes from a draft: int8 in, int8 out, no float operator left."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.draft import Draft, Samples, Training, Trait, calibration_rows
from converters.errors import DataRefused, FloatIsland, ModelRefused
from converters.inspection import TfliteInspector
from converters.weights import invariants


@dataclass(frozen=True, slots=True)
class ConvertedModel:
    """A .tflite and what its making has to say."""

    tflite: bytes
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8:
    """Quantize everything to int8 and convert; ranges come from calibration rows.

    A draft that was trained quantized keeps the ranges it learned; the rows then serve the
    layers that were not. The same draft, rows and seed give the same bytes.

    Attributes:
        calibration_samples: rows drawn from the training part.
        per_channel_dense: False where the runtime would compute per-channel
            fully-connected weights wrongly. A draft trained quantized never has them.
    """

    calibration_samples: int = 256
    per_channel_dense: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that no conversion can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        if self.calibration_samples < 2:
            raise ValueError(
                f"calibration_samples: wanted 2 or more. Received: {self.calibration_samples}"
            )

    def __call__(self, draft: Draft, samples: Samples, training: Training) -> ConvertedModel:
        """Return the converted draft, its promises counted again in the bytes.

        Raises:
            ConverterCrashed: the converter died, ran out of time, or refused the graph.
            FloatIsland: an operator still computes in float.
            InvariantBroken: zeros or clusters lost in conversion.
            ModelRefused: NaN weights, several inputs, or an input of unknown size.
            DataRefused: fewer than two rows to calibrate with, or of another shape.
        """
        rows = self.rows(samples, training)
        (tflite,), notes = self._converted(draft, [samples.x_train[rows]], training)
        return ConvertedModel(tflite, notes)

    def halves(self, draft: Draft, samples: Samples, training: Training) -> tuple[bytes, bytes]:
        """Return two conversions, each calibrated on one half of the rows alone.

        Raises:
            As a plain call.
        """
        rows = self.rows(samples, training)
        parts = [samples.x_train[rows[start::2]] for start in (0, 1)]
        (first, second), _ = self._converted(draft, parts, training)
        return first, second

    def with_halves(
        self, draft: Draft, samples: Samples, training: Training
    ) -> tuple[ConvertedModel, tuple[bytes, bytes]]:
        """Return a plain call's file and ``halves``, for one export of the graph.

        Raises:
            As a plain call.
        """
        rows = self.rows(samples, training)
        parts = [samples.x_train[part] for part in (rows, rows[::2], rows[1::2])]
        (whole, first, second), notes = self._converted(draft, parts, training)
        return ConvertedModel(whole, notes), (first, second)

    def rows(self, samples: Samples, training: Training) -> NDArray[np.int64]:
        """Return the numbers of the calibration rows in the training part."""
        return calibration_rows(len(samples.x_train), self.calibration_samples, training.seed)

    def _converted(
        self, draft: Draft, parts: list[NDArray[Any]], training: Training
    ) -> tuple[list[bytes], tuple[str, ...]]:
        """Return a file for each part of the rows, and what there is to say of them all."""
        from converters import keras2
        from converters.graph import canonical
        from converters.tflite import conversion
        from converters.tflite.activations import with_elu

        inspector = training.inspects()
        _check(draft.model, parts)
        model = draft.model
        if not keras2.is_quantized(model):
            model = canonical.for_converter(canonical.simplify(model))
        # Codes trained for one scale a tensor must be converted with one.
        per_channel = self.per_channel_dense and Trait.QUANTIZED not in draft.traits
        made = [
            with_elu(tflite)
            for tflite in conversion.convert(model, parts, per_channel_dense=per_channel)
        ]
        silent: frozenset[str] = frozenset()
        kernels = [kernel for tflite in made for kernel in inspector.int8_kernels(tflite)]
        if any(not kernel.codes.any() for kernel in kernels):
            silent = invariants.silent_layers(draft.model, np.concatenate(parts))
        for tflite in made:
            refuse_float(tflite, model, inspector)
            invariants.assert_tflite(tflite, draft, inspector, silent)
        return made, _silent_note(silent)


def float_tflite(model: Any) -> bytes:
    """Return ``model`` as a float .tflite: the size that others are compared with.

    Raises:
        ConverterCrashed, ModelRefused: as ``Int8``.
    """
    from converters.tflite import conversion

    return conversion.convert(model, [None])[0]


def refuse_float(tflite: bytes, model: Any, inspector: TfliteInspector) -> None:
    """Check that every operator of ``tflite``, made of ``model``, computes in integers.

    Raises:
        FloatIsland: naming operators that do not, their tensors, and the layer.
    """
    from converters.tflite import layer_names

    islands = list(inspector.float_accesses(tflite))
    if islands:
        raise FloatIsland(
            f"{model.name}: wanted integer operators only. Received: "
            f"{layer_names.describe_float(islands, model)}; replace that layer, the converter "
            "has no int8 form of it"
        )


def _silent_note(layers: Collection[str]) -> tuple[str, ...]:
    if not layers:
        return ()
    names = ", ".join(sorted(layers))
    return (f"layers that answer every calibration row alike, before int8 as after: {names}",)


def _check(model: Any, parts: list[NDArray[Any]]) -> None:
    for variable in model.variables:
        values = np.asarray(variable)
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            bad = int(np.sum(~np.isfinite(values)))
            raise ModelRefused(
                f"{model.name}: {variable.name}: {bad} of {values.size} weights are NaN or "
                "infinite: wanted numbers; train it again"
            )
    shape = tuple(model.input_shape[1:])
    for part in parts:
        if len(part) == 0 or part.shape[1:] != shape:
            raise DataRefused(
                f"x_train: wanted calibration rows of shape {shape}. Received: {len(part)} of "
                f"{part.shape[1:]}"
            )
        if not np.isfinite(np.asarray(part, np.float32)).all():
            raise DataRefused("x_train: calibration rows hold NaN or infinite values")
