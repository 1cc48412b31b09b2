"""Shared fixtures: where real data lie, and which warnings third parties may raise."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Return a function from a relative name to its real file, or skip where it is absent."""
    root = Path(os.environ.get("EDGEPACK_DATA", _ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        path = root / name
        if not path.exists():
            pytest.skip(f"real data {name} is not on this machine (set EDGEPACK_DATA)")
        return path

    return find


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let TensorFlow and its friends warn in the tests that import them; ours still fail."""
    for item in items:
        if item.get_closest_marker("train"):
            for module in ("tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"):
                mark = pytest.mark.filterwarnings(f"ignore::Warning:{module}.*")
                item.add_marker(mark, append=False)
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::FutureWarning"))
