"""Quantization-aware training that keeps zeros and clusters, by a scheme of our own.

TFMOT's preserving scheme loses both (ADR 0002). Here every kernel is trained as what the
device will hold: zeros masked, the rest on a codebook of int8 codes per tensor.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import settings
from converters.draft import Draft, Samples, Training, Trait, calibration_rows
from converters.errors import ModelRefused
from converters.learning.finetune import FineTuneStage
from converters.weights import codebook, invariants
from converters.weights.codebook import CHANNELS, Codebook

_ROWS_FOR_MEANS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Qat(FineTuneStage):
    """Train with the rounding of the int8 device, keeping the draft's zeros and clusters.

    BatchNormalization is folded first, because the folded kernel is the one deployed.
    Layers that cannot be trained this way stay float here and are quantized at
    conversion; the notes name them.

    Attributes:
        epochs: passes over the training part; in the last third the codes stay and only
            scales and biases learn.
        learning_rate: of Adam at the first step, on kernels over their scales.
        bit_price: what a bit of the codes' entropy costs a clustered kernel, in squared
            codes a weight (see ``codebook.fit``): 0 keeps most accuracy, more downloads
            smaller.
        reconstruct: before training, put clustered kernels onto their codes by what a
            layer's outputs lose; False rounds each weight to the nearest.
    """

    epochs: int = 6
    bit_price: float = 40.0
    reconstruct: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that no training can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        FineTuneStage.__post_init__(self)
        settings.between(0, 1_000_000, self, "bit_price")

    def __call__(self, draft: Draft, samples: Samples, training: Training) -> Draft:
        """Return the draft with its kernels on int8 codes and its ranges learned.

        Raises:
            ModelRefused: no layer that can be trained so, or a model already quantized.
            InvariantBroken: zeros or clusters lost, or a layer that died.
        """
        from converters import keras2
        from converters.graph import canonical
        from converters.quantized import scheme
        from converters.weights import wrapping

        wrapping.refuse_quantized(draft.model, "qat")
        keras2.seed(training.seed)
        folded = canonical.deployable(draft.model)
        names, left = _sort(folded)
        if not names:
            raise ModelRefused(
                f"qat: {draft.model.name} has no layer that can be trained quantized; use "
                "recipe int8, which quantizes after training"
            )
        zero_before = invariants.zero_kernels(folded)
        clusters = {name: int(k) for name, k in draft.promises.get("CLUSTERED", {}).items()}
        sparse = set(draft.promises.get("SPARSE", {}))
        kept = {n: v.numpy() != 0 for n, v in keras2.kernels(folded).items() if n in sparse}
        coded = code_limits(clusters, names)
        books = self._codebooks(folded, coded, kept, samples, training)
        model = scheme.apply(folded, names, clusters)
        for name, _, _, variables in scheme.code_kernels(model):
            if name in kept:
                variables["mask"].assign(np.asarray(kept[name], np.float32))
            if name in books:
                write_codebook(books[name], variables, coded[name])
        scheme.normalise(model)
        scheme.set_taps(model, folded, samples.x_train[_rows(samples, training)])
        self._train(model, draft, samples, training)

        codes = {name: q.clusters for name, _, q, _ in scheme.code_kernels(model)}
        done = replace(
            draft,
            model=keras2.compile_like(
                _deploy(model, scheme.apply(folded, names, None)), draft.model
            ),
            traits=draft.traits | Trait.QUANTIZED,
            promises={**draft.promises, "QUANTIZED": codes},
            notes=draft.notes + _notes(left),
        )
        invariants.assert_model(done, zero_before)
        return replace(done, notes=done.notes + invariants.zero_note(done, zero_before))

    def _codebooks(
        self,
        folded: Any,
        coded: dict[str, int],
        kept: dict[str, Any],
        samples: Samples,
        training: Training,
    ) -> dict[str, codebook.Codebook]:
        """Return the codebooks; with ``reconstruct`` also put the kernels onto them."""
        from converters.graph import canonical
        from converters.learning import finetune
        from converters.weights import reconstruct

        if not coded or not self.reconstruct:
            return fit_codebooks(folded, coded, self.bit_price)
        finetune.check_rows(folded, samples)
        whole = training.original
        return assign_codes(
            folded,
            folded if whole is None else canonical.deployable(whole),
            reconstruct.calibration_data(samples, training),
            coded,
            kept,
            bit_price=self.bit_price,
        )

    def _train(self, model: Any, draft: Draft, samples: Samples, training: Training) -> None:
        """Train kernels, scales and biases, then scales and biases on codes that stay."""
        from converters import keras2
        from converters.quantized import scheme
        from converters.weights import wrapping

        coded = {name for name, *_ in scheme.code_kernels(model)}
        others = keras2.kernels(model).keys() - coded
        still = _clustered(model, draft, others)
        settling = self.epochs // 3
        phases = (
            ("qat", self.epochs - settling, model.trainable_variables),
            ("qat, codes fixed", settling, scheme.beside_kernels(model)),
        )
        for stage, epochs, variables in phases:
            if not epochs:
                continue
            self.tune(
                stage,
                model,
                (draft, samples, training),
                epochs=epochs,
                steady=self.distillation == 1,
                only=[variable for variable in variables if id(variable) not in still],
                masks=wrapping.zero_masks(model, others, draft.promises.get("SPARSE", {})),
            )


def _clustered(model: Any, draft: Draft, names: Collection[str]) -> set[int]:
    """Return the ``id`` of each kernel among ``names`` whose clusters are promised.

    Those layers have no codebook, so their clusters can only be kept by not training them.
    """
    from converters import keras2

    promised = draft.promises.get("CLUSTERED", {})
    held = keras2.kernels(model)
    return {id(held[name]) for name in names if name in promised}


def _rows(samples: Samples, training: Training) -> Any:
    """Return rows enough for the mean input of each weight."""
    return calibration_rows(len(samples.x_train), _ROWS_FOR_MEANS, training.seed)


def _sort(model: Any) -> tuple[set[str], list[str]]:
    """Return the layers trained quantized, and the others that compute."""
    from converters.quantized import scheme

    names, left = set(), []
    for layer in model.layers:
        if type(layer).__name__ == "InputLayer":
            continue
        if scheme.supports(layer):
            names.add(layer.name)
        else:
            left.append(f"{layer.name} ({type(layer).__name__})")
    return names, left


def _notes(left: list[str]) -> tuple[str, ...]:
    if not left:
        return ()
    return (f"not trained quantized, quantized at conversion: {', '.join(left)}",)


def _deploy(trained: Any, deployed: Any) -> Any:
    """Return ``deployed`` with everything ``trained`` learned, kernels on their codes.

    Both were built alike, so layers pair by position and variables by the last part of
    their names; what only training needs (masks, codebooks, counts) has no partner.
    """
    from converters.quantized import scheme

    on_device = scheme.device_values(trained)
    for source, target in zip(trained.layers, deployed.layers, strict=True):
        if not hasattr(source, "quantize_config"):  # the input's range, layers left float
            target.set_weights(source.get_weights())
            continue
        learned = {_kind(variable): variable for variable in source.variables}
        for variable in target.variables:
            partner = learned.get(_kind(variable))
            if partner is not None:  # else kernel_min and kernel_max, set below
                variable.assign(on_device.get(id(partner), partner))
        held = {_kind(variable): variable for variable in target.variables}
        if "kernel_min" in held:
            largest = np.abs(held["kernel"].numpy()).max()
            held["kernel_min"].assign(-largest)
            held["kernel_max"].assign(largest)
    return deployed


def _kind(variable: Any) -> str:
    """Return the last part of a variable's name, without the layer that owns it."""
    return str(variable.name).split(":")[0].split("/")[-1]


