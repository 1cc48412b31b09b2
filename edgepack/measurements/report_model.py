"""The parts of a device's report: what ran where, the device's state, times and answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgepack.measurements.latency_samples import KEPT, Mode
from edgepack.profiles.hardware import Text

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Milliseconds = Annotated[float, Field(gt=0, le=1e8, allow_inf_nan=False)]
Celsius = Annotated[float, Field(ge=-60, le=250, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0, le=2**50)]
BackendName = Literal["app", "benchmark_model", "portable"]
DelegateName = Literal["cpu", "xnnpack", "gpu", "nnapi"]


class StrictModel(BaseModel):
    """A frozen value that refuses unknown keys and values of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BackendRef(StrictModel):
    """What ran the model; ``sha256`` of the APK, the binary or the folder's archive."""

    name: BackendName
    version: Text
    sha256: Sha256 | None = None


class BundleRef(StrictModel):
    """What was run: ``sha256`` of the whole .edgepack file as the device read it."""

    name: Text
    profile: Text
    sha256: Sha256
    model_sha256: Sha256


class Device(StrictModel):
    """Where it ran.

    Attributes:
        fingerprint: Android's build fingerprint, elsewhere the system's own words.
        sdk: Android's API level; None elsewhere.
        abi: what the process ran as, such as ``arm64-v8a`` or ``armv7l``.
        ram_bytes: MemTotal, which the kernel gives after taking its own share.
        emulated: an emulator, whose wall time says nothing about a device.
    """

    manufacturer: Text
    model: Text
    fingerprint: Text
    sdk: Annotated[int, Field(ge=1, le=100)] | None = None
    release: Text
    abi: Text
    cpus: Annotated[int, Field(ge=1, le=1024)]
    ram_bytes: Bytes | None = None
    emulated: bool


class RuntimeRef(StrictModel):
    """The model runtime, by its own word where it has one."""

    name: Literal["tflite", "litert", "unknown"]
    version: Text
    sha256: Sha256 | None = None


class Conditions(StrictModel):
    """The state of the device just before or after the run; None where it does not say.

    Attributes:
        thermal_status: Android's 0 (none) to 6 (shutdown), from API 29 on.
        temperature_c: the hottest thermal zone that answered.
        clocks_khz: present clock of each processor.
    """

    thermal_status: Annotated[int, Field(ge=0, le=6)] | None = None
    temperature_c: Celsius | None = None
    battery_c: Celsius | None = None
    battery_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    plugged: bool | None = None
    power_save: bool | None = None
    governor: Text | None = None
    clocks_khz: Annotated[tuple[int, ...], Field(max_length=1024)] = ()


class Summary(StrictModel):
    """The times of a run in a few numbers; a back end without raw times has only these."""

    min_ms: Milliseconds
    max_ms: Milliseconds
    mean_ms: Milliseconds
    p50_ms: Milliseconds | None = None
    p90_ms: Milliseconds | None = None
    p95_ms: Milliseconds | None = None


class Memory(StrictModel):
    """Memory of the process; ``baseline`` was held before the model was loaded.

    Attributes:
        kind: ``pss`` (Android, shared pages divided), ``rss`` (Linux VmHWM) or ``delta``
            (a tool that prints the growth only, baseline 0).
    """

    kind: Literal["pss", "rss", "delta"]
    baseline_bytes: Bytes
    peak_bytes: Bytes


class Goldens(StrictModel):
    """The device's own answers to the bundle's golden rows, little-endian, in hexadecimal."""

    rows: Annotated[int, Field(ge=1, le=4096)]
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=2**24)], ...], Field(max_length=8)]
    dtype: Literal["int8", "uint8", "int16", "int32", "float32"]
    outputs_hex: Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$", max_length=8 * 2**20)]
    sha256: Sha256

    @model_validator(mode="after")
    def _whole(self) -> Goldens:
        raw = bytes.fromhex(self.outputs_hex)
        wanted = (
            self.rows * int(np.prod(self.shape, dtype=object)) * np.dtype(self.dtype).itemsize
        )
        if len(raw) != wanted:
            raise ValueError(f"wanted {wanted} B of golden outputs. Received: {len(raw)}")
        if hashlib.sha256(raw).hexdigest() != self.sha256:
            raise ValueError("the golden outputs differ from their digest")
        return self

    def array(self) -> NDArray[Any]:
        """Return the answers as ``(rows, *shape)``."""
        kind = np.dtype(self.dtype).newbyteorder("<")
        flat = np.frombuffer(bytes.fromhex(self.outputs_hex), kind)
        return flat.reshape((self.rows, *self.shape)).astype(self.dtype)


class DelegateAvailability(StrictModel):
    """A delegate that the device was asked about, and its answer."""

    name: DelegateName
    available: bool
    says: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How a bundle is run: what distinguishes two runs of one back end.

    Attributes:
        affinity: processors to bind to, a hexadecimal mask; None leaves them all.
        warmup: inferences before the first timed one.
    """

    mode: Mode = "full"
    delegate: DelegateName = "cpu"
    threads: int = 1
    affinity: str | None = None
    warmup: int = 16


class Run(StrictModel):
    """What was done and how long it took.

    Attributes:
        kernels: ``default`` is what the runtime does on its own, XNNPACK included.
        affinity: the processors it was bound to, as a hexadecimal mask; None for all.
        queries: timed inferences; seconds: from the first's start to the last's end.
        stride: ``samples_ms`` holds every stride-th time.
        samples_ms: the times in the order in which they came; empty where there are none.
    """

    delegate: DelegateName
    kernels: Literal["default", "builtin", "reference"]
    threads: Annotated[int, Field(ge=1, le=64)]
    affinity: Annotated[str, Field(pattern=r"^[0-9a-f]{1,16}$")] | None = None
    mode: Mode
    warmup: Annotated[int, Field(ge=0, le=10**9)]
    queries: Annotated[int, Field(ge=1, le=10**9)]
    seconds: Annotated[float, Field(gt=0, le=10**6, allow_inf_nan=False)]
    init_ms: Milliseconds | None = None
    first_ms: Milliseconds | None = None
    stride: Annotated[int, Field(ge=1, le=2**30)] = 1
    samples_ms: Annotated[tuple[Milliseconds, ...], Field(max_length=KEPT)] = ()
    summary: Summary

    @property
    def settings(self) -> RunSettings:
        """How the run was made, as the caller asked for it."""
        return RunSettings(
            mode=self.mode,
            delegate=self.delegate,
            threads=self.threads,
            affinity=self.affinity,
            warmup=self.warmup,
        )
