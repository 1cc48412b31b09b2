"""Structured channel pruning: a smaller dense model that every runtime runs faster.

Channels go where the loss changes least for each multiply-accumulate saved, over all layers
at once; then the statistics are taken anew and the rest is fine-tuned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from converters.draft import Draft, Samples, Training, Trait, calibration_rows
from converters.errors import ModelRefused
from converters.structure.channels_scores import Criterion

Setting = tuple[Draft, Samples, Training]


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Cut whole channels until the model costs a share of its multiply-accumulates.

    The `.tflite`, its activations and its latency shrink on every target; no sparse
    kernel is needed. Layers that are not understood stay whole and are named.

    Attributes:
        macs: share of the cost kept, in (0, 1): of multiply-accumulates, and of what
            ``per_output`` adds.
        per_output: what every number a kernel writes costs besides, in
            multiply-accumulates. 0 counts those alone; 50 fits the instructions of int8
            kernels on arm64 (docs/structured.md), where wide early layers then go first.
        criterion: ``taylor``, ``l1``, ``l2`` or ``bn``, see ``channels_scores``.
        multiple: channels kept in a group that is cut are a multiple of this; set it to
            the vector width of the target's kernels.
        minimum: at least so many channels stay in every group.
        steps: cuts on the way, with ``step_epochs`` of fine-tuning between two.
        step_epochs: passes over the training part after each cut but the last.
        epochs: passes over the training part after the last cut.
        learning_rate: of Adam at the first step of each fine-tune.
        distillation: share of the loss that matches the uncompressed model, in [0, 1].
        rows: training rows from which ``taylor`` is averaged.
    """

    macs: float = 0.5
    per_output: float = 0.0
    criterion: Criterion = "taylor"
    multiple: int = 8
    minimum: int = 8
    steps: int = 1
    step_epochs: int = 1
    epochs: int = 8
    learning_rate: float = 1e-3
    distillation: float = 0.7
    rows: int = 512

    def __post_init__(self) -> None:
        """Refuse settings that no cut can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        if not 0 < self.macs < 1:
            raise ValueError(f"macs: wanted a share in (0, 1). Received: {self.macs}")
        if not 0 <= self.distillation <= 1:
            raise ValueError(
                f"distillation: wanted a share in [0, 1]. Received: {self.distillation}"
            )
        if self.per_output < 0:
            raise ValueError(f"per_output: wanted 0 or more. Received: {self.per_output}")
        for name in ("multiple", "minimum", "steps", "step_epochs", "epochs", "rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: wanted 1 or more. Received: {getattr(self, name)}")

    def __call__(self, draft: Draft, samples: Samples, training: Training) -> Draft:
        """Return the draft with fewer channels, fine-tuned.

        Raises:
            ModelRefused: the budget cannot be met, or the draft is quantized, sparse or
                clustered already: those are counted in kernels that this would slice.
        """
        from converters.graph import canonical
        from converters.graph.network import model_macs, parameters
        from converters.learning import objective

        refuse_compressed(draft, "channels")
        whole = canonical.simplify(draft.model)
        goal = objective.objective(draft.model, training)
        full, model, kept = model_macs(whole), whole, ""
        share = self.macs ** (1 / self.steps)
        for step in range(1, self.steps + 1):
            model, kept = self.shrunk(model, share, goal, (samples, training))
            epochs = self.epochs if step == self.steps else self.step_epochs
            self.tune(model, goal, epochs, (draft, samples, training))
        note = (
            f"channels: {model_macs(model):,} of {full:,} multiply-accumulates (planned) and "
            f"{parameters(model):,} of {parameters(whole):,} weights left"
        )
        told = (note, f"channels kept whole by {kept}") if kept else (note,)
        return replace(draft, model=model, notes=draft.notes + told)

    def shrunk(
        self, model: Any, share: float, goal: Any, data: tuple[Samples, Training]
    ) -> tuple[Any, str]:
        """Return the recalibrated model at that share of its cost, and what stayed whole."""
        from converters.graph.network import read
        from converters.learning.recalibrate import recalibrate
        from converters.structure import channels_scores as scores
        from converters.structure.channels_choice import choose
        from converters.structure.channels_cut import cut
        from converters.structure.channels_graph import graph

        found = read(model)
        channels = graph(found[0])
        if self.criterion == "taylor":
            rows = scoring_rows(goal, *data, self.rows)
            importance = scores.taylor(model, found, channels, goal, rows)
        else:
            importance = scores.by_weights(model, found[0], channels, self.criterion)
        kept = choose(
            channels,
            importance,
            share,
            multiple=self.multiple,
            minimum=self.minimum,
            per_output=self.per_output,
        )
        smaller = cut(model, found[0], channels, kept)
        recalibrate(smaller, *data)
        return smaller, ", ".join(channels.frozen)

    def tune(self, model: Any, goal: Any, epochs: int, setting: Setting) -> None:
        """Train ``model`` in place, towards the uncompressed one."""
        from converters.learning import finetune

        draft, samples, training = setting
        finetune.fine_tune(
            model,
            goal,
            samples,
            training,
            finetune.Plan(
                stage="channels",
                epochs=epochs,
                learning_rate=self.learning_rate,
                distillation=self.distillation,
            ),
            teacher=training.teacher if training.teacher is not None else draft.model,
        )


def scoring_rows(
    goal: Any, samples: Samples, training: Training, wanted: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return inputs and targets of ``wanted`` training rows, drawn from the seed."""
    chosen = calibration_rows(len(samples.x_train), wanted, training.seed)
    x = samples.x_train[chosen]
    return x, goal.targets(x, samples.y_train[chosen])


def refuse_compressed(draft: Draft, stage: str) -> None:
    """Return if ``draft`` promises nothing yet.

    Raises:
        ModelRefused: it is quantized, sparse or clustered.
    """
    from converters.weights import wrapping

    wrapping.refuse_quantized(draft.model, stage)
    if draft.traits is not Trait.NONE:
        raise ModelRefused(
            f"{stage}: wanted a draft that promises nothing yet. Received: "
            f"{draft.traits.name}; put this stage before prune and cluster"
        )
