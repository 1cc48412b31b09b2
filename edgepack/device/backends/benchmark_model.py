"""The official ``benchmark_model`` binary, which the user brings, on a device by shell."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from pydantic import ValidationError

from edgepack.device import description as describe
from edgepack.device.backends import benchmark_log
from edgepack.device.backends.backend import Order, now
from edgepack.device.backends.benchmark_log import Benchmark
from edgepack.device.links.link import Answer, Link, put
from edgepack.errors import RuntimeFailure, UsageError
from edgepack.files import sha256
from edgepack.measurements.device_report import Report
from edgepack.measurements.latency_samples import MINIMA
from edgepack.measurements.report_model import (
    BackendName,
    BackendRef,
    Conditions,
    Run,
    RuntimeRef,
)

_FLAGS = {
    "cpu": "",
    "xnnpack": "--use_xnnpack=true",
    "gpu": "--use_gpu=true",
    "nnapi": "--use_nnapi=true",
}
_LIMIT_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkModel:
    """Times only: the tool answers no golden rows, so its report leaves that gate open.

    Attributes:
        binary: the ELF file for the device's ABI.
        version: of the runtime inside, as the user knows it; the tool does not tell.
    """

    binary: bytes
    runtime: RuntimeRef = field(
        default_factory=lambda: RuntimeRef(name="unknown", version="not stated")
    )

    def __post_init__(self) -> None:
        if not self.binary.startswith(b"\x7fELF"):
            raise UsageError(
                "benchmark_model: wanted an ELF binary for the device. Received a file that"
                f" begins with {self.binary[:4]!r}"
            )

    @property
    def name(self) -> BackendName:
        return "benchmark_model"

    @property
    def sha256(self) -> str:
        return sha256(self.binary)

    def _place(self, link: Link) -> str:
        return f"{link.folder}/benchmark_model-{self.sha256[:16]}"

    def install(self, link: Link) -> str:
        """Push the binary where it is not there yet."""
        sent = put(link, self.binary, self._place(link), mode=0o755)
        if link.run(f"chmod 755 {self._place(link)}").code:
            raise RuntimeFailure(f"{link.name}: cannot make {self._place(link)} executable")
        return f"benchmark_model {self.sha256[:12]} {'installed' if sent else 'was there'}"

    def run(self, link: Link, order: Order) -> Report:
        """Return the report of one benchmark."""
        model = f"{link.folder}/{order.reference.model_sha256}.tflite"
        put(link, order.bundle.model, model)
        least, started = MINIMA[order.mode], now()
        bind = f"taskset {order.affinity} " if order.affinity else ""
        command = (
            f"cd {shlex.quote(link.folder)} && {bind}{self._place(link)} --graph={model}"
            f" --num_threads={order.threads} --warmup_runs={order.warmup}"
            f" --num_runs={least.queries} --min_secs={least.seconds:g}"
            f" --max_secs={_LIMIT_S} {_FLAGS[order.delegate]} 2>&1"
        )
        before = describe.conditions(link)
        answer = link.run(command, timeout_s=_LIMIT_S + 120)
        after = describe.conditions(link)
        return self._report(link, order, (started, before, after), answer)

    def _report(
        self,
        link: Link,
        order: Order,
        felt: tuple[str, Conditions, Conditions],
        answer: Answer,
    ) -> Report:
        ending, says, run, memory = "ok", "ran", None, None
        try:
            found = benchmark_log.read(answer.out)
            if found.delegate_failed and order.delegate in {"gpu", "nnapi"}:
                ending, says = "unavailable", found.delegate_failed.strip()[:300]
            else:
                memory, run = found.memory, _run(found, order)
        except RuntimeFailure as error:
            ending, says = (
                ("crash" if answer.code > 128 else "error"),
                f"exit code {answer.code}: {error}"[:500],
            )
        return Report.model_validate(
            {
                "schema": "edgepack.device-report/1",
                "identity": order.identity(self),
                "started_at": felt[0],
                "ending": ending,
                "says": " ".join(says.split()),
                "backend": BackendRef(name=self.name, version="1", sha256=self.sha256),
                "bundle": order.reference,
                "device": describe.device(link),
                "runtime": self.runtime,
                "before": felt[1],
                "after": felt[2],
                "run": run,
                "memory": memory,
            }
        )


def _run(found: Benchmark, order: Order) -> Run:
    """Return the log's numbers as a report has them.

    Raises:
        RuntimeFailure: a number that no run can have.
    """
    try:
        return Run(
            delegate=order.delegate,
            kernels="default",
            threads=order.threads,
            affinity=order.affinity,
            mode=order.mode,
            warmup=order.warmup,
            queries=found.queries,
            seconds=found.seconds,
            init_ms=found.init_ms or None,
            first_ms=found.first_ms or None,
            summary=found.summary,
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RuntimeFailure(
            f"benchmark_model's log tells what no run can: {place}: {first['msg']}"
        ) from error
