"""What every runtime answers, whether on the host, in a container or under an emulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as pydantic_dataclass


class ExitStatus(StrEnum):
    """How a run ended; five different findings, never folded into one."""

    OK = "ok"
    OOM = "oom"
    CRASH = "crash"
    TIMEOUT = "timeout"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One model run to be made.

    Attributes:
        model: the .tflite bytes.
        inputs: ``(N, *input_shape)`` in the model's own input dtype (int8 for a full-int8
            model), one inference a row, batch 1.
        kernels: ``reference`` (bit-exact everywhere), ``builtin`` (optimised, no delegate)
            or ``default`` (what the runtime would do on its own, XNNPACK included).
        repeats: timed inferences after the rows were run once; 0 measures nothing.
        warmup: untimed inferences before the timed ones.
        threads: interpreter threads; 1 for anything reproducible.
        timeout_s: the run is ended after this wall time.
        more_inputs: arrays of the 2nd, 3rd … input tensor, row by row with ``inputs``.
        min_seconds: timed inferences go on until both this and ``repeats`` are reached.
    """

    model: bytes
    inputs: NDArray[Any]
    kernels: str = "default"
    repeats: int = 0
    warmup: int = 0
    threads: int = 1
    timeout_s: float = 120.0
    more_inputs: tuple[NDArray[Any], ...] = ()
    min_seconds: float = 0.0


@pydantic_dataclass(
    frozen=True,
    slots=True,
    kw_only=True,
    config=ConfigDict(extra="forbid", allow_inf_nan=False),
)
class ProcessMemory:
    """What a run's process held, in bytes; read by the worker, checked as it comes in.

    With timed inferences all code is resident in peak and baseline, and nothing of the
    worker's own grows between them: their difference repeats to the page or two. With more
    than one input row it holds the outputs that were kept as well.

    Attributes:
        peak_rss_bytes: VmHWM at the end.
        baseline_rss_bytes: VmRSS before the model was loaded, with interpreter and runtime
            imported; the peak is reset there.
        imported_rss_bytes: VmRSS just after the imports, before the code was made resident.
        anon_bytes: RssAnon at the end; baseline_anon_bytes before the model was loaded.
        code_is_resident: every page of the libraries was made resident beforehand.
        anon_samples: (seconds, RssAnon) over the timed inferences.
    """

    peak_rss_bytes: int
    baseline_rss_bytes: int
    imported_rss_bytes: int | None = None
    anon_bytes: int = 0
    baseline_anon_bytes: int = 0
    code_is_resident: bool = False
    anon_samples: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionCounts:
    """Executed instructions of one inference, less those of the marks around it.

    Attributes:
        by_class: of the last counted inference: int, muldiv, load, store, simd, branch, other.
        each: totals of all counted inferences, in their order.
        overhead: what the two marks cost around nothing.
    """

    by_class: Mapping[str, int]
    each: tuple[int, ...]
    overhead: int = 0

    @property
    def total(self) -> int:
        """All instructions of the last counted inference."""
        return sum(self.by_class.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What one run left behind.

    Attributes:
        status: how it ended; what follows ``says`` is empty unless OK.
        says: one line about how it ended.
        outputs: ``(N, *output_shape)`` of the first output tensor, in its own dtype.
        more_outputs: the same of the 2nd, 3rd … output tensor.
        inferences: how many were timed; of a long run every 2nd, 4th … time is kept.
        wall_ms: wall time of each timed inference; container wall time is not device latency.
        cpu_ms: thread CPU time of each timed inference.
        process_cpu_s: CPU time of the whole process, imports included.
        memory: None where the runtime reads none.
        instructions: None unless they were counted.
        blank_pairs: pairs of marks around nothing that came before the counted inferences.
        delegates: nodes that a delegate took over; None where unknown.
        runtime: name and version that ran, such as ``ai-edge-litert 2.3.0``.
        machine: what ``uname -m`` says there.
        stderr: the last of what it wrote there, on one line; also of a run that failed.
        container_s: wall time of the container; None outside of one.
    """

    status: ExitStatus
    says: str
    outputs: NDArray[Any] | None = None
    more_outputs: tuple[NDArray[Any], ...] = ()
    inferences: int = 0
    wall_ms: tuple[float, ...] = ()
    cpu_ms: tuple[float, ...] = ()
    process_cpu_s: float | None = None
    memory: ProcessMemory | None = None
    instructions: InstructionCounts | None = None
    blank_pairs: int = 0
    delegates: int | None = None
    runtime: str = ""
    machine: str = ""
    stderr: str = ""
    container_s: float | None = None


class Runtime(Protocol):
    """Anything that can run a .tflite and say what happened; never raises for a bad model."""

    @property
    def name(self) -> str: ...

    def run(self, job: Job) -> Trace: ...
