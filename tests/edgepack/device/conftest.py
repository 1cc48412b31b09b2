"""A bundle, a profile and a report that agree, for tests that make one thing disagree."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from edgepack.bundle import archive
from edgepack.device.backends.backend import expected_of
from edgepack.gates.device import Expected
from edgepack.gates.expected import expected_gates
from edgepack.gates.finding import passed
from edgepack.measurements.device_report import Report
from edgepack.profiles import catalogue
from edgepack.profiles.profile import Profile
from tests.edgepack.manifests import manifest

MODEL = Path(__file__).parents[1] / "data/per_channel_dense.tflite"
GOLDEN = np.arange(-8, 8, dtype=np.int8).reshape(4, 4)


@dataclass(frozen=True)
class Agreed:
    """What a device is asked about, and the report that answers it truly."""

    profile: Profile
    data: bytes
    bundle: archive.Bundle
    plain: dict[str, Any]
    expected: Expected

    def report(self, **changes: Any) -> Report:
        """Return the report with keys of its parts changed: ``run__queries=3``."""
        return Report.model_validate_json(self.text(**changes))

    def text(self, **changes: Any) -> str:
        """Return its JSON; the identity is what an honest harness would give that run."""
        import copy
        import json

        plain = copy.deepcopy(self.plain)
        for path, value in changes.items():
            *parts, last = path.split("__")
            place = plain
            for part in parts:
                place = place[part]
            place[last] = value
        if "identity" not in changes:
            plain["identity"] = _honest(plain) or plain["identity"]
        return json.dumps(plain)


def _honest(plain: dict[str, Any]) -> str | None:
    try:
        return Report.model_validate(plain, strict=False).answered_identity
    except ValidationError:  # the change under test is one that no report may have
        return None


def hexed(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    raw = array.tobytes()
    return {
        "rows": len(array),
        "shape": list(array.shape[1:]),
        "dtype": str(array.dtype),
        "outputs_hex": raw.hex(),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }


@pytest.fixture(scope="session")
def hexed_goldens() -> Callable[[Any], dict[str, Any]]:
    return hexed


@pytest.fixture(scope="session")
def agreed() -> Agreed:
    profile = catalogue.load("clinic-tablet-1gb-armv7")
    files = {
        archive.MODEL: MODEL.read_bytes(),
        archive.PROFILE: profile.model_dump_json(by_alias=True).encode(),
        "golden/inputs.npy": archive.npy(np.zeros((4, 3), np.int8)),
        "golden/outputs.npy": archive.npy(GOLDEN),
    }
    older = {
        "gate": "latency",
        "verdict": "fail",
        "value": 99.0,
        "limit": 30.0,
        "unit": "ms",
        "how": "estimated",
        "says": "estimated",
    }
    made = manifest(
        files,
        profile=profile.name,
        verdict="fail",
        proven=False,
        output={"shape": [4], "dtype": "int8", "scale": 0.5, "zero_point": 1},
        golden_rows=4,
        findings=[
            older if gate == "latency" else passed(gate, "when it was built").as_json()
            for gate in expected_gates(profile)
        ],
    )
    data = archive.pack(made, files, None)
    digest = hashlib.sha256(data).hexdigest()
    times = [58.0 + (i % 10) * 2 / 10 for i in range(1024)]
    ordered = sorted(times)
    plain: dict[str, Any] = {
        "schema": "edgepack.device-report/1",
        "identity": "1" * 64,
        "started_at": "2026-11-22T12:00:00Z",
        "ending": "ok",
        "says": "ran",
        "backend": {"name": "app", "version": "1", "sha256": "2" * 64},
        "bundle": {
            "name": "m",
            "profile": profile.name,
            "sha256": digest,
            "model_sha256": hashlib.sha256(files[archive.MODEL]).hexdigest(),
        },
        "device": {
            "manufacturer": "samsung",
            "model": "SM-T285",
            "fingerprint": "samsung/gtexslte",
            "sdk": profile.system.api_level if profile.system else None,
            "release": "5.1",
            "abi": "armeabi-v7a",
            "cpus": 4,
            "ram_bytes": int((profile.ram.total.value if profile.ram.total else 2**30) * 0.9),
            "emulated": False,
        },
        "runtime": {"name": profile.runtime.name, "version": profile.runtime.version},
        "before": {"thermal_status": 0, "battery_percent": 80, "battery_c": 30.0},
        "after": {"thermal_status": 0, "battery_percent": 79, "battery_c": 32.0},
        "run": {
            "delegate": "cpu",
            "kernels": "default",
            "threads": 1,
            "mode": "full",
            "warmup": 16,
            "queries": 1024,
            "seconds": 61.0,
            "samples_ms": times,
            "summary": {
                "min_ms": ordered[0],
                "max_ms": ordered[-1],
                "mean_ms": sum(times) / 1024,
                "p50_ms": ordered[511],
                "p90_ms": ordered[921],
            },
        },
        "memory": {"kind": "pss", "baseline_bytes": 2**20, "peak_bytes": 2**20 + 2**21},
        "goldens": hexed(GOLDEN),
    }
    plain["identity"] = _honest(plain)
    bundle = archive.unpack(data, "test")
    expected = expected_of(bundle, digest, identity=plain["identity"], backend_sha256="2" * 64)
    return Agreed(profile, data, bundle, plain, expected)
