"""The test side of ask_runtime.py: models in, answers out, or a skip where none can tell."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("ask_runtime.py")
PACKAGES = {"litert": "ai_edge_litert", "tflm": "tflite_micro"}

Question = tuple[str, bytes, Any]


def python_of(line: str) -> str:
    """Return the interpreter that has a runtime, or skip.

    tflite-runtime 2.14.0 needs numpy below 2, so it lives in an environment of its own,
    named by EDGEPACK_TFLITE_PYTHON.
    """
    if line == "tflite":
        named = os.environ.get("EDGEPACK_TFLITE_PYTHON")
        if not named:
            pytest.skip("no tflite-runtime 2.14.0 (set EDGEPACK_TFLITE_PYTHON to its python)")
        return named
    if importlib.util.find_spec(PACKAGES[line]) is None:
        pytest.skip(f"{PACKAGES[line]} is not installed")
    return sys.executable


def ask(mode: str, line: str, models: Iterable[Question], folder: Path) -> dict[str, Any]:
    """Return a runtime's answers by key."""
    path = folder / f"{mode}-{line}.pkl"
    path.write_bytes(pickle.dumps(list(models), 4))
    done = subprocess.run(
        [python_of(line), str(SCRIPT), mode, str(path), line],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers
