"""Weight clustering by TFMOT: few distinct values per kernel, zeros kept as one of them.

Han, Mao and Dally 2016 (arXiv:1510.00149): weights of one cluster share one value, which
is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from converters.draft import Draft, Samples, Training, Trait
from converters.errors import ModelRefused
from converters.learning.finetune import FineTuneStage
from converters.weights import codebook, invariants
from converters.weights.codebook import CHANNELS


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster(FineTuneStage):
    """Let each kernel keep a few distinct values, then fine-tune those.

    Zeros of a pruned draft stay, as one of the values. The .tflite does not shrink; its
    compressed form does.

    Attributes:
        clusters: distinct values left in each kernel, the zero among them; 3 or more.
        depthwise: cluster depthwise kernels too, as so many int8 codes of each channel's
            scale; False leaves them as they are, as TFMOT does.
    """

    clusters: int = 16
    depthwise: bool = False
    epochs: int = 3
    learning_rate: float = 3e-4

    def __post_init__(self) -> None:
        """Refuse settings that no training can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        if not 3 <= self.clusters <= 256:
            raise ValueError(f"clusters: wanted 3 to 256. Received: {self.clusters}")
        FineTuneStage.__post_init__(self)

    def __call__(self, draft: Draft, samples: Samples, training: Training) -> Draft:
        """Return the draft with few values per kernel, promised by name and counted.

        Raises:
            ModelRefused: no kernel to cluster, or a model already quantized.
            InvariantBroken: a kernel with too many values, or one that lost its zeros.
        """
        from converters import keras2
        from converters.graph import canonical
        from converters.weights import wrapping

        wrapping.refuse_quantized(draft.model, "cluster")
        keras2.seed(training.seed)  # the first centroids are drawn
        twin = canonical.simplify(draft.model)
        zero_before = invariants.zero_kernels(twin)
        found = wrapping.kernel_layers(twin)
        # Zeros share one value, so a kernel of few others keeps the promise as it is; TFMOT
        # fails on it, asking for more centroids than there are weights.
        sizes = {
            name: int(np.count_nonzero(variable)) + 1
            for name, variable in keras2.kernels(twin).items()
        }
        large = [name for name in found.able if sizes[f"{name}/kernel"] > self.clusters]
        deep = [f"{n}/depthwise_kernel" for n in found.depthwise] if self.depthwise else []
        if not large and not deep:
            raise ModelRefused(
                f"cluster: {draft.model.name} has no dense or convolution kernel of more than "
                f"{self.clusters - 1} weights that are not zero; leave the stage out, or "
                "let it take depthwise kernels with depthwise = true"
            )
        still = self._on_codes(twin, deep)
        small = {f"{name}/kernel" for name in found.able if name not in large}
        promised = draft.promises.get("SPARSE", {})
        sparse = Trait.SPARSE in draft.traits
        wrapped = wrapping.with_clustering(twin, large, self.clusters, sparse)
        self.tune(
            "cluster",
            wrapped,
            (draft, samples, training),
            steady=self.distillation == 1,
            only=[v for v in wrapped.trainable_variables if id(v) not in still],
            # Those of few weights that are not zero are trained without a codebook.
            masks=wrapping.zero_masks(
                twin, set(sizes) - {f"{name}/kernel" for name in large}, {*promised, *small}
            ),
        )
        model = keras2.compile_like(wrapping.without_clustering(wrapped), draft.model)
        names = [f"{name}/kernel" for name in found.able] + deep
        done = replace(
            draft,
            model=keras2.copy(model),
            traits=draft.traits | Trait.CLUSTERED,
            promises={**draft.promises, "CLUSTERED": dict.fromkeys(names, self.clusters)},
            notes=draft.notes + found.notes("clustered", depthwise=self.depthwise),
        )
        invariants.assert_model(done, zero_before)
        return replace(done, notes=done.notes + invariants.zero_note(done, zero_before))

    def _on_codes(self, model: Any, names: list[str]) -> set[int]:
        """Put depthwise kernels onto few codes, in place; return the ``id`` of each variable.

        A normalization behind it multiplies each channel by a factor of its own, so only
        codes of a channel's scale outlast its folding, values do not. They stay as they are
        while the rest trains around them; ``Qat`` trains them, as it does all codes.
        """
        from converters import keras2

        held, axes = keras2.kernels(model), CHANNELS["DepthwiseConv2D"]
        for name in names:
            kernel = held[name].numpy()
            book = codebook.fit(kernel, axes, self.clusters)
            held[name].assign(codebook.project(kernel, axes, book))
        return {id(held[name]) for name in names}
