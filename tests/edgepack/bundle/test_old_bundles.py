"""Bundles of the first release still read, keep their very bytes, and are judged again.

The manifest below is written out as that release wrote it: no field that came later, every
number of a finding a float, and no gate that came later.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest

from edgepack.bundle import archive, validation
from edgepack.errors import InputError
from edgepack.firmware.bench import bench_firmware
from edgepack.gates.expected import BUNDLE, expected_gates
from edgepack.gates.finding import Outcome
from edgepack.inference.protocol import ExitStatus, Job, Trace
from edgepack.profiles import catalogue
from tests.edgepack.commands import tiny_tflite

FINDINGS = [
    ("storage", "pass", 34120.0, 1572864.0, "B", "planned", "flatbuffer 34,120 B of …"),
    ("operators", "pass", None, None, "", None, "all 6 operators have kernels in …"),
    ("accuracy_drop", "pass", 0.0, 0.02, "share", "emulated", "accuracy 0.9940 float, …"),
    ("calibration", "pass", 256.0, 100.0, "rows", "emulated", "256 rows, none of them tested"),
    ("latency", "pass", 26.827, 1000.0, "ms", "estimated", "23.3 to 26.8 ms, of 1000 ms"),
]
KEYS = ("gate", "verdict", "value", "limit", "unit", "how", "says")
FIDELITY = {
    "score": "accuracy", "samples": 4, "float_score": 1.0, "float_interval": [0.5, 1.0],
    "score_now": 1.0, "score_interval": [0.5, 1.0], "drop": 0.0, "drop_interval": [-0.1, 0.1],
    "p_value": 1.0, "agreement": 1.0, "recalls": [[2, 2], [2, 2]],
}  # fmt: skip


def old_bundle(device: str) -> tuple[bytes, bytes]:
    """Return a bundle as edgepack.bundle/1 was first written, and its manifest's text."""
    profile = catalogue.load(device)
    files = {
        "model.tflite": tiny_tflite(),
        "profile.json": profile.model_dump_json(by_alias=True, indent=1).encode(),
        "golden/inputs.npy": archive.npy(np.zeros((2, 8), np.int8)),
        "golden/outputs.npy": archive.npy(np.zeros((2, 2), np.int8)),
    }
    ends = {"dtype": "int8", "scale": 0.5, "zero_point": 0}
    manifest: dict[str, Any] = {
        "schema": "edgepack.bundle/1", "name": "digits", "profile": device,
        "task": "classification", "verdict": "pass", "proven": True,
        "input": {"shape": [8], **ends}, "output": {"shape": [2], **ends},
        "labels": ["0", "1"], "preprocessing": "as in the data file",
        "golden_rows": 2, "evidence_rows": 0, "test_rows": 4,
        "findings": [dict(zip(KEYS, row, strict=True)) for row in FINDINGS],
        "fidelity": FIDELITY, "notes": ["depthwise kernels not pruned"],
        "steps": [
            {
                "stage": "float", "score_name": "accuracy", "score": 0.994,
                "flatbuffer_bytes": 102092, "download_bytes": 92774, "zeros_share": 0.0,
                "codes": 18430,
            }
        ],
        "provenance": {"edgepack": "0.1.0", "seed": 0, "recipe": "prune"},
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
    }  # fmt: skip
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        for name, data in {"manifest.json": text.encode(), **files}.items():
            zipped.writestr(name, data)
    return out.getvalue(), text.encode()


class Still:
    """A runtime that answers zero to everything, as the goldens want it."""

    name = "still"

    def run(self, job: Job) -> Trace:
        zeros = np.zeros((len(job.inputs), 2), np.int8)
        return Trace(status=ExitStatus.OK, says="", outputs=zeros)


@pytest.mark.parametrize("device", ["clinic-tablet-1gb-armv7", "nucleo-l4r5zi", "corstone-300"])
def test_an_old_bundle_keeps_the_bytes_that_were_signed(device: str) -> None:
    data, text = old_bundle(device)
    whole = archive.unpack(data, "old")
    assert archive.manifest_bytes(whole.manifest) == text
    assert [finding.gate for finding in whole.manifest.findings] == [row[0] for row in FINDINGS]


@pytest.mark.parametrize("device", ["clinic-tablet-1gb-armv7", "nucleo-l4r5zi", "corstone-300"])
def test_an_old_bundle_is_asked_everything_that_is_asked_now(device: str) -> None:
    whole = archive.unpack(old_bundle(device)[0], "old")
    profile = catalogue.load(device)

    def run_gates(bundle: archive.Bundle, profile: Any) -> tuple[Any, ...]:
        return bench_firmware(bundle.model, {}, profile) if profile.kind != "tablet" else ()

    _, verdict = validation.validate(whole, profile, Still(), run_gates)
    found = {finding.gate: finding.verdict for finding in verdict.findings}
    assert set(found) >= {*expected_gates(profile), *BUNDLE}
    assert found["calibration"] is Outcome.PASS  # the build's own, for the same device
    assert found["goldens"] is Outcome.PASS
    assert verdict.outcome is not Outcome.PASS  # nothing was run, whatever the manifest says


def test_a_hostile_manifest_of_the_old_form_is_still_refused() -> None:
    data, text = old_bundle("nucleo-l4r5zi")
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.writestr("manifest2.json", text)
    with pytest.raises(InputError, match=r"manifest2\.json is not named"):
        archive.unpack(out.getvalue(), "old")