def code_limits(clusters: Mapping[str, int], layers: Collection[str]) -> dict[str, int]:
    """Return the kernels of ``layers`` with fewer codes promised than int8 has."""
    return {
        name: most
        for name, most in clusters.items()
        if name.rpartition("/")[0] in layers and most <= 2 * codebook.LIMIT
    }


def fit_codebooks(
    model: Any, clusters: Mapping[str, int], bit_price: float
) -> dict[str, Codebook]:
    """Return every clustered kernel's codebook: one for all kernels of as many codes.

    One codebook compresses better than one a kernel, because a compressor learns it once;
    kernels over their scales are alike enough to share it.
    """
    from converters import keras2

    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    held = {name: kernel.numpy() for name, kernel in keras2.kernels(model).items()}
    found: dict[str, Codebook] = {}
    for most in sorted(set(clusters.values())):
        members = [name for name in clusters if clusters[name] == most]
        flat = [
            (held[n] / codebook.scales(held[n], CHANNELS[kinds[n.rpartition("/")[0]]])).ravel()
            for n in members
        ]
        book = codebook.fit(np.concatenate(flat), (), most, bit_price)
        found |= dict.fromkeys(members, book)
    return found


def assign_codes(
    model: Any,
    teacher: Any,
    calibration_data: Any,
    clusters: Mapping[str, int],
    kept: Mapping[str, NDArray[np.bool_]],
    *,
    bit_price: float,
) -> dict[str, Codebook]:
    """Put the kernels ``clusters`` of ``model`` onto codes, in place; return their books.

    ``kept`` tells where kernels may differ from zero. A kernel that ``reconstruct`` does not
    take keeps its values here.
    """
    from converters.weights import reconstruct

    reference = reconstruct.reference_of(model, teacher)
    reconstruct.refit(model, reference, calibration_data, clusters, kept)
    found = fit_codebooks(model, clusters, bit_price)
    reconstruct.round_to_codes(model, reference, calibration_data, found, kept)
    return found


def write_codebook(book: Codebook, variables: Mapping[str, Any], clusters: int) -> None:
    """Write ``book`` into the variables of a kernel's quantizer, with room for ``clusters``."""
    spare = clusters - len(book.codes)
    variables["codes"].assign(np.pad(book.codes.astype(np.float32), (0, spare)))
    variables["edges"].assign(np.pad(book.edges, (0, spare), constant_values=np.inf))
