"""Weight clustering by TFMOT: few distinct values per kernel, zeros kept as one of them.

Han, Mao and Dally 2016 (arXiv:1510.00149): weights of one cluster share one value, which
is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from converters.draft import Draft, Samples, Training, Trait
from converters.errors import ModelRefused
from converters.learning.taught import Taught
from converters.weights import invariants


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster(Taught):
    """Let each kernel keep a few distinct values, then fine-tune those.

    Zeros of a pruned draft stay, as one of the values. Depthwise kernels stay as they are:
    TFMOT clusters none. The .tflite does not shrink; its compressed form does.

    Attributes:
        clusters: distinct values left in each kernel, the zero among them; 3 or more.
    """

    clusters: int = 16
    epochs: int = 3
    learning_rate: float = 3e-4

    def __post_init__(self) -> None:
        """Refuse settings that no training can meet.

        Raises:
            ValueError: a setting out of its range.
        """
        if not 3 <= self.clusters <= 256:
            raise ValueError(f"clusters: wanted 3 to 256. Received: {self.clusters}")
        Taught.__post_init__(self)

    def __call__(self, draft: Draft, samples: Samples, training: Training) -> Draft:
        """Return the draft with few values per kernel, promised by name and counted.

        Raises:
            ModelRefused: no layer that TFMOT clusters, or a model already quantized.
            InvariantBroken: a kernel with too many values, or one that lost its zeros.
        """
        from converters import keras2
        from converters.graph import canonical
        from converters.weights import wrapping

        wrapping.refuse_quantized(draft.model, "cluster")
        keras2.seed(training.seed)  # the first centroids are drawn
        twin = canonical.simplify(draft.model)
        able, skipped = wrapping.sort_layers(twin)
        # Zeros share one value, so a kernel of few others keeps the promise as it is; TFMOT
        # fails on it, asking for more centroids than there are weights.
        sizes = {
            name: int(np.count_nonzero(variable)) + 1
            for name, variable in keras2.kernels(twin).items()
        }
        large = [name for name in able if sizes[f"{name}/kernel"] > self.clusters]
        if not large:
            raise ModelRefused(
                f"cluster: {draft.model.name} has no dense or convolution kernel of more than "
                f"{self.clusters - 1} weights that are not zero; leave the stage out"
            )
        sparse = Trait.SPARSE in draft.traits
        wrapped = wrapping.with_clustering(twin, large, self.clusters, sparse)
        self.tune(
            "cluster",
            wrapped,
            (draft, samples, training),
            steady=self.distillation == 1,
            masks=wrapping.zero_masks(
                twin, set(sizes) - {f"{name}/kernel" for name in large}, draft
            ),
        )
        model = keras2.compile_like(wrapping.without_clustering(wrapped), draft.model)
        promised = {f"{name}/kernel": self.clusters for name in able}
        done = replace(
            draft,
            model=keras2.copy(model),
            traits=draft.traits | Trait.CLUSTERED,
            promises={**draft.promises, "CLUSTERED": promised},
            notes=draft.notes + wrapping.notes("clustered", skipped),
        )
        invariants.assert_model(done)
        return done
