"""One bench under way: which container answers which question, and what the answers say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.cost.latency import estimate
from edgepack.emulation.options import GATES, Ask, device_kernels, precision
from edgepack.gates import goldens
from edgepack.gates import sandbox_memory as memory
from edgepack.gates import sandbox_timing as timing
from edgepack.gates.finding import Finding, How, Outcome
from edgepack.inference.protocol import Ending, Job, Trace
from edgepack.profiles.profile import Profile
from edgepack.sandbox.container import ContainerRuntime
from edgepack.sandbox.engine import Engine
from edgepack.sandbox.images import inventory as shelf
from edgepack.sandbox.images.spec import ImageSpec, choose

_QEMU_PER_SECOND = 2e8  # instructions, about, on one busy core
_REFERENCE_COST = 12  # times the instructions of optimised kernels, about
_GOLDEN_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One bench under way: the image of the device, and the one that runs unemulated."""

    engine: Engine
    profile: Profile
    model: bytes
    ask: Ask
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
        ask: Ask,
        say: Callable[[str], None] = lambda line: None,
    ) -> Trial:
        """Return the trial of a model on a device.

        Raises:
            EnvironmentMissing: an image is not there.
            UsageError: no image stands in for the device's runtime.
        """
        spec, remark = choose(profile.runtime, profile.cpu.isa)
        own = ImageSpec(spec.package, spec.version, engine.arch)
        images = shelf.find_all(engine, spec, own)
        for stale in sorted({image.spec.tag for image in images if image.state == "stale"}):
            remark += f"{'; ' if remark else ''}{stale} is stale, run 'edgepack images build'"
        share = profile.latency.cpu_share.value if profile.latency.cpu_share else None
        return cls(
            engine,
            profile,
            model,
            ask,
            say,
            ContainerRuntime(engine=engine, spec=spec, qemu_cpu=profile.cpu.qemu_cpu),
            ContainerRuntime(engine=engine, spec=own, cpu_share=share),
            remark,
        )

    @property
    def kernels(self) -> str:
        """The kernels that the device would use."""
        return device_kernels(self.profile)

    def run(
        self, inputs: NDArray[Any], outputs: NDArray[Any]
    ) -> tuple[tuple[Finding, ...], dict[str, Any]]:
        """Return all findings, in the order of GATES, and the figures behind them."""
        figures: dict[str, Any] = {
            "image": self.device.spec.tag,
            "image_id": shelf.find(self.engine, self.device.spec).identity,
            "native_image": self.native.spec.tag,
            "engine": f"{self.engine.version}, cgroup v{self.engine.cgroup}",
            "kernels": self.kernels,
            "remark": self.remark,
        }
        self.say(f"counting instructions on {self.device.name}")
        counting, counted = self._count(inputs)
        figures["instructions"] = counted
        total = counted["by_class"]["total"] if counted else None
        self.say("running the goldens on the device's instruction set")
        exact, near = self._goldens(inputs, outputs, total, figures)
        self.say("measuring memory and time in the sandbox")
        free = self._timed(inputs)
        ram, figures["memory"] = self.memory(inputs, free)
        figures["sandbox_times"] = self._times(free)
        found = None
        if total is not None:
            found = estimate(self.profile, total, precision(self.model))
        why_not = "" if total is not None else "no instruction count to estimate from"
        late, figures["latency"] = timing.latency(self.profile, found, why_not)
        findings = [exact, near, ram, counting, late]
        if self.ask.soak_minutes:
            samples = free.extra.get("rss_anon_samples", [])
            finding, figures["soak"] = timing.soak(samples, self.ask.soak_minutes)
            findings.append(finding)
        if self.remark:
            findings = [replace(f, says=f"{f.says} [{self.remark}]") for f in findings]
        return tuple(findings), figures

    def _job(self, inputs: NDArray[Any], **more: Any) -> Job:
        given = {"kernels": self.kernels, "timeout_s": self.ask.timeout_s, **more}
        return Job(model=self.model, inputs=inputs, **given)

    def _count(self, inputs: NDArray[Any]) -> tuple[Finding, dict[str, Any]]:
        if self.device.spec.emulator is None:
            says = f"instructions are counted on Arm only, not on {self.device.spec.arch}"
            return Finding(gate="instructions", verdict=Outcome.INCONCLUSIVE, says=says), {}
        runtime = replace(self.device, counted=True)
        trace = runtime.run(self._job(inputs[:1], repeats=6, warmup=2))
        if trace.ending is not Ending.OK:
            return memory.unfinished(trace, runtime.name, gate="instructions"), {}
        return timing.instructions(trace, self.ask.expected_instructions, runtime.name)

    def _goldens(
        self,
        inputs: NDArray[Any],
        outputs: NDArray[Any],
        total: int | None,
        figures: dict[str, Any],
    ) -> tuple[Finding, Finding]:
        """Return the findings of reference kernels and of the device's kernels.

        As many rows are run as the emulator does in seconds, at least one.
        """
        exact, near = GATES[:2]
        where = self.device.name
        counts = (len(inputs), len(outputs))
        if counts[0] != counts[1] or counts[0] == 0:
            says = f"wanted as many golden inputs as outputs, at least one. Received: {counts}"
            open_ = Finding(gate=exact, verdict=Outcome.INCONCLUSIVE, says=says)
            return open_, replace(open_, gate=near)
        x = inputs[: self._rows(len(inputs), total, _REFERENCE_COST)]
        emulated = self.device.run(self._job(x, kernels="reference"))
        if emulated.outputs is None:
            first = memory.unfinished(emulated, where, gate=exact)
        else:
            told = f"reference kernels, {where} against the bundle"
            first, figures[exact] = goldens.judge(
                exact, emulated.outputs, outputs[: len(x)], goldens.RELEASE, told
            )
            if self.device.emulated:
                first = goldens.both(self._same_release(x, emulated.outputs), first)
        x = inputs[: self._rows(len(inputs), total, 1)]
        trace = self.device.run(self._job(x))
        if trace.outputs is None:
            return first, memory.unfinished(trace, where, gate=near)
        told = f"{self.kernels} kernels, {where} against the bundle"
        limits = goldens.RELEASE if self.kernels == "reference" else goldens.OPTIMISED
        second, figures[near] = goldens.judge(
            near, trace.outputs, outputs[: len(x)], limits, told
        )
        figures[near]["delegates"] = trace.extra.get("delegates")
        return first, second

    def _same_release(self, inputs: NDArray[Any], emulated: NDArray[Any]) -> Finding:
        """Return whether the other instruction set gives the very bits of this machine's."""
        trace = self.native.run(self._job(inputs, kernels="reference"))
        if trace.outputs is None:
            return memory.unfinished(trace, self.native.name, gate=GATES[0])
        told = f"reference kernels, {self.device.name} against {self.native.spec.arch}"
        floats = np.issubdtype(emulated.dtype, np.floating)
        limits = goldens.EXACT_FLOAT if floats else goldens.EXACT
        return goldens.judge(GATES[0], emulated, trace.outputs, limits, told)[0]

    def _rows(self, most: int, total: int | None, cost: int) -> int:
        if total is None or not self.device.emulated:
            return most
        return int(np.clip(_GOLDEN_SECONDS * _QEMU_PER_SECOND / (total * cost), 1, most))

    def _timed(self, inputs: NDArray[Any]) -> Trace:
        seconds = max(self.ask.seconds, self.ask.soak_minutes * 60)
        repeats = self.ask.repeats
        if self.ask.full:
            seconds, repeats = max(seconds, timing.FULL_SECONDS), timing.FULL_QUERIES
        limit = self.ask.timeout_s + seconds + (1800 if self.ask.full else 0)
        job = self._job(
            inputs[:1],  # more rows would be outputs kept by the worker, not by the model
            repeats=repeats,
            warmup=self.ask.warmup,
            min_seconds=seconds,
            timeout_s=limit,
        )
        return self.native.run(job)

    def memory(
        self, inputs: NDArray[Any], free: Trace | None = None
    ) -> tuple[Finding, dict[str, Any]]:
        """Return the finding of the memory budget and its figures.

        Args:
            free: a run without a memory limit, made here unless given.
        """
        budget = self.profile.ram.budget.value if self.profile.ram.budget else None
        if budget is None:
            says = "the profile names no memory budget for a model"
            return Finding(gate=memory.GATE, verdict=Outcome.INCONCLUSIVE, says=says), {}
        where = self.native.name
        free = self._timed(inputs) if free is None else free
        if free.ending is not Ending.OK:
            return memory.unfinished(free, f"{where}, no memory limit"), {}
        size = memory.limit_bytes(free, budget)
        narrow = replace(self.native, memory_bytes=size, cpu_share=None)
        hog = f"hog:{2 * size + 2**26}"
        canary = narrow.run_worker("-", "--pretend", hog, timeout_s=60.0)
        limited = narrow.run(self._job(inputs[:1], repeats=5, warmup=1))
        return memory.judge(budget, free=free, canary=canary, limited=limited, where=where)

    def _times(self, free: Trace) -> dict[str, Any]:
        """Return container times under the profile's quota: never the device's latency."""
        return {
            "how": How.EMULATED.value,
            "what": "container of this machine, not the device's latency",
            "cpu_share": self.native.cpu_share,
            "inferences": free.extra.get("inferences", 0),
            "wall_ms": timing.percentiles(free.wall_ms),
            "thread_cpu_ms": timing.percentiles(free.cpu_ms),
        }
