"""Quantization-aware training that keeps zeros and clusters, by a scheme of our own.

TFMOT's preserving scheme loses both (ADR 0002). Here every kernel is trained as what the
device will hold: zeros masked, the rest on a codebook of int8 codes per tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from converters import codebook, invariants
from converters.draft import Draft, Samples, Trait, Training
from converters.errors import ModelRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Qat:
    """Train with the rounding of the int8 device, keeping the draft's zeros and clusters.

    BatchNormalization is folded first, because the folded kernel is the one deployed.
    Layers that TFMOT cannot train this way stay float here and are quantized at
    conversion; the notes name them.

    Attributes:
        epochs: passes over the training part.
        learning_rate: of Adam at the first step.
        distillation: share of the loss that matches the uncompressed model, in [0, 1].
        rate: price of a bit of the codes' entropy; see ``codebook.fit``.
    """

    epochs: int = 4
    learning_rate: float = 1e-4
    distillation: float = 0.7
    rate: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings that no training can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        if self.epochs < 1:
            raise ValueError(f"epochs: wanted 1 or more. Received: {self.epochs}")

    def __call__(self, draft: Draft, samples: Samples, training: Training) -> Draft:
        """Return the draft with its kernels on int8 codes and its ranges learned.

        Raises:
            ModelRefused: no layer that can be trained so, or a model already quantized.
            InvariantBroken: zeros or clusters lost, or a layer that died.
        """
        from converters import canonical, finetune, keras2, objective, scheme, wrapping

        wrapping.refuse_quantized(draft.model, "qat")
        keras2.seed(training.seed)
        folded = canonical.fold_batchnorm(canonical.split_separable(draft.model))
        names, left = _sort(folded)
        if not names:
            raise ModelRefused(
                f"qat: {draft.model.name} has no layer that can be trained quantized; use "
                "recipe int8, which quantizes after training"
            )
        clusters = {name: int(k) for name, k in draft.promises.get("CLUSTERED", {}).items()}
        model = scheme.apply(folded, names, clusters)
        _hold_still(model, left, draft)
        _mask(model, draft)
        finetune.fine_tune(
            model,
            objective.objective(draft.model, training),
            samples,
            training,
            finetune.Plan(
                stage="qat",
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                distillation=self.distillation,
            ),
            teacher=training.teacher if training.teacher is not None else draft.model,
            hooks=finetune.Hooks(
                before_epoch=lambda epoch: self._refit(model, epoch),
            ),
        )
        codes = {
            f"{name}": float(k)
            for name, _, q, _ in scheme.code_kernels(model)
            for k in [q.clusters]
        }
        deployed = _deploy(model, scheme.apply(folded, names, None))
        done = replace(
            draft,
            model=keras2.compile_like(deployed, draft.model),
            traits=draft.traits | Trait.QUANTIZED,
            promises={**draft.promises, "QUANTIZED": codes},
            notes=draft.notes + _notes(left),
        )
        invariants.assert_model(done)
        return done

    def _refit(self, model: Any, epoch: int) -> None:
        """Fit every codebook anew; the last epoch trains on one that stays."""
        from converters import scheme

        if epoch and epoch == self.epochs - 1:
            return
        for _, kernel, quantizer, variables in scheme.code_kernels(model):
            if quantizer.clusters > 2 * codebook.LIMIT:
                continue
            latent = (kernel * variables["mask"]).numpy()
            book = codebook.fit(latent, quantizer.channels, quantizer.clusters, self.rate)
            spare = quantizer.clusters - len(book.codes)
            variables["codes"].assign(np.pad(book.codes.astype(np.float32), (0, spare)))
            variables["edges"].assign(np.pad(book.edges, (0, spare), constant_values=np.inf))


def _sort(model: Any) -> tuple[set[str], list[str]]:
    """Return the layers trained quantized, and the others that compute."""
    from converters import scheme

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


def _hold_still(model: Any, left: list[str], draft: Draft) -> None:
    """Freeze layers without fake quantization whose zeros or clusters are promised."""
    promised = {name.split("/")[0] for trait in draft.promises.values() for name in trait}
    for layer in model.layers:
        if any(entry.split(" ")[0] == layer.name for entry in left):
            layer.trainable = layer.name not in promised


def _mask(model: Any, draft: Draft) -> None:
    from converters import scheme

    sparse = draft.promises.get("SPARSE", {})
    for name, kernel, _, variables in scheme.code_kernels(model):
        if name in sparse:
            variables["mask"].assign(np.asarray(kernel.numpy() != 0, np.float32))


def _deploy(trained: Any, deployed: Any) -> Any:
    """Return ``deployed`` with everything ``trained`` learned, kernels on their codes.

    Both were built alike, so layers pair by position and variables by the last part of
    their names; what only training needs (masks, codebooks, counts) has no partner.
    """
    from converters import scheme

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
