"""Channels and ranks chosen together, layer by layer, under one budget.

The idea of Collaborative Compression (Li et al. 2021, CVPR, "Towards Compact CNNs via
Collaborative Compression"), by means at hand: a kernel that was split has its rank as the
channels between its two halves, so one choice over all groups weighs a rank of this layer
against a channel of that one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from converters import settings
from converters.draft import Draft, Samples, Training
from converters.structure.cutting import Cut, planned_cost, refuse_compressed


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborate(Cut):
    """Split kernels where that saves, then cut channels and ranks by one measure.

    Attributes:
        energy: share of a kernel's energy that its split keeps; a kernel whose split at
            this energy costs as much stays whole. The cut then lowers ranks further.
    """

    energy: float = 0.9

    def __post_init__(self) -> None:
        """Refuse settings that no cut can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        Cut.__post_init__(self)
        settings.open_share(self, "energy")

    def __call__(self, draft: Draft, samples: Samples, training: Training) -> Draft:
        """Return the draft with thin kernels and fewer channels, fine-tuned.

        Raises:
            ModelRefused: the budget cannot be met, or the draft is quantized, sparse or
                clustered already.
        """
        from converters.graph import canonical
        from converters.graph.network import model_macs
        from converters.learning.recalibrate import recalibration
        from converters.structure.lowrank import split_note, with_splits

        refuse_compressed(draft, "collaborate")
        whole = canonical.simplify(draft.model)
        setting = (draft, samples, training)
        chosen, full = self._splits(whole)
        model, kept = with_splits(whole, chosen), ""
        share = self.macs * full / planned_cost(model, self.per_output)
        if share < 1:  # the splits alone may have saved enough
            model, kept = self.shrunk(model, share, setting)
        hooks = recalibration(model, samples, training, self.distillation)
        self.tune("collaborate", model, setting, hooks=hooks)
        notes = [
            f"collaborate: {model_macs(model):,} of {model_macs(whole):,} multiply-accumulates "
            "(planned)",
            *(split_note(split) + " before the cut" for split in chosen.values()),
        ]
        if kept:
            notes.append(f"channels kept whole by {kept}")
        return replace(draft, model=model, notes=(*draft.notes, *notes))

    def _splits(self, model: Any) -> tuple[dict[str, Any], float]:
        """Return the splits that keep the energy and save, and what the model costs now."""
        from converters.graph.network import read
        from converters.structure import lowrank_math

        net, _ = read(model)
        kernels = lowrank_math.weights_of(model, net)
        options = lowrank_math.splits(
            net, kernels, multiple=self.multiple, per_output=self.per_output
        )
        return lowrank_math.by_energy(options, self.energy), planned_cost(
            model, self.per_output
        )
