"""``check`` gives all that a file tells, quickly, for anybody's file and every profile."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgepack import catalogue
from edgepack.check import check
from edgepack.errors import InputError
from edgepack.verdict import Outcome
from tests.edgepack.networks import residual
from tests.edgepack.test_gates import device, limit
from tests.edgepack.tinymodels import Net

#: What each file of other people fails on the NUCLEO-L4R5ZI, and why.
NUCLEO = {
    "third_party_models/coral/mobilenet_v1_0.25_128_quant.tflite": ("operators", "uint8"),
    "third_party_models/mltk/autoencoder_example/autoencoder_example.tflite": (
        "dtype",
        "DEQUANTIZE, QUANTIZE",
    ),
    "third_party_models/tflm/hello_world_float.tflite": ("dtype", "FULLY_CONNECTED"),
    "mlperf_tiny/keyword_spotting/kws_ref_model_float32.tflite": ("operators", "float32+int8"),
    "third_party_models/tflm/hello_world_int8.tflite": None,
    "third_party_models/tflm/trained_lstm_int8.tflite": None,
    "third_party_models/mltk/image_classification/image_classification.tflite": None,
    "mlperf_tiny/visual_wake_words/vww_96_int8.tflite": None,
}


def large(megabytes: int) -> bytes:
    """Return a model of about so many megabytes of incompressible weights."""
    net = Net()
    x = y = net.tensor((1, 1024))
    for _ in range(megabytes):
        y = net.dense(y, 1024)
    return net.done([x], [y])


def test_facts_and_verdict_come_together() -> None:
    facts, verdict = check(residual(8, 16), device(storage={"budget": limit(1 << 20)}))
    assert facts.macs > 0
    assert [f.gate for f in verdict.findings][:2] == ["storage", "peak_ram"]


def test_damaged_bytes_are_an_error_and_not_a_verdict() -> None:
    with pytest.raises(InputError):
        check(residual(8, 16)[:500], device())


@pytest.mark.parametrize("name", sorted(NUCLEO))
def test_other_peoples_models_are_refused_for_the_right_reason(
    name: str, shared_data: Callable[[str], Path]
) -> None:
    profile = catalogue.load("nucleo-l4r5zi")
    _, verdict = check(shared_data(name).read_bytes(), profile)
    expected = NUCLEO[name]
    if expected is None:
        assert verdict.outcome is Outcome.PASS, verdict.findings
        return
    gate, says = expected
    (found,) = [f for f in verdict.named(Outcome.FAIL) if f.gate == gate]
    assert says in found.says


def test_every_built_in_profile_judges_every_model_without_a_fault(
    shared_data: Callable[[str], Path],
) -> None:
    folders = (shared_data("mlperf_tiny"), shared_data("third_party_models"))
    models = [path.read_bytes() for f in folders for path in sorted(f.rglob("*.tflite"))]
    profiles = [catalogue.load(name) for name in catalogue.names()]
    for profile in profiles:
        for model in models[::3]:
            _, verdict = check(model, profile)
            assert verdict.findings
            assert all("\n" not in finding.says for finding in verdict.findings)


@pytest.mark.parametrize("profile", ["clinic-tablet-1gb-armv7", "nucleo-l4r5zi"])
def test_five_megabytes_are_checked_within_a_second_of_start(
    profile: str, tmp_path: Path
) -> None:
    """Start-up of Python included; three tries, for the machine may be busy."""
    path = tmp_path / "large.tflite"
    path.write_bytes(large(5))
    assert path.stat().st_size > 5_000_000
    code = "import sys; from edgepack.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "check", str(path), "--profile", profile]
    took = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        took.append(time.perf_counter() - start)
        assert done.returncode in (0, 3), done.stderr
    assert min(took) < 1


def test_checking_opens_no_slow_door() -> None:
    code = (
        "import sys\nfrom edgepack.check import check\nfrom edgepack import catalogue\n"
        "from tests.edgepack.networks import residual\n"
        "check(residual(8, 16), catalogue.load('clinic-tablet-1gb-armv7'))\n"
        "slow = {'tensorflow', 'scipy', 'rich', 'jinja2', 'docker'}\n"
        "slow.add('ai_edge_litert.interpreter')\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root
    )
    assert done.returncode == 0, done.stderr


def test_a_file_of_many_parts_is_judged_in_bounded_time() -> None:
    net = Net()
    x = y = net.tensor((1, 8))
    for _ in range(4000):
        y = net.add(y, y)
    model = net.done([x], [y])
    start = time.perf_counter()
    check(model, device(ram={"budget": limit(1 << 30)}))
    assert time.perf_counter() - start < 20


def test_the_same_bytes_give_the_same_verdict() -> None:
    model = residual(8, 16)
    assert np.frombuffer(model, np.uint8).size
    assert check(model, device())[1] == check(bytes(model), device())[1]
