"""A tool that is absent, hangs, crashes or refuses ends in findings, never in an exception."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgepack.bundle import archive
from edgepack.errors import EnvironmentMissing, InputError, RuntimeFailure, TimedOut
from edgepack.firmware import bench, goldens, tflm_arena, vela
from edgepack.firmware.compiler import c99
from edgepack.firmware.emulator import run
from edgepack.firmware.goldens import GoldenVectors
from edgepack.gates.expected import FIRMWARE
from edgepack.gates.finding import Finding, Outcome
from edgepack.profiles import catalogue
from tests.edgepack.commands import tiny_tflite

MODEL = tiny_tflite()
INPUTS, OUTPUTS = np.zeros((2, 8), np.int8), np.zeros((2, 2), np.int8)
FILES = {
    bench.GOLDEN_INPUTS: archive.npy(INPUTS),
    bench.GOLDEN_OUTPUTS: archive.npy(OUTPUTS),
    "firmware/tflm/model.cc": b"",
}
IN_C = {**FILES, "firmware/c/model.c": b""}
ENDINGS = [
    (EnvironmentMissing("tool not found"), Outcome.INCONCLUSIVE, "tool not found"),
    (TimedOut("still running"), Outcome.INCONCLUSIVE, "still running"),
    (OSError(28, "No space left on device"), Outcome.INCONCLUSIVE, "No space left"),
    (MemoryError(), Outcome.INCONCLUSIVE, "MemoryError"),
    (RuntimeFailure("it crashed"), Outcome.FAIL, "it crashed"),
    (InputError("it refused the model"), Outcome.FAIL, "it refused the model"),
]


def raising(error: Exception) -> Any:
    def raises(*_: object, **__: object) -> Any:
        raise error

    return raises


def by_gate(profile: str, files: dict[str, bytes]) -> dict[str, Finding]:
    found = bench.bench_firmware(MODEL, files, catalogue.load(profile))
    assert all("\n" not in finding.says for finding in found)
    return {finding.gate: finding for finding in found}


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """TFLM answers the goldens as the bundle has them."""
    monkeypatch.setattr(
        goldens, "golden_vectors", lambda *_: GoldenVectors((INPUTS,), (OUTPUTS,))
    )


@pytest.mark.parametrize(("error", "outcome", "says"), ENDINGS, ids=str)
@pytest.mark.parametrize("kind", ["c", "tflm", "npu"])
def test_without_tflms_answers_every_gate_still_has_a_finding(
    monkeypatch: pytest.MonkeyPatch, kind: str, error: Exception, outcome: Outcome, says: str
) -> None:
    monkeypatch.setattr(goldens, "golden_vectors", raising(error))
    profile = "corstone-300" if kind == "npu" else "nucleo-l4r5zi"
    oracle = "goldens_c" if kind == "c" else "goldens_tflm"
    found = by_gate(profile, IN_C if kind == "c" else FILES)
    assert set(found) == set(FIRMWARE[kind])
    assert found[oracle].verdict is outcome
    assert says in found[oracle].says
    rest = {finding.verdict for gate, finding in found.items() if gate != oracle}
    assert rest == {Outcome.INCONCLUSIVE}


@pytest.mark.parametrize(("error", "outcome", "says"), ENDINGS, ids=str)
def test_an_arena_that_is_not_found_costs_no_other_gate(
    monkeypatch: pytest.MonkeyPatch,
    answered: None,
    error: Exception,
    outcome: Outcome,
    says: str,
) -> None:
    monkeypatch.setattr(tflm_arena, "minimum", raising(error))
    found = by_gate("nucleo-l4r5zi", FILES)
    assert tuple(found) == FIRMWARE["tflm"]
    assert found["goldens_tflm"].verdict is Outcome.PASS
    for gate in ("sources", "arena", "flash"):
        assert found[gate].verdict is outcome
        assert says in found[gate].says


@pytest.mark.parametrize(("error", "outcome", "says"), ENDINGS, ids=str)
def test_vela_leaves_its_own_gates_unanswered_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
    answered: None,
    error: Exception,
    outcome: Outcome,
    says: str,
) -> None:
    monkeypatch.setattr(vela, "compile_model", raising(error))
    monkeypatch.setattr(bench, "_sources", lambda *_: {"tflm/model.cc": b""})
    found = by_gate("corstone-300", FILES)
    assert tuple(found) == FIRMWARE["npu"]
    assert found["goldens_tflm"].verdict is Outcome.PASS
    for gate in ("arena", "flash", "cpu_fallback", "latency"):
        assert found[gate].verdict is outcome
        assert says in found[gate].says


@pytest.mark.parametrize(("error", "outcome", "says"), ENDINGS, ids=str)
def test_a_core_that_is_not_emulated_to_its_end_is_a_finding(
    monkeypatch: pytest.MonkeyPatch,
    answered: None,
    error: Exception,
    outcome: Outcome,
    says: str,
) -> None:
    monkeypatch.setattr(run, "run", raising(error))
    monkeypatch.setattr(run, "run_on_host", raising(error))
    monkeypatch.setattr(bench.toolchain, "missing", lambda _: "")
    found = by_gate("nucleo-l4r5zi", IN_C)
    assert tuple(found) == FIRMWARE["c"]
    for gate in ("goldens_c", "arena", "flash", "stack", "instructions", "latency"):
        assert found[gate].verdict is outcome
        assert says in found[gate].says


def test_what_the_c_compiler_does_not_take_fails_its_gates(
    monkeypatch: pytest.MonkeyPatch, answered: None
) -> None:
    monkeypatch.setattr(c99, "compile_model", raising(InputError("op 0 ABS: no kernel")))
    found = by_gate("nucleo-l4r5zi", IN_C)
    assert {finding.verdict for finding in found.values()} == {Outcome.FAIL}
    assert tuple(found) == FIRMWARE["c"]


@pytest.mark.parametrize(
    ("outputs", "outcome", "wrong"),
    [
        (OUTPUTS, Outcome.PASS, 0),
        (OUTPUTS + np.array([[0, 1], [0, 0]], np.int8), Outcome.FAIL, 1),
        (OUTPUTS.astype(np.uint8), Outcome.FAIL, 4),
        (OUTPUTS[:1], Outcome.FAIL, 2),
    ],
)
def test_tflms_answers_must_be_the_bundles_goldens(
    monkeypatch: pytest.MonkeyPatch,
    answered: None,
    outputs: Any,
    outcome: Outcome,
    wrong: int,
) -> None:
    monkeypatch.setattr(tflm_arena, "minimum", raising(EnvironmentMissing("none")))
    found = by_gate("nucleo-l4r5zi", {**FILES, bench.GOLDEN_OUTPUTS: archive.npy(outputs)})
    assert (found["goldens_tflm"].verdict, found["goldens_tflm"].value) == (outcome, wrong)


def test_goldens_that_are_no_array_fail(answered: None) -> None:
    found = by_gate("nucleo-l4r5zi", {**FILES, bench.GOLDEN_INPUTS: b"nonsense"})
    assert found["goldens_tflm"].verdict is Outcome.FAIL
    assert "golden/inputs.npy" in found["goldens_tflm"].says
