"""Shared fixtures, which warnings third parties may raise, and when TensorFlow may be there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

# Before numpy is imported. The matrices here are small: OpenBLAS's threads wait for each other
# longer than they compute, beside another busy process thirty times as long, and the number of
# them changes the last bits of a sum.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

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


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse a run whose collection alone imports TensorFlow: seconds, whatever is run."""
    if "tensorflow" in sys.modules:
        raise pytest.UsageError(
            "collecting the tests imported TensorFlow; import what needs it inside the test, "
            "the fixture or the stage (python -X importtime -m pytest --collect-only)"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """Stop where a test without the mark ``train`` is the first to import TensorFlow."""
    before = "tensorflow" in sys.modules
    done = yield
    if "tensorflow" in sys.modules and not before and not item.get_closest_marker("train"):
        item.session.shouldfail = f"{item.nodeid} imports TensorFlow and is not marked train"
    return done
