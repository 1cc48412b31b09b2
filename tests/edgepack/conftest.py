"""An engine and images for the tests that need them, or a skip that says why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepack.errors import EnvironmentMissing
from edgepack.sandbox.container import ContainerRuntime
from edgepack.sandbox.engine import Engine, NoEngine, available
from edgepack.sandbox.images import ImageSpec, build

Standing = Callable[..., ContainerRuntime]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Yield the engine that answers, or skip with its reason."""
    found = available()
    if isinstance(found, NoEngine):
        pytest.skip(found.reason)
    yield found
    found.close()


@pytest.fixture(scope="session")
def stand_in(engine: Engine) -> Standing:
    """Return a function (package, version, arch, **limits) -> ContainerRuntime.

    An absent or stale image is made, which needs mmdebstrap and a Debian mirror.
    """
    ready: set[ImageSpec] = set()

    def make(package: str, version: str, arch: str, **limits: object) -> ContainerRuntime:
        spec = ImageSpec(package, version, arch)
        if spec not in ready:
            try:
                build([arch], package, version=version, engine=engine)
            except EnvironmentMissing as missing:
                pytest.skip(str(missing))
            ready.add(spec)
        return ContainerRuntime(engine=engine, spec=spec, **limits)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def dense() -> bytes:
    """Return a two-layer int8 model with per-channel weights, as TensorFlow 2.21 converts."""
    return (Path(__file__).parent / "data/per_channel_dense.tflite").read_bytes()


@pytest.fixture(scope="session")
def dense_rows() -> NDArray[np.int8]:
    """Return 16 int8 rows for ``dense``, spread as its calibration data were."""
    rows = np.random.default_rng(5).normal(0, 1, (16, 16)) / 0.028629176 - 4
    return np.clip(np.rint(rows), -128, 127).astype(np.int8)
