"""All dynamic gates of one model on one device, run in containers that stand in for it.

``bench`` is the whole of it; a ``BenchRun`` says which container answers which question.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.compat.delegates import device_kernels
from edgepack.cost.latency import estimate
from edgepack.cost.work import work_of
from edgepack.errors import EnvironmentMissing, UsageError
from edgepack.gates import sandbox
from edgepack.gates.expected import MICRO_KINDS, SANDBOX
from edgepack.gates.finding import Finding, How, Verdict, inconclusive
from edgepack.gates.limits import ram_limit
from edgepack.inference.protocol import ExitStatus, Job, Trace
from edgepack.measurements.bench_figures import (
    BenchFigures,
    GoldenFigures,
    InstructionFigures,
    MemoryFigures,
    SandboxTimes,
)
from edgepack.profiles.profile import Profile
from edgepack.sandbox.container import ContainerRuntime
from edgepack.sandbox.engine import Engine, NoEngine, available
from edgepack.sandbox.images import inventory
from edgepack.sandbox.images.spec import ARCHES, ImageSpec, choose
from edgepack.tflite import flatbuffer

_DAY_S = 86_400
_QEMU_PER_SECOND = 2e8  # instructions, about, on one busy core
_REFERENCE_COST = 12  # times the instructions of optimised kernels, about
_GOLDEN_SECONDS = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """How long and how often a bench runs.

    Attributes:
        repeats: timed inferences at least, after ``warmup`` untimed ones.
        seconds: of timed inferences at least.
        full: MLPerf's single-stream minima, 1,024 queries and 60 s.
        soak_minutes: run this long and fail on memory growth; 0 does not.
        expected_instructions: the count the bundle was built with, to 0.1 %.
        timeout_s: of each container without a soak.
    """

    repeats: int = 20
    warmup: int = 3
    seconds: float = 1.0
    full: bool = False
    soak_minutes: float = 0.0
    expected_instructions: int | None = None
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        """Refuse times that are no numbers or last for days.

        Raises:
            UsageError: seconds, minutes or the timeout are not 0 to a day.
        """
        times = {
            "seconds": self.seconds,
            "soak minutes": self.soak_minutes * 60,
            "timeout": self.timeout_s,
        }
        for what, asked in times.items():
            if not 0 <= asked <= _DAY_S:  # also false for NaN
                raise UsageError(f"{what}: wanted 0 to {_DAY_S:,} s. Received: {asked} s")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What the dynamic gates found, and the figures behind it; None where nothing was run."""

    findings: tuple[Finding, ...]
    figures: BenchFigures | None = None

    @property
    def verdict(self) -> Verdict:
        """What the findings say together."""
        return Verdict(self.findings)


