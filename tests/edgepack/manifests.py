"""A whole manifest for tests, so that only what a test is about stands in the test."""

from __future__ import annotations

from typing import Any

from edgepack.bundle import archive
from edgepack.gates.finding import Outcome

_COMPARISON = {
    "score": "accuracy",
    "samples": 2,
    "float_score": 1.0,
    "float_interval": [0.3, 1.0],
    "score_now": 1.0,
    "score_interval": [0.3, 1.0],
    "drop": 0.0,
    "drop_interval": [-0.6, 0.6],
    "p_value": 1.0,
    "agreement": 1.0,
    "recalls": [[1, 1], [1, 1]],
}


def manifest(files: dict[str, bytes], **changes: Any) -> archive.Manifest:
    """Return the manifest of ``files``, with ``changes`` in place of what it says."""
    made: dict[str, Any] = {
        "schema": "edgepack.bundle/1",
        "name": "m",
        "profile": "p",
        "task": "classification",
        "verdict": Outcome.PASS.value,
        "proven": True,
        "input": {"shape": [3], "dtype": "int8", "scale": 0.5, "zero_point": 1},
        "output": {"shape": [2], "dtype": "int8", "scale": 0.5, "zero_point": 1},
        "preprocessing": "raw",
        "golden_rows": 2,
        "evidence_rows": 0,
        "test_rows": 0,
        "findings": [],
        "fidelity": _COMPARISON,
        "steps": [],
        "notes": [],
        "provenance": {},
        "files": {name: member.model_dump() for name, member in archive.members(files).items()},
    }
    return archive.Manifest.model_validate_json(archive.json.dumps(made | changes))
