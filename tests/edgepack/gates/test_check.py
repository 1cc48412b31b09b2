"""``check`` gives all that a file tells, quickly, for anybody's file and every profile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgepack.errors import InputError
from edgepack.gates.finding import Outcome
from edgepack.gates.static import check
from edgepack.profiles import catalogue
from tests.edgepack.gates.test_static import MICRO, device, limit
from tests.edgepack.networks import mixed, residual
from tests.edgepack.opzoo import cases
from tests.edgepack.tinymodels import Net, pack, unpack

ZOO = list(cases())
DELEGATES = ("xnnpack", "gpu", "nnapi", "hexagon", "edgetpu", "coreml", "ethos-u55-128")

#: What each file of other people fails on the NUCLEO-L4R5ZI, and why.
NUCLEO = {
    "third_party_models/coral/mobilenet_v1_0.25_128_quant.tflite": ("operators", "uint8"),
    # float32 at its ends only: TFLM converts there
    "third_party_models/mltk/autoencoder_example/autoencoder_example.tflite": None,
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


def test_every_built_in_profile_judges_other_peoples_models_without_a_fault(
    shared_data: Callable[[str], Path],
) -> None:
    folders = (shared_data("mlperf_tiny"), shared_data("third_party_models"))
    models = [path.read_bytes() for f in folders for path in sorted(f.rglob("*.tflite"))]
    for turn, name in enumerate(catalogue.names()):
        profile = catalogue.load(name)
        for model in (models[turn % len(models)], models[(7 * turn + 3) % len(models)]):
            _, verdict = check(model, profile)
            assert verdict.findings
            assert all("\n" not in finding.says for finding in verdict.findings)


@pytest.mark.tools
@pytest.mark.parametrize("profile", ["clinic-tablet-1gb-armv7", "nucleo-l4r5zi"])
def test_five_megabytes_are_checked_within_a_second_of_start(
    profile: str, tmp_path: Path
) -> None:
    """Processor time, start-up of Python included: the machine may be busy."""
    path = tmp_path / "large.tflite"
    path.write_bytes(large(5))
    assert path.stat().st_size > 5_000_000
    code = "import sys; from edgepack.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "check", str(path), "--profile", profile]
    before = os.times()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    after = os.times()
    assert done.returncode in (0, 3), done.stderr
    took = after.children_user + after.children_system
    assert took - before.children_user - before.children_system < 1


@pytest.mark.tools
def test_checking_opens_no_slow_door() -> None:
    code = (
        "import sys\nfrom edgepack.gates.static import check\n"
        "from edgepack.profiles import catalogue\n"
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


def strange(seed: int) -> bytes:
    """Return a file whose structure is sound and whose graph is nonsense."""
    rng = np.random.default_rng(seed)
    sources = [case.model for case in ZOO] if seed % 2 else [residual(4, 8), mixed(seed % 6)]
    model = unpack(sources[int(rng.integers(len(sources)))])
    graph = model.subgraphs[0]
    for _ in range(int(rng.integers(1, 6))):
        op = graph.operators[int(rng.integers(len(graph.operators)))]
        tensor = graph.tensors[int(rng.integers(len(graph.tensors)))]
        kind = int(rng.integers(8))
        if kind == 0:
            op.inputs = [int(i) for i in op.inputs][: int(rng.integers(len(op.inputs) + 1))]
        elif kind == 1:
            op.outputs = [int(i) for i in op.outputs][: int(rng.integers(len(op.outputs) + 1))]
        elif kind == 2:
            op.inputs = [int(i) for i in rng.integers(-1, len(graph.tensors), rng.integers(6))]
        elif kind == 3:
            tensor.shape = [int(n) for n in rng.integers(0, 4, rng.integers(6))]
        elif kind == 4:
            tensor.type = int(rng.integers(22))
        elif kind == 5:
            model.operatorCodes[op.opcodeIndex].builtinCode = int(rng.integers(128, 210))
            model.operatorCodes[op.opcodeIndex].deprecatedBuiltinCode = 127
        elif kind == 6:
            model.operatorCodes[op.opcodeIndex].deprecatedBuiltinCode = int(rng.integers(127))
            model.operatorCodes[op.opcodeIndex].builtinCode = 0
        else:
            op.builtinOptions, op.builtinOptionsType = None, 0
    if rng.random() < 0.2:
        graph.inputs, graph.outputs = graph.inputs[:0], graph.outputs[:0]
    return pack(model)


def test_nonsense_is_judged_or_refused_and_never_a_crash() -> None:
    """Operators without inputs, outputs, shapes, options; other operators' codes."""
    profiles = [
        device(kernels_of) if isinstance(kernels_of, str) else device(**kernels_of)
        for kernels_of in (
            "tablet",
            "mcu",
            {"kind": "phone", "delegates": [{"name": n, "source": "test"} for n in DELEGATES]},
            {"kind": "npu", "runtime": {**MICRO, "kernels": "cmsis-nn"}},
        )
    ]
    judged = 0
    for seed in range(150):
        model = strange(seed)
        for profile in profiles:
            try:
                _, verdict = check(model, profile)
            except InputError as error:
                assert "\n" not in str(error)
                break
            assert verdict.findings
            judged += 1
    assert judged > 300
