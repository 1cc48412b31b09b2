"""What every runtime answers, whether on the host, in a container or under an emulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from numpy.typing import NDArray


class Ending(StrEnum):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What one run left behind.

    Attributes:
        ending: how it ended; the fields below are empty unless OK.
        says: one line about the ending.
        outputs: ``(N, *output_shape)`` of the first output tensor, in its own dtype; those
            of further tensors are in ``extra["more_outputs"]``.
        wall_ms: wall time of each timed inference; container wall time is not device latency.
        cpu_ms: thread CPU time of each timed inference.
        peak_rss_bytes: VmHWM of the process; baseline_rss_bytes what it held before the
            model was loaded (interpreter and runtime imported; the peak is reset there).
            With timed inferences all code is resident in both, and nothing of the worker's
            own grows between them: the difference repeats to the page or two. With more
            than one input row it holds the outputs that were kept as well.
        runtime: name and version that ran, such as ``ai-edge-litert 2.3.0``.
        extra: figures of one runtime only (instruction counts by class, arena bytes …).
    """

    ending: Ending
    says: str
    outputs: NDArray[Any] | None = None
    wall_ms: tuple[float, ...] = ()
    cpu_ms: tuple[float, ...] = ()
    peak_rss_bytes: int | None = None
    baseline_rss_bytes: int | None = None
    runtime: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


class Runtime(Protocol):
    """Anything that can run a .tflite and say what happened; never raises for a bad model."""

    @property
    def name(self) -> str: ...

    def run(self, job: Job) -> Trace: ...
