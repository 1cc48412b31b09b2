"""A device as edgepack knows it: what it has, what it carries, what it asks of a model.

Every number stands beside its source, because a gate is only as good as the figure it
compares with. What no source gives is absent, and the gate that needs it is inconclusive.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from edgepack.units import parse_bytes

T = TypeVar("T")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sourced(_Part, Generic[T]):
    """A value and where it comes from: a page, a datasheet, or ``policy: …`` for a choice."""

    value: T
    source: str = Field(min_length=3)


def _bytes(raw: Any) -> Any:
    return parse_bytes(raw) if isinstance(raw, str) else raw


ByteCount = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
SourcedBytes = Sourced[ByteCount]
SourcedFloat = Sourced[Annotated[float, Field(gt=0)]]


class Soc(_Part):
    """The chip."""

    vendor: str
    name: str
    source: str


class Core(_Part):
    """One cluster of equal cores."""

    name: str
    count: int = Field(gt=0)
    clock_mhz: float | None = Field(default=None, gt=0)
    source: str


class Cpu(_Part):
    """Instruction set and cores.

    Attributes:
        isa: what the operating system runs (a 64-bit core under a 32-bit Android is armv7).
        qemu_cpu: the emulator's name for the core; absent where it has none.
        features: ``neon``, ``dotprod``, ``dsp``, ``helium``, ``fpu`` …
    """

    isa: Literal[
        "amd64",
        "arm64",
        "armv7",
        "armv7e-m",
        "armv6-m",
        "armv8-m",
        "armv8.1-m",
        "xtensa",
        "riscv32",
        "riscv64",
    ]
    cores: tuple[Core, ...] = Field(min_length=1)
    qemu_cpu: str | None = None
    features: tuple[str, ...] = ()


class Ram(_Part):
    """Main memory, and the share of it that one model may take."""

    total: SourcedBytes | None = None
    budget: SourcedBytes | None = None


class Storage(_Part):
    """Flash or storage, and the share of it that one model file may take."""

    total: SourcedBytes | None = None
    budget: SourcedBytes | None = None
    download_budget: SourcedBytes | None = None


class System(_Part):
    """What runs on the chip."""

    name: str
    version: str | None = None
    api_level: int | None = None
    page_bytes: ByteCount | None = None
    source: str


class CarriedRuntime(_Part):
    """A model runtime that the device carries; the first one listed is judged.

    Attributes:
        name: ``tflite`` (tflite-runtime, TensorFlow Lite), ``litert``, ``tflm``.
        version: its release, such as ``2.14.0``; TFLM is a snapshot date.
        ops: builtin operators it was built with; empty means every builtin of the release.
        kernels: ``builtin``, ``cmsis-nn``, ``esp-nn`` …
    """

    name: Literal["tflite", "litert", "tflm"]
    version: str
    ops: tuple[str, ...] = ()
    kernels: str = "builtin"
    source: str


class Delegate(_Part):
    """An accelerator path and whether the model is expected to run on it whole.

    Attributes:
        name: ``xnnpack``, ``gpu``, ``nnapi``, ``hexagon``, ``edgetpu``, ``coreml``,
            ``ethos-u55-128`` …
        required: an operator it does not take is a failure, not a remark.
    """

    name: str
    version: str | None = None
    required: bool = False
    source: str


class Accuracy(_Part):
    """How much worse than the float model the device's model may be.

    Attributes:
        max_drop: largest loss of the task's score, as a share (0.01 = one point).
        min_class_recall: floor of each class's recall, as a share; None asks nothing.
        confidence: of the interval that decides, two-sided.
    """

    max_drop: Sourced[Annotated[float, Field(ge=0, le=1)]]
    min_class_recall: Sourced[Annotated[float, Field(ge=0, le=1)]] | None = None
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class Latency(_Part):
    """The time one inference may take, and the CPU share the emulation grants."""

    p90_ms: SourcedFloat | None = None
    cpu_share: SourcedFloat | None = None


class CalibrationPoint(_Part):
    """A published or measured latency on this device, for turning counts into estimates."""

    model: str
    runtime: str
    precision: Literal["int8", "uint8", "float32", "float16"]
    threads: int = Field(gt=0)
    ms: float = Field(gt=0)
    source: str


class Profile(_Part):
    """One device.

    Attributes:
        name: the file's name without ``.toml``.
        kind: decides which gates are asked (an ``mcu`` has no download or page size).
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    title: str
    kind: Literal["tablet", "phone", "sbc", "mcu", "npu", "host"]
    soc: Soc | None = None
    cpu: Cpu
    ram: Ram = Ram()
    storage: Storage = Storage()
    system: System | None = None
    runtimes: tuple[CarriedRuntime, ...] = Field(min_length=1)
    delegates: tuple[Delegate, ...] = ()
    accuracy: Accuracy
    latency: Latency = Latency()
    calibration: tuple[CalibrationPoint, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def runtime(self) -> CarriedRuntime:
        """The runtime the device is judged with."""
        return self.runtimes[0]
