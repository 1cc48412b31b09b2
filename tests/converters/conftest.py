"""Both Keras in one process, and one model saved in each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.converters.saved_models import KINDS, save, small


@pytest.fixture(scope="session")
def k2() -> Any:
    from converters.keras2 import keras

    return keras


@pytest.fixture(scope="session")
def k3() -> Any:
    from converters.reading import keras3

    return keras3.import_keras3()


@pytest.fixture(scope="session", params=KINDS)
def saved(request: Any, k2: Any, k3: Any, tmp_path_factory: Any) -> tuple[str, Any, Path]:
    kind = request.param
    original = small(k3 if kind.startswith("keras-v3") else k2)
    return kind, original, save(original, kind, tmp_path_factory.mktemp("saved"))
