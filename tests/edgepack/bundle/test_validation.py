"""What a bundle proves again by itself, and what only its build could know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepack.bundle import archive, validation
from edgepack.bundle.archive import Bundle
from edgepack.errors import InputError
from edgepack.firmware.bench import bench_firmware
from edgepack.gates.expected import BUNDLE, dynamic_gates, expected_gates
from edgepack.gates.finding import Finding, Outcome
from edgepack.inference.protocol import ExitStatus, Job, Trace
from edgepack.inference.scoring import dequantized
from edgepack.profiles import catalogue
from edgepack.tflite.flatbuffer import read
from tests.edgepack.commands import write_bundle

CALIBRATION = Finding(gate="calibration", verdict=Outcome.PASS, says="256 rows")


class Still:
    """A runtime that answers zero to everything, as the bundle's goldens want it."""

    name = "still"

    def run(self, job: Job) -> Trace:
        return Trace(
            status=ExitStatus.OK, says="", outputs=np.zeros((len(job.inputs), 2), np.int8)
        )


@pytest.fixture
def whole(tmp_path: Path) -> Bundle:
    path = write_bundle(tmp_path / "m.edgepack", findings=[CALIBRATION.as_json()])
    return archive.unpack(path.read_bytes(), "m.edgepack")


def gates_of(whole: Bundle, device: str, **more: bytes) -> dict[str, Finding]:
    _, verdict = validation.validate(
        whole, catalogue.load(device), Still(), lambda *_: (), **more
    )
    return {finding.gate: finding for finding in verdict.findings}


def test_the_builds_own_calibration_finding_holds_for_its_device(whole: Bundle) -> None:
    assert gates_of(whole, "pixel-3")["calibration"] == CALIBRATION


def test_for_another_device_the_calibration_is_open_and_says_why(whole: Bundle) -> None:
    found = gates_of(whole, "pixel-4")["calibration"]
    assert found.verdict is Outcome.INCONCLUSIVE
    assert "for pixel-3" in found.says
    assert "--profile pixel-4" in found.says


def test_a_file_that_is_no_key_is_no_verdict(whole: Bundle) -> None:
    with pytest.raises(InputError, match="Ed25519 public key"):
        gates_of(whole, "pixel-3", trusted_pem=b"no key")


def test_an_unsigned_bundle_fails_where_a_key_is_trusted(whole: Bundle) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = Ed25519PrivateKey.generate().public_key()
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    found = gates_of(whole, "pixel-3", trusted_pem=public.public_bytes(*form))
    assert found["signature_of_maker"].verdict is Outcome.FAIL
    assert "--sign-key" in found["signature_of_maker"].says


def test_goldens_that_differ_say_what_to_do(whole: Bundle) -> None:
    class Other(Still):
        def run(self, job: Job) -> Trace:
            ones = np.ones((len(job.inputs), 2), np.int8)
            return Trace(status=ExitStatus.OK, says="", outputs=ones)

    _, verdict = validation.validate(whole, catalogue.load("pixel-3"), Other(), lambda *_: ())
    (found,) = [finding for finding in verdict.findings if finding.gate == "goldens"]
    assert found.verdict is Outcome.FAIL
    assert "4 of 4 golden values differ" in found.says
    assert "build it again" in found.says


def test_a_finding_that_the_bundle_left_out_is_no_pass(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "m.edgepack")
    found = gates_of(archive.unpack(path.read_bytes(), "m.edgepack"), "pixel-3")
    assert found["calibration"].verdict is Outcome.INCONCLUSIVE
    assert "keeps no finding of it" in found["calibration"].says


def test_every_gate_of_a_device_is_answered_or_said_not_to_be(whole: Bundle) -> None:
    device = catalogue.load("pixel-3")
    found = gates_of(whole, "pixel-3")
    assert set(found) == {*expected_gates(device), *BUNDLE}
    for gate in dynamic_gates(device):  # the trial of this test answers nothing
        assert found[gate].verdict is Outcome.INCONCLUSIVE
        assert "edgepack validate BUNDLE" in found[gate].says


@pytest.mark.tools
def test_a_neural_unit_is_asked_for_goldens_and_nobody_can_run_the_compiled_model(
    tmp_path: Path,
) -> None:
    path = write_bundle(tmp_path / "m.edgepack", "corstone-300")
    whole = archive.unpack(path.read_bytes(), "m.edgepack")
    npu = catalogue.load("corstone-300")
    _, verdict = validation.validate(
        whole, npu, Still(), lambda b, p: bench_firmware(b.model, b.files, p), oracle=Still()
    )
    found = {finding.gate: finding for finding in verdict.findings}
    assert found["goldens"].verdict is Outcome.PASS
    assert "goldens_tflm" in found
    assert found["goldens_npu"].verdict is Outcome.INCONCLUSIVE
    assert "on the board" in found["goldens_npu"].says
    assert verdict.outcome is not Outcome.PASS


def multilabel(whole: Bundle, threshold: float, targets: np.ndarray) -> Bundle:
    """Return the bundle with 400 test rows whose float scores are -1 everywhere."""
    facts = read(whole.model)
    rows = len(targets)
    evidence = {
        "inputs": np.zeros((rows, *facts.inputs[0].shape[1:]), np.int8),
        "float_scores": np.full((rows, 2), -1, np.float32),
        "targets": targets.astype(np.float32),
    }
    files = {f"evidence/{name}.npy": archive.npy(array) for name, array in evidence.items()}
    changes = {"task": "multilabel", "evidence_rows": rows, "decision_threshold": threshold}
    return Bundle(whole.manifest.model_copy(update=changes), {**whole.files, **files})


def test_labels_are_cut_where_the_manifest_says(whole: Bundle) -> None:
    tensor = read(whole.model).outputs[0]
    said = float(dequantized(np.zeros(1, np.int8), tensor)[0])  # what Still means
    targets = np.zeros((400, 2))
    targets[0] = 1
    low = gates_of(multilabel(whole, said + 0.1, targets), "pixel-3")["accuracy_drop"]
    high = gates_of(multilabel(whole, said - 0.1, targets), "pixel-3")["accuracy_drop"]
    assert low.verdict is Outcome.PASS
    assert "exact_match 0.9975 float, 0.9975 int8" in low.says
    assert high.verdict is Outcome.FAIL
    assert "label 0" in high.says


def test_labels_that_are_no_marks_prove_nothing(whole: Bundle) -> None:
    targets = np.full((400, 2), 0.5)
    targets[0] = 1
    with pytest.raises(InputError, match="wanted labels of 0 and 1"):
        gates_of(multilabel(whole, 0.5, targets), "pixel-3")


def test_a_profile_of_another_device_than_the_manifest_names_is_refused(whole: Bundle) -> None:
    profile = catalogue.load("esp32").model_dump_json(by_alias=True).encode()
    swapped = Bundle(whole.manifest, {**whole.files, archive.PROFILE: profile})
    with pytest.raises(InputError, match=r"wanted the device pixel-3 .*Received: esp32"):
        validation.profile_of(swapped)
