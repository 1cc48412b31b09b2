"""What goes into a run and what comes out, as bytes; nothing here trusts the other side.

The worker runs models that may be hostile, so its frame is read like any file from
outside: sizes before use, no pickles, no dtype but plain numbers.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.inference import worker
from edgepack.inference.protocol import Ending, Job, Trace

MAX_HEADER_BYTES = 8 * 2**20
MAX_FRAME_BYTES = 2**30
_DTYPES = frozenset({"b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"})
_FIGURES = ("peak_rss_bytes", "baseline_rss_bytes")
_WHOLE = ("imported_rss_bytes", "rss_anon_bytes", "baseline_anon_bytes", "inferences", "blanks")


class BrokenFrame(ValueError):  # noqa: N818 - reads as what it is
    """The worker's answer is not a frame; says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The job.json that the worker reads; ``marks`` asks for counted inferences."""

    kernels: str
    threads: int
    warmup: int
    repeats: int
    min_seconds: float
    inputs: int
    marks: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """The worker's answer, checked."""

    header: dict[str, Any]
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
    plan = Plan(
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
        header = json.loads(raw[body:end])
        header["ending"] = Ending(header["ending"])
        header["says"] = str(header["says"])
        described = [
            (str(one["dtype"]), tuple(int(n) for n in one["shape"])) for one in header["arrays"]
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BrokenFrame(f"the header is not what the worker writes: {error!r}") from error
    arrays = []
    for dtype, shape in described:
        if dtype.lstrip("<|") not in _DTYPES or min(shape, default=0) < 0:
            raise BrokenFrame(f"an output of dtype {dtype} and shape {shape}")
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        if end + size > len(raw):
            raise BrokenFrame(f"truncated: {end + size} bytes announced, {len(raw)} came")
        arrays.append(np.frombuffer(raw[end : end + size], kind).reshape(shape))
        end += size
    if end != len(raw):
        raise BrokenFrame(f"{len(raw) - end} bytes after the last output")
    return Frame(header, tuple(arrays))


def _real(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"wanted a finite number. Received: {number}")
    return number


def trace_of(frame: Frame, **extra: Any) -> Trace:
    """Return the Trace that an untroubled frame tells.

    Raises:
        BrokenFrame: a figure is missing or is not a number.
    """
    header = frame.header
    if header["ending"] is not Ending.OK:
        return Trace(ending=header["ending"], says=header["says"][:500], extra=extra)
    try:
        figures = {str(key): value for key, value in header["figures"].items()}
        figures |= {name: int(figures[name]) for name in _WHOLE if name in figures}
        if "rss_anon_samples" in figures:
            pairs = [(_real(at), _real(size)) for at, size in figures["rss_anon_samples"]]
            figures["rss_anon_samples"] = pairs
        peak, baseline = (int(header[name]) for name in _FIGURES)
        times = [tuple(_real(ms) for ms in header[name]) for name in ("wall_ms", "cpu_ms")]
        machine, runtime = str(header["machine"])[:40], str(header["runtime"])[:80]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BrokenFrame(f"the header lacks its figures: {error!r}") from error
    if not frame.arrays:
        raise BrokenFrame("the run says ok and gives no output")
    return Trace(
        ending=Ending.OK,
        says=header["says"][:500],
        outputs=frame.arrays[0],
        wall_ms=times[0],
        cpu_ms=times[1],
        peak_rss_bytes=peak,
        baseline_rss_bytes=baseline,
        runtime=runtime,
        extra={**figures, "machine": machine, "more_outputs": frame.arrays[1:], **extra},
    )
