"""A device as edgepack knows it: what it has, what it carries, what it asks of a model.

Every number stands beside its source, because a gate is only as good as the figure it
compares with. What no source gives is absent, and the gate that needs it is inconclusive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, model_validator

from edgepack.profiles.hardware import (
    ByteCount,
    Core,
    Count,
    Cpu,
    EthosU,
    Name,
    Npu,
    Operator,
    Positive,
    ProfileTable,
    Ram,
    Soc,
    Sourced,
    SourcedBytes,
    SourcedFloat,
    SourcedShare,
    SourceText,
    Storage,
    System,
    Text,
    Word,
)

__all__ = [
    "Accuracy",
    "ByteCount",
    "CalibrationPoint",
    "CarriedRuntime",
    "Core",
    "Cpu",
    "Delegate",
    "Energy",
    "Latency",
    "Npu",
    "Profile",
    "Ram",
    "Soc",
    "Sourced",
    "SourcedBytes",
    "SourcedFloat",
    "Storage",
    "System",
]

Dtype = Literal[
    "float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool", "int4", "int2"
]


class CarriedRuntime(ProfileTable):
    """A model runtime that the device carries; the first one listed is judged.

    Attributes:
        name: ``tflite`` (tflite-runtime, TensorFlow Lite), ``litert``, ``tflm``.
        version: its release, such as ``2.14.0``; TFLM is a snapshot date.
        ops: builtin operators it was built with; empty means every builtin of the release.
        op_versions: highest version of an operator that this build takes, where that is
            not the release's own.
        kernels: ``builtin``, ``cmsis-nn``, ``esp-nn`` …
    """

    name: Literal["tflite", "litert", "tflm"]
    version: Word
    ops: tuple[Operator, ...] = ()
    op_versions: Mapping[Operator, Annotated[int, Field(strict=True, ge=1, le=100)]] = {}
    kernels: Literal["builtin", "reference", "cmsis-nn", "esp-nn", "xtensa-nn"] = "builtin"
    source: SourceText


class Delegate(ProfileTable):
    """An accelerator path and whether the model is expected to run on it whole.

    Attributes:
        name: the accelerator; for an NPU with its configuration (``ethos-u55-128``).
        version: its release, where it is not the runtime's own.
        required: an operator it does not take is a failure, not a remark.
        dtypes: what it computes in; empty where no source says.
        ops: operators it takes, where ``source`` lists fewer than its support table.
        supports: where the table of what it takes is kept: a page or a built-in table.
    """

    name: Literal[
        "xnnpack",
        "gpu",
        "nnapi",
        "hexagon",
        "edgetpu",
        "coreml",
        "cmsis-nn",
        "esp-nn",
        EthosU,
    ]
    version: Word | None = None
    required: bool = Field(default=False, strict=True)
    dtypes: tuple[Dtype, ...] = ()
    ops: tuple[Operator, ...] = ()
    supports: Text | None = None
    source: SourceText


class Accuracy(ProfileTable):
    """How much worse than the float model the device's model may be.

    Attributes:
        max_drop: largest loss of the task's score, as a share (0.01 = one point).
        min_class_recall: floor of each class's recall, as a share; None asks nothing.
        confidence: of the interval that decides, two-sided.
        confidence_source: why that confidence.
    """

    max_drop: SourcedShare
    min_class_recall: SourcedShare | None = None
    confidence: float = Field(default=0.95, gt=0.5, lt=1, allow_inf_nan=False)
    confidence_source: SourceText = "policy: 95 % two-sided, the usual choice"

    @model_validator(mode="after")
    def _said_why(self, info: ValidationInfo) -> Accuracy:
        written = bool(info.context and info.context.get("written"))
        said = self.model_fields_set
        if written and "confidence" in said and "confidence_source" not in said:
            raise ValueError("wanted confidence_source beside confidence. Received: none")
        return self


class Latency(ProfileTable):
    """The time one inference may take, and the CPU share the emulation grants."""

    p90_ms: SourcedFloat | None = None
    cpu_share: SourcedFloat | None = None


class Energy(ProfileTable):
    """The energy one inference may take, in microjoule."""

    per_inference_uj: SourcedFloat | None = None


class CalibrationPoint(ProfileTable):
    """A published or measured latency on this device, for turning counts into estimates.

    Attributes:
        model: name of the model, as the source calls it.
        runtime: what ran it, with its version where the source gives one.
        kernels: that computed the figure; without them as the runtime's name says.
        instructions: of one inference, counted under the emulator; without them the point
            helps to estimate only where its model is one that edgepack itself counted.
        energy_uj: energy of one inference in microjoule, where the source gives it.
    """

    model: Text
    runtime: Text
    kernels: Literal["builtin", "xnnpack"] | None = None
    precision: Literal["int8", "uint8", "float32", "float16"]
    threads: Count
    ms: Positive
    instructions: int | None = Field(default=None, strict=True, ge=1, le=10**15)
    energy_uj: Positive | None = None
    source: SourceText


class Profile(ProfileTable):
    """One device.

    Attributes:
        name: the file's name without ``.toml``.
        kind: decides which gates are asked (an ``mcu`` has no download or page size).
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: Name
    title: Text
    kind: Literal["tablet", "phone", "sbc", "mcu", "npu", "host"]
    soc: Soc | None = None
    cpu: Cpu
    npu: Npu | None = None
    ram: Ram = Ram()
    storage: Storage = Storage()
    system: System | None = None
    runtimes: tuple[CarriedRuntime, ...] = Field(min_length=1)
    delegates: tuple[Delegate, ...] = ()
    accuracy: Accuracy
    latency: Latency = Latency()
    energy: Energy = Energy()
    calibration: tuple[CalibrationPoint, ...] = ()
    notes: tuple[Text, ...] = ()

    @property
    def runtime(self) -> CarriedRuntime:
        """The runtime the device is judged with."""
        return self.runtimes[0]

    @property
    def page_bytes(self) -> int | None:
        """The size of a memory page; None where no source gives it."""
        return self.ram.page.value if self.ram.page else None
