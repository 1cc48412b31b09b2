"""The dynamic gates where they run: right verdicts, exact counts, garbage caught."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepack.emulation.bench import BenchOptions, BenchResult, bench
from edgepack.gates import sandbox
from edgepack.gates.expected import SANDBOX
from edgepack.gates.finding import Finding, How, Outcome
from edgepack.inference.host import HostRuntime
from edgepack.inference.protocol import ExitStatus, Job
from edgepack.profiles import catalogue
from edgepack.profiles.profile import CarriedRuntime, Profile
from edgepack.sandbox.container import ContainerRuntime
from edgepack.sandbox.engine import Engine
from edgepack.sandbox.images import build, find
from edgepack.sandbox.images.spec import ImageSpec

pytestmark = [pytest.mark.container, pytest.mark.qemu]

Standing = Callable[..., ContainerRuntime]
Rows = NDArray[np.int8]
TABLET = catalogue.load("clinic-tablet-1gb-armv7")
PHONE = catalogue.load("midrange-phone-arm64")
QUICK = BenchOptions(repeats=3, warmup=1, seconds=0.05)


class Case(NamedTuple):
    """A model with its golden rows, and the engine that runs it."""

    model: bytes
    rows: Rows
    golden: NDArray[Any]
    engine: Engine

    def bench(self, profile: Profile, options: BenchOptions = QUICK) -> BenchResult:
        return bench(
            self.model, profile, self.rows, self.golden, options=options, engine=self.engine
        )


@pytest.fixture
def case(engine: Engine, dense: bytes, dense_rows: Rows) -> Case:
    """Return the dense model with what this machine's reference kernels make of its rows."""
    trace = HostRuntime().run(Job(model=dense, inputs=dense_rows, kernels="reference"))
    assert trace.outputs is not None, trace.says
    return Case(dense, dense_rows, trace.outputs, engine)


def named(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.gate: finding for finding in findings}


@pytest.mark.parametrize("profile", [TABLET, PHONE], ids=lambda profile: profile.name)
def test_a_sound_model_passes_every_gate_of_its_device(
    stand_in: Standing, case: Case, profile: Profile
) -> None:
    package = {"tflite": "tflite-runtime", "litert": "ai-edge-litert"}[profile.runtime.name]
    for arch in {profile.cpu.isa, case.engine.arch}:
        stand_in(package, profile.runtime.version, arch)
    result = case.bench(profile)
    findings, figures = result.findings, result.figures
    assert figures is not None
    assert figures.memory is not None
    assert figures.sandbox_times is not None
    assert figures.sandbox_times.wall_ms is not None
    assert figures.instructions is not None
    assert tuple(f.gate for f in findings) == SANDBOX
    assert {f.verdict for f in findings} == {Outcome.PASS}, [f.says for f in findings]
    found = named(findings)
    assert "bit for bit" in found["goldens_device"].says
    assert found["instructions"].how is How.EMULATED
    assert found["latency"].how is How.ESTIMATED
    assert figures.memory.canary is ExitStatus.OOM
    assert figures.sandbox_times.wall_ms.p50 > 0
    assert "not the device" in figures.sandbox_times.what
    assert sum(figures.instructions.by_class.values()) == 2 * found["instructions"].value


@pytest.mark.parametrize("arch", ["arm64", "armv7"])
def test_two_runs_count_the_same_to_the_last_instruction(
    stand_in: Standing, dense: bytes, dense_rows: Rows, arch: str
) -> None:
    runtime = stand_in("tflite-runtime", "2.14.0", arch, counted=True)
    job = Job(model=dense, inputs=dense_rows[:1], repeats=5, warmup=1)
    one, other = runtime.run(job), runtime.run(job)
    assert one.status is ExitStatus.OK, one.says
    assert one.instructions is not None
    assert one.instructions == other.instructions
    assert one.instructions.by_class["other"] == 0


def test_reference_kernels_are_equal_to_the_bit_on_three_instruction_sets(
    stand_in: Standing, dense: bytes, dense_rows: Rows
) -> None:
    outputs = []
    for arch in ("amd64", "arm64", "armv7"):
        runtime = stand_in("tflite-runtime", "2.14.0", arch)
        trace = runtime.run(Job(model=dense, inputs=dense_rows, kernels="reference"))
        assert trace.outputs is not None, trace.says
        assert trace.runtime == "tflite-runtime 2.14.0"
        outputs.append(trace.outputs)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])


