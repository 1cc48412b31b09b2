"""What a depthwise kernel promised, it keeps through training quantized into the file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from converters.draft import Draft, Samples, Training, Trait
from converters.errors import InvariantBroken
from converters.inspection import distinct_codes
from converters.quantized.int8 import Int8
from converters.quantized.qat import Qat
from converters.weights import invariants
from converters.weights.codebook import to_codes
from edgepack.tflite.inspection import FactsInspector
from tests.converters import coverage
from tests.converters.zoo import IMAGE, after_conv, chain, layer

pytestmark = pytest.mark.train
TRAINING = Training(task="classification", seed=1, batch_size=8, inspector=FactsInspector())
NAME, CLUSTERS, SPARSITY = "depth/depthwise_kernel", 5, 0.5


@pytest.fixture(scope="module")
def samples() -> Samples:
    return coverage.samples(IMAGE)


@pytest.fixture(scope="module", params=[1, 2])
def promised(request: Any) -> Draft:
    """Return a net whose depthwise kernel has half zeros and few values, and says so."""
    depth = layer("DepthwiseConv2D", 3, depth_multiplier=request.param, name="depth")
    block = after_conv(chain(depth, layer("BatchNormalization"), layer("ReLU")))
    model = coverage.build(("", "depthwise", IMAGE, block))
    (kernel,) = (v for v in model.variables if "depthwise_kernel" in v.name)
    values = kernel.numpy()
    values[np.abs(values) < np.quantile(np.abs(values), SPARSITY)] = 0
    values = np.sign(values) * np.where(np.abs(values) > np.abs(values).max() / 2, 0.2, 0.1)
    kernel.assign(values)
    return Draft(
        model,
        Trait.SPARSE | Trait.CLUSTERED,
        {"SPARSE": {NAME: SPARSITY}, "CLUSTERED": {NAME: CLUSTERS}},
    )


@pytest.fixture(scope="module")
def trained(promised: Draft, samples: Samples) -> Draft:
    return Qat(epochs=3)(promised, samples, TRAINING)


def test_zeros_and_clusters_are_in_the_file(
    promised: Draft, trained: Draft, samples: Samples
) -> None:
    from converters import keras2

    made = Int8(calibration_samples=16)(trained, samples, TRAINING).tflite
    (kernel,) = (
        k for k in FactsInspector().int8_kernels(made) if k.operator == "DEPTHWISE_CONV_2D"
    )
    before = keras2.kernels(promised.model)[NAME].numpy().ravel()
    assert (kernel.codes.ravel()[before == 0] == 0).all()
    assert distinct_codes(kernel) <= CLUSTERS
    assert kernel.channel_axis == 3
    after = to_codes(keras2.kernels(trained.model)[NAME].numpy(), (2, 3))
    assert (kernel.codes.ravel() == after.ravel()).all()


def test_a_zero_that_came_back_is_seen_in_the_file(trained: Draft, samples: Samples) -> None:
    made = Int8(calibration_samples=16)(trained, samples, TRAINING).tflite
    more = replace(trained, promises={**trained.promises, "SPARSE": {NAME: 0.99}})
    with pytest.raises(InvariantBroken, match=NAME):
        invariants.assert_tflite(made, more, FactsInspector())
