"""A self-contained folder on a device: the sandbox's own worker, on a board or a phone."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import numpy as np

from edgepack.device import description as describe
from edgepack.device.backends.backend import Order, now
from edgepack.device.links.link import Link, Unplugged, put
from edgepack.errors import RuntimeFailure, UsageError
from edgepack.files import sha256
from edgepack.inference.exit_status import trace_from
from edgepack.inference.protocol import ExitStatus, Job, Trace
from edgepack.inference.wire_format import MAX_FRAME_BYTES, job_files
from edgepack.measurements.device_report import Report
from edgepack.measurements.latency_samples import MINIMA, mean, percentile
from edgepack.measurements.report_model import (
    BackendName,
    BackendRef,
    Conditions,
    Goldens,
    Memory,
    Run,
    RuntimeRef,
    Summary,
)

_LIMIT_S = 1800.0
_RUNTIMES = {"tflite-runtime": "tflite", "ai-edge-litert": "litert"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Portable:
    """The folder of ``device.folder.pack``, pushed as one tar (one by one took 43 s).

    Attributes:
        archive: the tar.
        emulator: a program that runs foreign code; with it nothing is a device's time.
        kernels: ``default`` for times, ``reference`` for bit-exact golden answers.
    """

    archive: bytes
    emulator: str = ""
    kernels: str = "default"

    @property
    def name(self) -> BackendName:
        return "portable"

    @property
    def sha256(self) -> str:
        return sha256(self.archive)

    def _place(self, link: Link) -> str:
        return f"{link.folder}/portable-{self.sha256[:16]}"

    def install(self, link: Link) -> str:
        """Unpack the folder on the device where it is not there yet, whole or not at all."""
        place = self._place(link)
        if link.run(f"test -f {place}/complete").code == 0:
            return f"folder {self.sha256[:12]} was there"
        put(link, self.archive, f"{place}.tar")
        done = link.run(
            f"rm -rf {place} && mkdir -p {place} && tar xf {place}.tar -C {place}"
            f" && touch {place}/complete && rm -f {place}.tar",
            timeout_s=600,
        )
        if done.code:
            link.run(f"rm -rf {place}")
            raise RuntimeFailure(
                f"{link.name}: cannot unpack the folder: {done.last_line()}; it needs about"
                f" {2 * len(self.archive):,} B free and a 'tar' (Android 6 and later)"
            )
        return f"folder {self.sha256[:12]} installed"

    def run(self, link: Link, order: Order) -> Report:
        """Return the report of one run of the worker."""
        if order.delegate not in {"cpu", "xnnpack"}:
            raise UsageError(f"portable: runs on the CPU only. Received: {order.delegate}")
        least, started = MINIMA[order.mode], now()
        job = Job(
            model=order.bundle.model,
            inputs=order.bundle.array("golden/inputs.npy"),
            kernels=self.kernels,
            repeats=least.queries,
            warmup=order.warmup,
            threads=order.threads,
            timeout_s=_LIMIT_S,
            min_seconds=least.seconds,
        )
        before = describe.conditions(link)
        trace = self._traced(link, job, order)
        after = describe.conditions(link)
        return self._report(link, order, (started, before, after), trace)

    def _traced(self, link: Link, job: Job, order: Order) -> Trace:
        jobs = f"{link.folder}/job-{order.identity(self)[:16]}"
        for name, content in job_files(job).items():
            link.push(content, f"{jobs}/{name}")
        bind = f"taskset {order.affinity} " if order.affinity else ""
        emulator = f"EDGEPACK_EMULATOR={shlex.quote(self.emulator)} " if self.emulator else ""
        try:
            done = link.run(
                f"{emulator}{bind}sh {self._place(link)}/run {jobs}"
                f" > {jobs}/frame 2> {jobs}/errors",
                timeout_s=job.timeout_s,
            )
            frame = link.pull(f"{jobs}/frame", MAX_FRAME_BYTES)
            errors = link.pull(f"{jobs}/errors", 2**20)
        except Unplugged:
            raise
        except RuntimeFailure as error:
            return Trace(status=ExitStatus.ERROR, says=str(error)[:300])
        finally:
            self._clear(link, jobs)
        return trace_from(
            code=done.code,
            stdout=frame,
            stderr=errors,
            timeout_s=job.timeout_s,
            timed_out=False,
            oom_killed=done.code == 137,  # nobody but the low-memory killer sends it there
        )

    def _clear(self, link: Link, jobs: str) -> None:
        try:
            link.run(f"rm -rf {jobs}")
        except Unplugged:
            return  # its name tells its content: the next run overwrites it

    def _report(
        self, link: Link, order: Order, felt: tuple[str, Conditions, Conditions], trace: Trace
    ) -> Report:
        ok = trace.status is ExitStatus.OK
        package, _, version = trace.runtime.partition(" ")
        device = describe.device(link)
        machine = str(trace.machine or device.abi)
        ending = "ok" if ok else "error" if trace.status is ExitStatus.ERROR else "crash"
        return Report.model_validate(
            {
                "schema": "edgepack.device-report/1",
                "identity": order.identity(self),
                "started_at": felt[0],
                "ending": ending,
                "says": " ".join(trace.says.split())[:500] or "no word",
                "backend": BackendRef(name=self.name, version="1", sha256=self.sha256),
                "bundle": order.reference,
                "device": device.model_copy(
                    update={"abi": machine, "emulated": device.emulated or bool(self.emulator)}
                ),
                "runtime": RuntimeRef.model_validate(
                    {"name": _RUNTIMES.get(package, "unknown"), "version": version or "unknown"}
                ),
                "before": felt[1],
                "after": felt[2],
                "run": run_of(trace, order, self.kernels) if ok else None,
                "memory": _memory(trace),
                "goldens": goldens_of(trace),
            }
        )


def run_of(trace: Trace, order: Order, kernels: str) -> Run:
    """Return the times of a finished trace as a report has them."""
    times = trace.wall_ms
    queries = trace.inferences
    stride = 1
    while -(-queries // stride) > len(times):
        stride *= 2  # the worker keeps every 2nd, 4th … time of a long run
    summed = sum(times) * stride / 1e3
    return Run.model_validate(
        {
            "delegate": order.delegate,
            "kernels": kernels,
            "threads": order.threads,
            "affinity": order.affinity,
            "mode": order.mode,
            "warmup": order.warmup,
            "queries": queries,
            # the worker ends no sooner than the minimum; feeding inputs is not in the times
            "seconds": max(summed, MINIMA[order.mode].seconds),
            "stride": stride,
            "samples_ms": times,
            "summary": Summary(
                min_ms=min(times),
                max_ms=max(times),
                mean_ms=mean(times),
                p50_ms=percentile(times, 0.5),
                p90_ms=percentile(times, 0.9),
            ),
        }
    )


def goldens_of(trace: Trace) -> Goldens | None:
    """Return the golden answers of a finished trace."""
    if trace.outputs is None:
        return None
    plain = np.ascontiguousarray(trace.outputs)
    raw = plain.astype(plain.dtype.newbyteorder("<")).tobytes()
    return Goldens.model_validate(
        {
            "rows": len(plain),
            "shape": plain.shape[1:],
            "dtype": str(plain.dtype),
            "outputs_hex": raw.hex(),
            "sha256": sha256(raw),
        }
    )


def _memory(trace: Trace) -> Memory | None:
    if trace.memory is None:
        return None
    return Memory(
        kind="rss",
        baseline_bytes=trace.memory.baseline_rss_bytes,
        peak_bytes=trace.memory.peak_rss_bytes,
    )
