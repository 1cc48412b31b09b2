"""What the stages that cut channels share: one choice over all groups, then the cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import settings
from converters.draft import Draft, Samples, Training, Trait, calibration_rows
from converters.errors import ModelRefused
from converters.learning.taught import FineTuneStage, Setting
from converters.structure import channels_choice
from converters.structure.channels_graph import ChannelGraph, channel_graph
from converters.structure.channels_scores import Criterion


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(FineTuneStage):
    """How far channels are cut, and by what measure.

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
        floor: at least this share of every group stays, in [0, 1): what a deep cut by
            importance alone would leave of a few layers is too little to train.
        rows: training rows from which ``taylor`` is averaged.
        reconstruct: after the cut, give each kernel the values with which its layer still
            answers as before, solved layer by layer where that is possible.
    """

    macs: float = 0.5
    per_output: float = 0.0
    criterion: Criterion = "taylor"
    multiple: int = 8
    minimum: int = 8
    floor: float = 0.0
    rows: int = 512
    reconstruct: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that no cut can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        FineTuneStage.__post_init__(self)
        settings.open_share(self, "macs")
        settings.between(0, settings.MOST_PER_OUTPUT, self, "per_output")
        settings.between(1, 65_536, self, "multiple", "minimum")
        settings.between(1, 1_000_000, self, "rows")
        settings.half_open_share(self, "floor")

    def refuse_unreachable(self, channels: ChannelGraph) -> None:
        """Check that a model of these can be cut to ``macs``: before it is trained at all.

        Raises:
            ModelRefused: it cannot; the least that can be reached is told.
        """
        least = channels_choice.floors(channels, channels.widths, self.floor)
        channels_choice.refuse_unreachable(
            channels,
            self.macs,
            np.maximum(least, self.minimum),
            self.multiple,
            self.per_output,
        )

    def shrunk(
        self,
        model: Any,
        share: float,
        setting: Setting,
        before: Mapping[str, int] | None = None,
    ) -> tuple[Any, str]:
        """Return the recalibrated model at that share of its cost, and what stayed whole.

        ``before`` is how many channels each layer made before any cut; None where this is
        the first one.
        """
        from converters.graph.network import read
        from converters.learning import objective
        from converters.learning.recalibrate import recalibrate
        from converters.structure import channels_scores as scores
        from converters.structure.channels_cut import cut
        from converters.weights import layer_problems, reconstruct

        draft, samples, training = setting
        found = read(model)
        channels = channel_graph(found[0])
        if self.criterion == "taylor":
            goal = objective.objective(draft.model, training)
            rows = scoring_rows(goal, samples, training, self.rows)
            importance = scores.taylor(model, found, channels, goal, rows)
        else:
            importance = scores.by_weights(model, found[0], channels, self.criterion)
        kept = channels_choice.choose(
            channels,
            importance,
            share,
            multiple=self.multiple,
            minimum=self.minimum,
            floors=channels_choice.floors(channels, before or channels.widths, self.floor),
            per_output=self.per_output,
        )
        smaller = cut(model, found[0], channels, kept)
        if self.reconstruct:
            made = {layer: kept[ports.makes] for layer, ports in channels.ports.items()}
            reconstruct.refit_cut(
                smaller, model, layer_problems.calibration_data(samples, training), made
            )
        recalibrate(smaller, samples, training)
        return smaller, ", ".join(channels.frozen)


def planned_cost(model: Any, per_output: float) -> float:
    """Return the planned multiply-accumulates of ``model`` and what its outputs add."""
    from converters.graph.network import read

    channels = channel_graph(read(model)[0])
    return channels.macs(channels.sizes, per_output)


def scoring_rows(
    goal: Any, samples: Samples, training: Training, wanted: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return inputs and targets of ``wanted`` training rows, drawn from the seed."""
    chosen = calibration_rows(len(samples.x_train), wanted, training.seed)
    x = samples.x_train[chosen]
    return x, goal.targets(x, samples.y_train[chosen])


def refuse_compressed(draft: Draft, stage: str) -> None:
    """Check that ``draft`` promises nothing yet.

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
