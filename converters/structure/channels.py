"""Structured channel pruning: a smaller dense model that every runtime runs faster.

Channels go where the loss changes least for each multiply-accumulate saved, over all layers
at once; then the statistics are taken anew and the rest is fine-tuned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from converters import settings
from converters.draft import Draft, Samples, Training
from converters.learning.finetune import MOST_EPOCHS
from converters.structure.channels_graph import channel_graph
from converters.structure.cutting import Cut, planned_cost, refuse_compressed


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels(Cut):
    """Cut whole channels until the model costs a share of its multiply-accumulates.

    The `.tflite`, its activations and its latency shrink on every target; no sparse
    kernel is needed. Layers that are not understood stay whole and are named.

    Attributes:
        steps: cuts on the way, with ``step_epochs`` of fine-tuning between two.
        step_epochs: passes over the training part after each cut but the last.
    """

    steps: int = 1
    step_epochs: int = 1

    def __post_init__(self) -> None:
        """Refuse settings that no cut can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        Cut.__post_init__(self)
        settings.between(1, 1_000, self, "steps")
        settings.between(1, MOST_EPOCHS, self, "step_epochs")

    def __call__(self, draft: Draft, samples: Samples, training: Training) -> Draft:
        """Return the draft with fewer channels, fine-tuned.

        Raises:
            ModelRefused: the budget cannot be met, or the draft is quantized, sparse or
                clustered already: those are counted in kernels that this would slice.
        """
        from converters.graph import canonical
        from converters.graph.network import model_macs, parameters, read
        from converters.learning.recalibrate import recalibration

        refuse_compressed(draft, "channels")
        whole = canonical.simplify(draft.model)
        channels = channel_graph(read(whole)[0])
        self.refuse_unreachable(channels)
        setting = (draft, samples, training)
        full, model, kept = model_macs(whole), whole, ""
        cost = now = channels.macs(channels.sizes, self.per_output)
        for step in range(1, self.steps + 1):
            # Of the whole model, not of the last step's: a step may cut more than it must.
            share = self.macs ** (step / self.steps) / (now / cost)
            if share < 1:
                model, kept = self.shrunk(model, share, setting, channels.widths)
                now = planned_cost(model, self.per_output)
            epochs = self.epochs if step == self.steps else self.step_epochs
            hooks = recalibration(model, samples, training, self.distillation)
            self.tune("channels", model, setting, epochs=epochs, hooks=hooks)
        note = (
            f"channels: {model_macs(model):,} of {full:,} multiply-accumulates (planned) and "
            f"{parameters(model):,} of {parameters(whole):,} weights left"
        )
        notes = (note, f"channels kept whole by {kept}") if kept else (note,)
        return replace(draft, model=model, notes=draft.notes + notes)
