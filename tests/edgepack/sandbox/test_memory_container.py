"""The memory gate where it runs: a need that repeats, and verdicts right at 10 % of it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepack.compat.delegates import device_kernels
from edgepack.emulation.bench import BenchOptions, BenchRun
from edgepack.gates import sandbox
from edgepack.gates.finding import Outcome
from edgepack.inference import worker
from edgepack.inference.protocol import ExitStatus, Job, Trace
from edgepack.planning.peak import plan_memory
from edgepack.profiles import catalogue
from edgepack.profiles.hardware import SourcedBytes
from edgepack.profiles.profile import Profile
from edgepack.sandbox.container import ContainerRuntime
from edgepack.sandbox.engine import Engine
from edgepack.tflite import flatbuffer
from tests.edgepack.tinymodels import Net

pytestmark = pytest.mark.container

Standing = Callable[..., ContainerRuntime]
Data = Callable[[str], Path]
KIB = 1024
TABLET = catalogue.load("clinic-tablet-1gb-armv7")
PHONE = catalogue.load("midrange-phone-arm64")
STAND_INS = [("tflite-runtime", "2.14.0", TABLET), ("ai-edge-litert", "1.4.0", PHONE)]


class Device(NamedTuple):
    """A profile, and its runtime on this machine's processor."""

    profile: Profile
    native: ContainerRuntime

    @property
    def kernels(self) -> str:
        return device_kernels(self.profile)


@pytest.fixture(params=STAND_INS, ids=lambda param: param[0])
def device(request: pytest.FixtureRequest, stand_in: Standing, engine: Engine) -> Device:
    package, version, profile = request.param
    stand_in(package, version, profile.cpu.isa)
    return Device(profile, stand_in(package, version, engine.arch))


def with_ram(profile: Profile, size: int) -> Profile:
    budget = SourcedBytes(value=size, source="policy: a test")
    return profile.model_copy(update={"ram": profile.ram.model_copy(update={"budget": budget})})


def codes(model: bytes) -> NDArray[np.generic]:
    """Return one row of seeded codes for a model with one integer input."""
    tensor = flatbuffer.read(model).inputs[0]
    edges = np.iinfo(tensor.dtype)
    rng = np.random.default_rng(0)
    return rng.integers(edges.min, edges.max, tensor.shape, tensor.dtype, endpoint=True)


def need(trace: Trace) -> int:
    assert trace.outputs is not None, trace.says
    return sandbox.need_bytes(trace)


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_the_memory_verdict_is_right_on_both_sides_of_the_need(
    device: Device, dense: bytes, dense_rows: NDArray[np.int8], share: float
) -> None:
    job = Job(model=dense, inputs=dense_rows[:1], repeats=5, warmup=1, kernels=device.kernels)
    budget = int(need(device.native.run(job)) * share)
    options = BenchOptions(repeats=3, warmup=1, seconds=0.05)
    run = BenchRun.of(device.native.engine, with_ram(device.profile, budget), dense, options)
    finding, figures = run.memory(dense_rows)
    assert figures is not None
    assert figures.canary is ExitStatus.OOM
    assert finding.verdict is (Outcome.PASS if share > 1 else Outcome.FAIL), finding.says


def test_the_need_is_the_same_however_long_and_often_it_is_measured(
    device: Device, shared_data: Data
) -> None:
    """Nothing of the worker's own is in it, nor of the runtime's code: 3 kB need no MiB."""
    model = shared_data("third_party_models/tflm/hello_world_int8.tflite").read_bytes()
    job = {"model": model, "inputs": codes(model), "kernels": device.kernels}
    short = [device.native.run(Job(**job, repeats=5)) for _ in range(3)]
    long = device.native.run(Job(**job, repeats=2 * worker.KEPT + 1, min_seconds=0.2))
    needs = [need(trace) for trace in (*short, long)]
    assert long.inferences > 2 * worker.KEPT  # it thinned its times
    assert max(needs) - min(needs) <= 16 * KIB, needs
    assert max(needs) < 256 * KIB


def test_what_a_model_needs_is_what_its_file_says_it_needs(
    device: Device, shared_data: Data
) -> None:
    """The plan is computed from the file alone; the kernel counted pages."""
    model = shared_data(
        "third_party_models/coral/mobilenet_v1_0.5_160_quant.tflite"
    ).read_bytes()
    job = Job(model=model, inputs=codes(model), repeats=2, kernels=device.kernels)
    planned = plan_memory(flatbuffer.read(model), device.profile).total
    assert need(device.native.run(job)) == pytest.approx(planned, rel=0.15)


@pytest.mark.parametrize(
    "name",
    [
        "mlperf_tiny/image_classification/pretrainedResnet.tflite",
        "mlperf_tiny/image_classification/pretrainedResnet_large_int8.tflite",
        "mlperf_tiny/keyword_spotting/kws_ref_model_float32.tflite",
        "mlperf_tiny/visual_wake_words/vww_96_float.tflite",
        "third_party_models/coral/mobilenet_v1_0.25_128_quant.tflite",
        "third_party_models/tflm/micro_speech_quantized.tflite",
    ],
)
def test_the_plan_is_never_under_the_need(device: Device, shared_data: Data, name: str) -> None:
    model = shared_data(name).read_bytes()
    tensor = flatbuffer.read(model).inputs[0]
    floats = tensor.dtype == "float32"
    row = np.zeros(tensor.shape, np.float32) if floats else codes(model)
    job = Job(model=model, inputs=row, repeats=3, kernels=device.kernels)
    planned = plan_memory(flatbuffer.read(model), device.profile).total
    assert need(device.native.run(job)) <= planned


def test_copies_of_outputs_are_the_workers_and_in_no_need(device: Device) -> None:
    """A model of one operator, 4 MiB in and 4 MiB out: it needs these and little else."""
    net = Net()
    x, y = net.tensor((1, 1 << 20), "float32"), net.tensor((1, 1 << 20), "float32")
    net.op("ABS", [x], [y])
    row = np.ones((1, 1 << 20), np.float32)
    job = Job(model=net.done([x], [y]), inputs=row, repeats=3, kernels=device.kernels)
    trace = device.native.run(job)
    assert trace.outputs is not None
    assert np.array_equal(trace.outputs, row)
    assert 8 << 20 <= need(trace) < 9 << 20
