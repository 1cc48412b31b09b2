"""The official ``benchmark_model`` binary, which the user brings, and what it prints.

Source of the log's form: tensorflow/lite/tools/benchmark/benchmark_model.cc and
tensorflow/core/util/stats_calculator.h (the percentiles came later than 2.9).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

from pydantic import ValidationError

from edgepack.device import description
from edgepack.device.backends.backend import Observed, RunRequest, utc_now
from edgepack.device.links.link import CommandResult, Link, push_once
from edgepack.errors import RuntimeFailure, UsageError
from edgepack.files import sha256
from edgepack.measurements.device_report import Report
from edgepack.measurements.latency_samples import MINIMA
from edgepack.measurements.report_model import (
    BackendName,
    BackendRef,
    Memory,
    Run,
    RuntimeRef,
    Summary,
)

_FLAGS = {
    "cpu": "",
    "xnnpack": "--use_xnnpack=true",
    "gpu": "--use_gpu=true",
    "nnapi": "--use_nnapi=true",
}
_LIMIT_S = 1800

_STATS = re.compile(r"^count=(\d+)((?: \w+=[0-9.e+-]+)+)\s*$", re.M)
_PAIR = re.compile(r"(\w+)=([0-9.e+-]+)")
_TIMINGS = re.compile(r"^(?:\S+ )*Inference timings in us: (.*)$", re.M)
_NAMED = re.compile(r"(Init|First inference|Warmup \(avg\)|Inference \(avg\)): ([0-9.e+-]+)")
_MEMORY = re.compile(
    r"^(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\):"
    r" init=([0-9.e+-]+) overall=([0-9.e+-]+)[ \t]*\n",  # a cut line has a cut number
    re.M,
)
_PREFIX = re.compile(
    r"^(?:INFO: |I/tflite\s*\(\s*\d+\): |\d\d-\d\d [0-9:.]+ .*? I tflite\s*: )", re.M
)
_FELL_BACK = re.compile(
    r"^.*(?:Failed to apply .* delegate|delegate .* fail|Though .* (?:delegate|NNAPI)"
    r".* the model graph will not be executed by the delegate).*$",
    re.M | re.I,
)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The log in numbers; ``delegate_failed`` is the line that says a delegate did not run."""

    queries: int
    summary: Summary
    init_ms: float
    first_ms: float
    seconds: float
    memory: Memory | None
    delegate_failed: str | None


def parse_log(log: str) -> Benchmark:
    """Return the numbers of a finished benchmark.

    Raises:
        RuntimeFailure: the log has no final timings: the tool failed; quotes its last line.
    """
    text = _PREFIX.sub("", log.replace("\r", ""))
    timings = _TIMINGS.search(text)
    runs = _STATS.findall(text)
    named = dict(_NAMED.findall(timings[1])) if timings else {}
    if len(named) < 4 or not runs:
        last = next((one for one in reversed(text.splitlines()) if one.strip()), "no output")
        raise RuntimeFailure(
            f"benchmark_model gave no timings; its last words: {last.strip()[:200]}"
        )
    try:
        # the first block is the warm-up, the last one the inferences that count
        count, stats = int(runs[-1][0]), {k: float(v) for k, v in _PAIR.findall(runs[-1][1])}
        mean = stats["avg"] / 1e3
        summary = Summary(
            min_ms=stats["min"] / 1e3,
            max_ms=stats["max"] / 1e3,
            mean_ms=mean,
            p50_ms=stats["median"] / 1e3 if "median" in stats else None,
            p95_ms=stats["p95"] / 1e3 if "p95" in stats else None,
        )
        memory = _logged_memory(text)
        init, first = (float(named[name]) / 1e3 for name in ("Init", "First inference"))
    except (ValueError, KeyError, OverflowError) as error:
        raise RuntimeFailure(f"benchmark_model's log cannot be read: {error}") from error
    failed = _FELL_BACK.search(text)
    return Benchmark(
        count, summary, init, first, count * mean / 1e3, memory, failed[0] if failed else None
    )


def _logged_memory(text: str) -> Memory | None:
    found = _MEMORY.search(text)
    if found is None:
        return None
    overall = float(found[2])
    # the tool divides by 1024 twice; -1 is its word for "unsupported here"
    return (
        Memory(kind="delta", baseline_bytes=0, peak_bytes=int(overall * 2**20))
        if overall >= 0
        else None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkModel:
    """Times only: the tool answers no golden rows, so its report leaves that gate open.

    Attributes:
        binary: the ELF file for the device's ABI.
        version: of the runtime inside, as the user knows it; the tool does not print it.
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
        sent = push_once(link, self.binary, self._place(link), mode=0o755)
        if link.run(f"chmod 755 {self._place(link)}").code:
            raise RuntimeFailure(f"{link.name}: cannot make {self._place(link)} executable")
        return f"benchmark_model {self.sha256[:12]} {'installed' if sent else 'was there'}"

    def run(self, link: Link, request: RunRequest) -> Report:
        """Return the report of one benchmark."""
        model = f"{link.folder}/{request.reference.model_sha256}.tflite"
        push_once(link, request.bundle.model, model)
        least, started = MINIMA[request.mode], utc_now()
        bind = f"taskset {request.affinity} " if request.affinity else ""
        command = (
            f"cd {shlex.quote(link.folder)} && {bind}{self._place(link)} --graph={model}"
            f" --num_threads={request.threads} --warmup_runs={request.warmup}"
            f" --num_runs={least.queries} --min_secs={least.seconds:g}"
            f" --max_secs={_LIMIT_S} {_FLAGS[request.delegate]} 2>&1"
        )
        before = description.read_conditions(link)
        answer = link.run(command, timeout_s=_LIMIT_S + 120)
        after = description.read_conditions(link)
        return self._report(
            link, request, Observed(started_at=started, before=before, after=after), answer
        )

    def _report(
        self,
        link: Link,
        request: RunRequest,
        observed: Observed,
        answer: CommandResult,
    ) -> Report:
        ending, says, run, memory = "ok", "ran", None, None
        try:
            found = parse_log(answer.out)
            if found.delegate_failed and request.delegate in {"gpu", "nnapi"}:
                ending, says = "unavailable", found.delegate_failed.strip()[:300]
            else:
                memory, run = found.memory, _run(found, request)
        except RuntimeFailure as error:
            ending, says = (
                ("crash" if answer.code > 128 else "error"),
                f"exit code {answer.code}: {error}"[:500],
            )
        return Report.model_validate(
            {
                "schema": "edgepack.device-report/1",
                "identity": request.identity(self),
                "started_at": observed.started_at,
                "ending": ending,
                "says": " ".join(says.split()),
                "backend": BackendRef(name=self.name, version="1", sha256=self.sha256),
                "bundle": request.reference,
                "device": description.read_device(link),
                "runtime": self.runtime,
                "before": observed.before,
                "after": observed.after,
                "run": run,
                "memory": memory,
            }
        )


def _run(found: Benchmark, request: RunRequest) -> Run:
    """Return the log's numbers as a report has them.

    Raises:
        RuntimeFailure: a number that no run can have.
    """
    try:
        return Run(
            delegate=request.delegate,
            kernels="default",
            threads=request.threads,
            affinity=request.affinity,
            mode=request.mode,
            warmup=request.warmup,
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
            f"benchmark_model's log holds an impossible value: {place}: {first['msg']}"
        ) from error