def bench(
    model: bytes,
    profile: Profile,
    golden_inputs: NDArray[Any],
    golden_outputs: NDArray[Any],
    *,
    options: BenchOptions | None = None,
    engine: Engine | NoEngine | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> BenchResult:
    """Return every dynamic gate's finding and the figures behind them.

    Args:
        golden_inputs: ``(N, *input_shape)`` in the model's input dtype.
        golden_outputs: what reference kernels make of them, in its output dtype.
        engine: ``engine.available()`` unless given.

    Without an engine or an image every gate is INCONCLUSIVE and says the remedy.
    """
    start = time.monotonic()
    if profile.kind in MICRO_KINDS or profile.cpu.isa not in ARCHES:
        return _unanswered(
            f"{profile.name} is no application processor: the micro route runs it"
        )
    engine = available() if engine is None else engine
    if isinstance(engine, NoEngine):
        return _unanswered(engine.reason)
    try:
        run = BenchRun.of(engine, profile, model, options or BenchOptions(), say)
        result = run.run(golden_inputs, golden_outputs)
    except (EnvironmentMissing, UsageError) as error:
        return _unanswered(str(error))
    seconds = round(time.monotonic() - start, 2)
    assert result.figures is not None  # a run has figures
    return replace(result, figures=result.figures.model_copy(update={"seconds": seconds}))


def _unanswered(reason: str) -> BenchResult:
    return BenchResult(findings=tuple(inconclusive(gate, reason) for gate in SANDBOX))


@dataclass(frozen=True, slots=True)
class BenchRun:
    """One bench under way: the image of the device, and the one that runs unemulated."""

    engine: Engine
    profile: Profile
    model: bytes
    options: BenchOptions
    say: Callable[[str], None]
    device: ContainerRuntime
    native: ContainerRuntime
    remark: str

    @classmethod
    def of(
        cls,
        engine: Engine,
        profile: Profile,
        model: bytes,
        options: BenchOptions,
        say: Callable[[str], None] = lambda line: None,
    ) -> BenchRun:
        """Return the bench of a model on a device, before anything ran.

        Raises:
            EnvironmentMissing: an image is not there.
            UsageError: no image stands in for the device's runtime.
        """
        spec, remark = choose(profile.runtime, profile.cpu.isa)
        own = ImageSpec(spec.package, spec.version, engine.arch)
        images = inventory.find_all(engine, spec, own)
        for stale in sorted({image.spec.tag for image in images if image.state == "stale"}):
            remark += f"{'; ' if remark else ''}{stale} is stale, run 'edgepack images build'"
        share = profile.latency.cpu_share.value if profile.latency.cpu_share else None
        return cls(
            engine,
            profile,
            model,
            options,
            say,
            ContainerRuntime(engine=engine, spec=spec, qemu_cpu=profile.cpu.qemu_cpu),
            ContainerRuntime(engine=engine, spec=own, cpu_share=share),
            remark,
        )

    @property
    def kernels(self) -> str:
        """The kernels that the device would use."""
        return device_kernels(self.profile)

    def run(self, inputs: NDArray[Any], outputs: NDArray[Any]) -> BenchResult:
        """Return all findings, in the order of GATES, and the figures behind them."""
        self.say(f"counting instructions on {self.device.name}")
        count_finding, counted, kernels = self._count(inputs)
        total = counted.total if counted is not None else None
        self.say("running the goldens on the device's instruction set")
        exact, exact_figures = self._exact_goldens(inputs, outputs, total)
        near, near_figures = self._near_goldens(inputs, outputs, total)
        self.say("measuring memory and time in the sandbox")
        free = self._timed(inputs)
        ram, ram_figures = self.memory(inputs, free)
        found, why_not = None, "no instruction count to estimate from"
        if counted is not None and kernels == "reference":
            why_not = "no latency is published for reference kernels"
        elif counted is not None:
            work, why_not = work_of(flatbuffer.read(self.model), counted.by_class), ""
            found = estimate(self.profile, work, precision(self.model), kernels=kernels)
        late, late_figures = sandbox.latency(self.profile, found, why_not)
        findings, soaked = [exact, near, ram, count_finding, late], None
        if self.options.soak_minutes:
            samples = free.memory.anon_samples if free.memory is not None else ()
            finding, soaked = sandbox.soak(samples, self.options.soak_minutes)
            findings.append(finding)
        if self.remark:
            findings = [replace(f, says=f"{f.says} [{self.remark}]") for f in findings]
        figures = BenchFigures(
            image=self.device.spec.tag,
            image_id=inventory.find(self.engine, self.device.spec).identity,
            native_image=self.native.spec.tag,
            engine=f"{self.engine.version}, cgroup v{self.engine.cgroup}",
            kernels=self.kernels,
            remark=self.remark,
            instructions=counted,
            goldens_device=exact_figures,
            goldens_kernels=near_figures,
            memory=ram_figures,
            sandbox_times=self._times(free),
            latency=late_figures,
            soak=soaked,
        )
        return BenchResult(findings=tuple(findings), figures=figures)

    def _job(self, inputs: NDArray[Any], **more: Any) -> Job:
        given = {"kernels": self.kernels, "timeout_s": self.options.timeout_s, **more}
        return Job(model=self.model, inputs=inputs, **given)

    def _count(self, inputs: NDArray[Any]) -> tuple[Finding, InstructionFigures | None, str]:
        """Return the finding of the count, its figures, and the kernels that were counted."""
        if self.device.spec.emulator is None:
            says = f"instructions are counted on Arm only, not on {self.device.spec.arch}"
            return inconclusive("instructions", says), None, ""
        runtime = replace(self.device, counted=True)
        trace = runtime.run(self._job(inputs[:1], repeats=6, warmup=2))
        if trace.instructions is None:
            return sandbox.unfinished(trace, runtime.name, gate="instructions"), None, ""
        finding, figures = sandbox.instructions(
            trace.instructions, self.options.expected_instructions, runtime.name
        )
        kernels = "xnnpack" if trace.delegates else "builtin"
        return finding, figures, "reference" if self.kernels == "reference" else kernels

    def _exact_goldens(
        self, inputs: NDArray[Any], outputs: NDArray[Any], total: int | None
    ) -> tuple[Finding, GoldenFigures | None]:
        """Return the finding of reference kernels, which no instruction set may change."""
        gate = SANDBOX[0]
        if says := _unlike(inputs, outputs):
            return inconclusive(gate, says), None
        x = inputs[: self._rows(len(inputs), total, _REFERENCE_COST)]
        trace = self.device.run(self._job(x, kernels="reference"))
        if trace.outputs is None:
            return sandbox.unfinished(trace, self.device.name, gate=gate), None
        pair = f"reference kernels, {self.device.name} against the bundle"
        finding, figures = sandbox.goldens(
            gate, trace.outputs, outputs[: len(x)], sandbox.RELEASE, pair
        )
        if self.device.emulated:
            finding = sandbox.worse_of(self._same_release(x, trace.outputs), finding)
        return finding, figures

    def _near_goldens(
        self, inputs: NDArray[Any], outputs: NDArray[Any], total: int | None
    ) -> tuple[Finding, GoldenFigures | None]:
        """Return the finding of the kernels that the device would use."""
        gate = SANDBOX[1]
        if says := _unlike(inputs, outputs):
            return inconclusive(gate, says), None
        x = inputs[: self._rows(len(inputs), total, 1)]
        trace = self.device.run(self._job(x))
        if trace.outputs is None:
            return sandbox.unfinished(trace, self.device.name, gate=gate), None
        pair = f"{self.kernels} kernels, {self.device.name} against the bundle"
        limits = sandbox.RELEASE if self.kernels == "reference" else sandbox.OPTIMISED
        finding, figures = sandbox.goldens(gate, trace.outputs, outputs[: len(x)], limits, pair)
        if figures is not None:
            figures = figures.model_copy(update={"delegates": trace.delegates})
        return finding, figures

    def _same_release(self, inputs: NDArray[Any], emulated: NDArray[Any]) -> Finding:
        """Return whether the other instruction set gives the very bits of this machine's."""
        trace = self.native.run(self._job(inputs, kernels="reference"))
        if trace.outputs is None:
            return sandbox.unfinished(trace, self.native.name, gate=SANDBOX[0])
        pair = f"reference kernels, {self.device.name} against {self.native.spec.arch}"
        floats = np.issubdtype(emulated.dtype, np.floating)
        limits = sandbox.EXACT_FLOAT if floats else sandbox.EXACT
        return sandbox.goldens(SANDBOX[0], emulated, trace.outputs, limits, pair)[0]

    def _rows(self, most: int, total: int | None, cost: int) -> int:
        """Return how many golden rows the emulator does in seconds, at least one."""
        if total is None or not self.device.emulated:
            return most
        return int(np.clip(_GOLDEN_SECONDS * _QEMU_PER_SECOND / (total * cost), 1, most))

    def _timed(self, inputs: NDArray[Any]) -> Trace:
        seconds = max(self.options.seconds, self.options.soak_minutes * 60)
        repeats = self.options.repeats
        if self.options.full:
            seconds, repeats = max(seconds, sandbox.FULL_SECONDS), sandbox.FULL_QUERIES
        limit = self.options.timeout_s + seconds + (1800 if self.options.full else 0)
        job = self._job(
            inputs[:1],  # more rows would be outputs kept by the worker, not by the model
            repeats=repeats,
            warmup=self.options.warmup,
            min_seconds=seconds,
            timeout_s=limit,
        )
        return self.native.run(job)

    def memory(
        self, inputs: NDArray[Any], free: Trace | None = None
    ) -> tuple[Finding, MemoryFigures | None]:
        """Return the finding of the memory budget and its figures.

        Args:
            free: a run without a memory limit, made here unless given.
        """
        limit = ram_limit(self.profile)
        if limit.value is None:
            says = f"the profile names no limit: set [{limit.key}] in a profile of your own"
            return inconclusive(sandbox.PEAK_RAM, says), None
        budget, where = int(limit.value), self.native.name
        free = self._timed(inputs) if free is None else free
        if free.status is not ExitStatus.OK:
            return sandbox.unfinished(free, f"{where}, no memory limit"), None
        size = sandbox.limit_bytes(free, budget)
        narrow = replace(self.native, memory_bytes=size, cpu_share=None)
        above = f"exhaust-memory:{2 * size + 2**26}"
        canary = narrow.run_worker("-", "--pretend", above, timeout_s=60.0)
        limited = narrow.run(self._job(inputs[:1], repeats=5, warmup=1))
        return sandbox.peak_ram(budget, free=free, canary=canary, limited=limited, where=where)

    def _times(self, free: Trace) -> SandboxTimes:
        return SandboxTimes(
            how=How.EMULATED.value,
            what="container of this machine, not the device's latency",
            cpu_share=self.native.cpu_share,
            inferences=free.inferences,
            wall_ms=sandbox.percentiles(free.wall_ms),
            thread_cpu_ms=sandbox.percentiles(free.cpu_ms),
        )


def _unlike(inputs: NDArray[Any], outputs: NDArray[Any]) -> str:
    counts = (len(inputs), len(outputs))
    if counts[0] == counts[1] != 0:
        return ""
    return f"wanted as many golden inputs as outputs, at least one. Received: {counts}"


def precision(model: bytes) -> str:
    """Return int8 or float32: what most of the model's weights are stored as."""
    return flatbuffer.read(model).precision
