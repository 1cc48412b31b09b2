"""The converter writes what the device's runtime computes rightly, and nothing else."""

from __future__ import annotations

import pytest

from edgepack.pipeline.compress import ConversionOptions
from edgepack.profiles.profile import CarriedRuntime


@pytest.mark.parametrize(
    ("name", "version", "per_channel"),
    [
        ("tflite", "2.9.1", False),  # runs it, silently wrong
        ("tflite", "2.14.0", True),
        ("litert", "1.4.0", True),
        ("tflm", "0.dev20261023182759", True),
        ("tflm", "0.dev20231010131554", False),
    ],
)
def test_old_runtimes_get_per_tensor_dense_weights(
    name: str, version: str, per_channel: bool
) -> None:
    runtime = CarriedRuntime.model_validate(
        {"name": name, "version": version, "source": "a test"}
    )
    assert ConversionOptions.of(runtime) == ConversionOptions(per_channel_dense=per_channel)
