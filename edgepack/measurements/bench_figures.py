"""What a bench measured in its device's stand-in: the figures behind the dynamic gates.

``edgepack bench --json`` prints them under these very names.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from edgepack.inference.protocol import ExitStatus, InstructionCounts


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InstructionFigures(_Figures):
    """Executed instructions of one inference.

    Attributes:
        by_class: of the last one, with their sum as ``total``.
        each: sums of all counted inferences.
    """

    by_class: dict[str, int]
    each: tuple[int, ...]

    @classmethod
    def of(cls, counts: InstructionCounts) -> InstructionFigures:
        """Return the figures of what was counted."""
        return cls(by_class={**counts.by_class, "total": counts.total}, each=counts.each)

    @property
    def total(self) -> int:
        """All instructions of the last inference."""
        return self.by_class["total"]


class GoldenFigures(_Figures):
    """How far a device's golden outputs are from the bundle's, in steps of the output.

    Attributes:
        worst, mean: a word and None where an output is not a number.
        top1_share: None where no row has one answer.
        delegates: nodes that a delegate took over; None where unknown.
    """

    rows: int
    differing_values: int
    values: int
    worst: float | str
    mean: float | None
    top1_share: float | None
    agreeing_share: float | None
    delegates: int | None = None


class MemoryFigures(_Figures):
    """Three runs of the memory gate and what they took; None where a run did not end well.

    Attributes:
        canary: how the control process ended that allocates more than the limit.
        free, limited: how the model ended without a limit and under it.
        need_bytes: what the model added to its process at its peak.
        baseline_bytes: what the process held before.
        limit_bytes: the container's limit.
        code_was_charged: the runtime's code pages may be counted as the model's.
        anon_bytes: the part of the need that is no file's page.
    """

    budget_bytes: int
    canary: ExitStatus
    free: ExitStatus
    limited: ExitStatus
    need_bytes: int | None = None
    baseline_bytes: int | None = None
    limit_bytes: int | None = None
    code_was_charged: bool | None = None
    anon_bytes: int | None = None


class Percentiles(_Figures):
    """Times in milliseconds, each one that was seen."""

    p50: float
    p90: float
    p99: float


class SandboxTimes(_Figures):
    """Times of a container of this machine under the profile's quota; not the device's."""

    how: str
    what: str
    cpu_share: float | None
    inferences: int
    wall_ms: Percentiles | None
    thread_cpu_ms: Percentiles | None


class LatencyFigures(_Figures):
    """Milliseconds of an inference on the device, as a range computed from its instructions.

    Attributes:
        level: whose figures: ``runtime`` (this device with this runtime), ``device``,
            ``core``, ``family``, ``none``.
        grounds: the same in words.
    """

    low_ms: float
    high_ms: float
    how: str
    level: str
    grounds: str


class SoakFigures(_Figures):
    """Memory after settling and at the end of a long run."""

    settled_bytes: int
    final_bytes: int


class BenchFigures(_Figures):
    """All figures of one bench; None for what did not run or was not asked."""

    image: str
    image_id: str
    native_image: str
    engine: str
    kernels: str
    remark: str
    instructions: InstructionFigures | None = None
    goldens_device: GoldenFigures | None = None
    goldens_kernels: GoldenFigures | None = None
    memory: MemoryFigures | None = None
    sandbox_times: SandboxTimes | None = None
    latency: LatencyFigures | None = None
    soak: SoakFigures | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the keys of ``bench --json``; what did not run is an empty object."""
        plain = self.model_dump(mode="json", exclude=None if self.soak else {"soak"})
        return {name: {} if value is None else value for name, value in plain.items()}
