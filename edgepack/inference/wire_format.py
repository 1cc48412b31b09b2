"""What goes into a run and what comes out, as bytes; nothing here trusts the other side.

The worker runs models that may be hostile, so its frame is read like any file from
outside: sizes before use, no pickles, no dtype but plain numbers.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgepack.inference import worker
from edgepack.inference.protocol import ExitStatus, Job, ProcessMemory, Trace

MAX_HEADER_BYTES = 8 * 2**20
MAX_FRAME_BYTES = 2**30
_DTYPES = frozenset({"b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"})


class BrokenFrame(ValueError):  # noqa: N818 - reads as what it is
    """The worker's answer is not a frame; says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerJob:
    """The job.json that the worker reads; ``marks`` asks for counted inferences."""

    kernels: str
    threads: int
    warmup: int
    repeats: int
    min_seconds: float
    inputs: int
    marks: bool = False


class ArrayForm(BaseModel):
    """Dtype and shape of one output that follows the header."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: str
    shape: tuple[Annotated[int, Field(ge=0)], ...]


class RunHeader(BaseModel):
    """The header of the worker's answer: what both workers write, and all that is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    status: ExitStatus
    says: str
    arrays: tuple[ArrayForm, ...]
    runtime: str = ""
    machine: str = ""
    inferences: Annotated[int, Field(ge=0)] = 0
    wall_ms: tuple[float, ...] = ()
    cpu_ms: tuple[float, ...] = ()
    process_cpu_s: float | None = None
    memory: ProcessMemory | None = None
    blank_pairs: Annotated[int, Field(ge=0)] = 0
    delegates: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """The worker's answer, checked."""

    header: RunHeader
    arrays: tuple[NDArray[Any], ...] = field(default_factory=tuple)


def job_files(job: Job, *, marks: bool = False) -> dict[str, bytes]:
    """Return the files of a job folder by name.

    Raises:
        ValueError: no rows, or unlike numbers of rows, or an unknown kernel choice.
    """
    arrays = (job.inputs, *job.more_inputs)
    rows = {len(array) if array.ndim else 0 for array in arrays}
    if len(rows) != 1 or 0 in rows:
        raise ValueError(f"wanted equally many input rows, at least one. Received: {rows}")
    if job.kernels not in ("reference", "builtin", "default"):
        raise ValueError(f"kernels: reference, builtin or default. Received: {job.kernels!r}")
    plan = WorkerJob(
        kernels=job.kernels,
        threads=job.threads,
        warmup=job.warmup,
        repeats=job.repeats,
        min_seconds=job.min_seconds,
        inputs=len(arrays),
        marks=marks,
    )
    files = {"model.tflite": job.model, "job.json": json.dumps(asdict(plan)).encode()}
    for place, array in enumerate(arrays):
        packed = io.BytesIO()
        np.save(packed, np.ascontiguousarray(array), allow_pickle=False)
        files[f"inputs-{place}.npy"] = packed.getvalue()
    return files


def read_frame(raw: bytes) -> Frame:
    """Return the checked frame in ``raw``.

    Raises:
        BrokenFrame: truncated, oversized, or not of the worker's form.
    """
    start = len(worker.MAGIC)
    if not raw.startswith(worker.MAGIC):
        raise BrokenFrame(f"no frame in {len(raw)} bytes of output")
    digits, body = raw[start : start + 9], start + 9
    if not (digits[:8].isdigit() and digits[8:] == b"\n" and int(digits) <= MAX_HEADER_BYTES):
        raise BrokenFrame(f"no header length where one belongs: {digits!r}")
    end = body + int(digits)
    try:
        header = RunHeader.model_validate_json(raw[body:end])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "its text"
        raise BrokenFrame(
            f"the header is not what the worker writes: {place}: {first['msg']}"
        ) from error
    arrays = []
    for form in header.arrays:
        if form.dtype.lstrip("<|") not in _DTYPES:
            raise BrokenFrame(f"an output of dtype {form.dtype} and shape {form.shape}")
        kind = np.dtype(form.dtype)
        size = math.prod(form.shape) * kind.itemsize
        if end + size > len(raw):
            raise BrokenFrame(f"truncated: {end + size} bytes announced, {len(raw)} came")
        arrays.append(np.frombuffer(raw[end : end + size], kind).reshape(form.shape))
        end += size
    if end != len(raw):
        raise BrokenFrame(f"{len(raw) - end} bytes after the last output")
    return Frame(header, tuple(arrays))


def trace_of(frame: Frame, *, stderr: str = "", container_s: float | None = None) -> Trace:
    """Return the Trace that an untroubled frame tells.

    Raises:
        BrokenFrame: it says ok, and the outputs or figures of a run are missing.
    """
    header = frame.header
    status, says = header.status, header.says[:500]
    if status is not ExitStatus.OK:
        return Trace(status=status, says=says, stderr=stderr, container_s=container_s)
    if header.memory is None:
        raise BrokenFrame("the run says ok and tells no memory")
    if not frame.arrays:
        raise BrokenFrame("the run says ok and gives no output")
    return Trace(
        status=status,
        says=says,
        outputs=frame.arrays[0],
        more_outputs=frame.arrays[1:],
        inferences=header.inferences,
        wall_ms=header.wall_ms,
        cpu_ms=header.cpu_ms,
        process_cpu_s=header.process_cpu_s,
        memory=header.memory,
        blank_pairs=header.blank_pairs,
        delegates=header.delegates,
        runtime=header.runtime[:80],
        machine=header.machine[:40],
        stderr=stderr,
        container_s=container_s,
    )
