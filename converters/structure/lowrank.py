"""Low rank: large kernels become products of thin ones, then the model is fine-tuned.

Keeps more accuracy before fine-tuning than cutting channels, and gains less speed; it pays
for k x k kernels of 128 channels and more, and for large dense layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from converters import settings
from converters.draft import Draft, Samples, Training
from converters.errors import ModelRefused
from converters.graph.walk import Site, walk
from converters.learning.finetune import FineTuneStage
from converters.structure.cutting import refuse_compressed
from converters.structure.lowrank_math import Split, factors


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank(FineTuneStage):
    """Replace kernels by thin ones until the model costs a share of what it did.

    Dense and 1x1 kernels by SVD, k x k ones by a k x 1 and a 1 x k or by Tucker-2,
    whichever loses less for the cost saved; only where that lowers the cost. The notes
    tell each layer's ranks and the share of its energy lost.

    Attributes:
        macs: share of the cost kept, in (0, 1), as in ``Channels``.
        energy: where above 0, ranks keep this share of each kernel's energy, and ``macs``
            is not looked at.
        per_output: what every number a kernel writes costs, in multiply-accumulates.
        multiple: ranks are multiples of this.
    """

    macs: float = 0.6
    energy: float = 0.0
    per_output: float = 0.0
    multiple: int = 8

    def __post_init__(self) -> None:
        """Refuse settings that no split can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        FineTuneStage.__post_init__(self)
        settings.open_share(self, "macs")
        settings.half_open_share(self, "energy")
        settings.between(0, settings.MOST_PER_OUTPUT, self, "per_output")
        settings.between(1, 65_536, self, "multiple")

    def __call__(self, draft: Draft, samples: Samples, training: Training) -> Draft:
        """Return the draft with thin kernels, fine-tuned.

        Raises:
            ModelRefused: the budget cannot be met, no kernel gains, or the draft is
                quantized, sparse or clustered already.
        """
        from converters.graph import canonical
        from converters.graph.network import model_macs
        from converters.learning.recalibrate import recalibration

        refuse_compressed(draft, "lowrank")
        whole = canonical.simplify(draft.model)
        chosen = self._chosen(whole)
        model = with_splits(whole, chosen)
        setting = (draft, samples, training)
        hooks = recalibration(model, samples, training, self.distillation)
        self.tune("lowrank", model, setting, hooks=hooks)
        notes = (
            f"lowrank: {model_macs(model):,} of {model_macs(whole):,} multiply-accumulates "
            "(planned)",
            *(split_note(split) for split in chosen.values()),
        )
        return replace(draft, model=model, notes=draft.notes + notes)

    def _chosen(self, model: Any) -> dict[str, Any]:
        """Return the split of each layer that is to have one."""
        from converters.graph.network import read
        from converters.structure import lowrank_math
        from converters.structure.channels_graph import channel_graph

        net, _ = read(model)
        options = lowrank_math.splits(
            net,
            lowrank_math.weights_of(model, net),
            multiple=self.multiple,
            per_output=self.per_output,
        )
        if self.energy:
            chosen = lowrank_math.by_energy(options, self.energy)
            if not chosen:
                raise ModelRefused(
                    f"lowrank: wanted a kernel that gets cheaper at {self.energy:.0%} of its "
                    "energy. Received: none; lower energy, or leave the stage out"
                )
            return chosen
        channels = channel_graph(net)
        full = channels.macs(channels.sizes, self.per_output)
        saving = (1 - self.macs) * full
        chosen, saved = lowrank_math.within(
            options, lowrank_math.costs(net, self.per_output), saving
        )
        if saved < saving:
            raise ModelRefused(
                f"lowrank: wanted {self.macs:.0%} of the cost kept. Received: "
                f"{1 - saved / full:.0%} with the lowest ranks; raise macs, or lower "
                f"multiple ({self.multiple})"
            )
        return chosen


def split_note(split: Any) -> str:
    """Return the note on one split: its layer, method, ranks and loss."""
    ranks = " x ".join(str(rank) for rank in split.ranks)
    return f"lowrank: {split.layer} by {split.method}, rank {ranks}, {split.error:.1%} lost"


def with_splits(model: Any, chosen: Mapping[str, Split]) -> Any:
    """Return ``model`` with the chosen layers written as thin ones.

    The last of them keeps the layer's name, bias and activation; those before it are
    linear, without bias, and named ``<layer>_thin…``.
    """

    def dense(site: Site) -> Any:
        split = chosen.get(site.layer.name)
        if split is None:
            return None
        first, second, *bias = _parts(site, split)
        thin = site.make("Dense", "thin", [first], units=first.shape[-1], use_bias=False)
        last = site.make(
            "Dense", "", [second, *bias], units=second.shape[-1], **_ending(site.layer)
        )
        return last(thin(site.x))

    def conv(site: Site) -> Any:
        split = chosen.get(site.layer.name)
        if split is None:
            return None
        *parts, last = _places(site, split)
        x = site.x
        for number, (kernel, own) in enumerate(parts):
            suffix = f"thin{number}" if number else "thin"
            x = _conv(site, suffix, [kernel], use_bias=False, **own)(x)
        bias = site.layer.get_weights()[1:]
        kernel, own = last
        return _conv(site, "", [kernel, *bias], **own, **_ending(site.layer))(x)

    return walk(model, {"Dense": dense, "Conv2D": conv})


def _parts(site: Site, split: Split) -> list[Any]:
    kernel, *bias = site.layer.get_weights()
    return [*factors(kernel, split.method, split.ranks), *bias]


def _places(site: Site, split: Split) -> list[tuple[Any, dict[str, Any]]]:
    """Return each thin kernel with the strides and dilation that are its own."""
    layer = site.layer
    kernel = layer.get_weights()[0]
    parts = factors(kernel, split.method, split.ranks)
    (down, right), (tall, broad) = layer.strides, layer.dilation_rate
    whole = {"strides": layer.strides, "dilation_rate": layer.dilation_rate}
    if split.method == "svd":  # the first takes the places it skips out of the count
        return [(parts[0], {"strides": layer.strides}), (parts[1], {})]
    if split.method == "spatial":
        return [
            (parts[0], {"strides": (down, 1), "dilation_rate": (tall, 1)}),
            (parts[1], {"strides": (1, right), "dilation_rate": (1, broad)}),
        ]
    return [(parts[0], {}), (parts[1], whole), (parts[2], {})]


def _conv(site: Site, suffix: str, weights: list[Any], **settings: Any) -> Any:
    kernel = np.asarray(weights[0])
    return site.make(
        "Conv2D",
        suffix,
        weights,
        filters=kernel.shape[-1],
        kernel_size=kernel.shape[:2],
        padding=site.layer.padding,
        **settings,
    )


def _ending(layer: Any) -> dict[str, Any]:
    return {"use_bias": layer.use_bias, "activation": layer.get_config()["activation"]}