def test_a_runtime_that_misreads_per_channel_weights_is_caught(
    stand_in: Standing, case: Case
) -> None:
    """2.9 knows no per-channel fully-connected weights and computes on without a word."""
    old = CarriedRuntime.model_validate(
        {"name": "tflite", "version": "2.9.1", "source": "policy: a test"}
    )
    stand_in("tflite-runtime", "2.9.1", "amd64")
    device = TABLET.model_copy(
        update={"runtimes": (old,), "cpu": TABLET.cpu.model_copy(update={"isa": "amd64"})}
    )
    findings = case.bench(device).findings
    found = named(findings)
    assert found["goldens_device"].verdict is Outcome.FAIL
    assert found["goldens_kernels"].verdict is Outcome.FAIL
    assert "another model" in found["goldens_device"].says


def test_a_runtime_on_a_processor_it_fails_on_is_caught(
    stand_in: Standing, shared_data: Callable[[str], Path]
) -> None:
    """LiteRT 2.1.6 computes garbage with XNNPACK on qemu's ``max``, not on a Cortex-A53."""
    model = shared_data("mlperf_tiny/keyword_spotting/kws_ref_model.tflite").read_bytes()
    rows = np.random.default_rng(0).integers(-128, 128, (8, 49, 10, 1), dtype=np.int8)
    wanted = HostRuntime().run(Job(model=model, inputs=rows, kernels="reference")).outputs
    assert wanted is not None
    for core, verdict in (("max", Outcome.FAIL), ("cortex-a53", Outcome.PASS)):
        runtime = stand_in("ai-edge-litert", "2.1.6", "arm64", qemu_cpu=core)
        trace = runtime.run(Job(model=model, inputs=rows))
        assert trace.outputs is not None, trace.says
        finding, _ = sandbox.goldens("g", trace.outputs, wanted, sandbox.OPTIMISED, core)
        assert finding.verdict is verdict, finding.says


def test_a_core_that_the_emulator_lacks_leaves_every_gate_open(
    stand_in: Standing, case: Case
) -> None:
    for arch in ("armv7", case.engine.arch):
        stand_in("tflite-runtime", "2.14.0", arch)
    cpu = TABLET.cpu.model_copy(update={"qemu_cpu": "cortex-z9"})
    findings = case.bench(TABLET.model_copy(update={"cpu": cpu})).findings
    assert {f.verdict for f in findings} == {Outcome.INCONCLUSIVE}
    assert "cortex-z9" in findings[0].says


def test_a_strangers_model_runs_in_the_sandbox_as_on_the_host(
    stand_in: Standing, case: Case
) -> None:
    stand_in("ai-edge-litert", "1.4.0", case.engine.arch)
    job = Job(model=case.model, inputs=case.rows, kernels="reference")
    spec = ImageSpec("ai-edge-litert", "1.4.0", case.engine.arch)
    trace = ContainerRuntime(engine=case.engine, spec=spec).run(job)
    assert trace.outputs is not None, trace.says
    np.testing.assert_array_equal(trace.outputs, case.golden)


def test_a_soak_passes_on_a_model_that_keeps_its_memory(stand_in: Standing, case: Case) -> None:
    for arch in ("armv7", case.engine.arch):
        stand_in("tflite-runtime", "2.14.0", arch)
    result = case.bench(TABLET, replace(QUICK, soak_minutes=0.02))
    assert named(result.findings)["soak"].verdict is Outcome.PASS, result.figures


def test_a_file_that_is_no_model_fails_and_raises_nothing(
    stand_in: Standing, case: Case
) -> None:
    for arch in ("armv7", case.engine.arch):
        stand_in("tflite-runtime", "2.14.0", arch)
    findings = case._replace(model=b"TFL3" + bytes(100)).bench(TABLET).findings
    assert {f.verdict for f in findings[:4]} == {Outcome.FAIL}
    assert findings[4].verdict is Outcome.INCONCLUSIVE


def test_an_image_made_again_is_the_same_image(engine: Engine, stand_in: Standing) -> None:
    spec = stand_in("tflite-runtime", "2.14.0", "armv7").spec
    before = find(engine, spec)
    again = build([spec.arch], spec.package, version=spec.version, engine=engine, force=True)[0]
    if again.debs != before.debs:
        pytest.skip("the mirror has other packages than when the present image was made")
    assert again.identity == before.identity
    assert again.state == "present"
    assert again.size_bytes < 100e6
