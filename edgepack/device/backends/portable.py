"""A self-contained folder on a device: the sandbox's own worker, on a board or a phone.

Loader, libraries, Python, runtime and worker, one tar a board: an image's own content without
the engine, so a board without Docker, or a phone's ``/data/local/tmp``, runs the very files
that were proven in the sandbox.
"""

from __future__ import annotations

import io
import shlex
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepack.device import description
from edgepack.device.backends.backend import Observed, RunRequest, utc_now
from edgepack.device.links.link import DeviceDisconnected, Link, push_once
from edgepack.errors import InputError, RuntimeFailure, UsageError
from edgepack.files import sha256
from edgepack.inference import worker
from edgepack.inference.exit_status import trace_from
from edgepack.inference.protocol import ExitStatus, Job, Trace
from edgepack.inference.wire_format import MAX_FRAME_BYTES, job_files
from edgepack.measurements.device_report import Report
from edgepack.measurements.latency_samples import MINIMA, mean, percentile
from edgepack.measurements.report_model import (
    BackendName,
    BackendRef,
    Goldens,
    Memory,
    Run,
    RuntimeRef,
    Summary,
)
from edgepack.sandbox.engine import Engine
from edgepack.sandbox.images import inventory
from edgepack.sandbox.images.spec import ImageSpec

_LIMIT_S = 1800.0
_RUNTIMES = {"tflite-runtime": "tflite", "ai-edge-litert": "litert"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Portable:
    """The folder of ``pack_folder``, pushed as one tar (one by one took 43 s).

    Attributes:
        archive: the tar.
        emulator: a program that runs foreign code; with it nothing is a device's time.
        kernels: ``default`` for times, ``reference`` for bit-exact golden answers.
    """

    archive: bytes
    emulator: str = ""
    kernels: str = "default"

    @property
    def name(self) -> BackendName:
        return "portable"

    @property
    def sha256(self) -> str:
        return sha256(self.archive)

    def _place(self, link: Link) -> str:
        return f"{link.folder}/portable-{self.sha256[:16]}"

    def install(self, link: Link) -> str:
        """Unpack the folder on the device where it is not there yet, whole or not at all."""
        place = self._place(link)
        if link.run(f"test -f {place}/complete").code == 0:
            return f"folder {self.sha256[:12]} was there"
        push_once(link, self.archive, f"{place}.tar")
        done = link.run(
            f"rm -rf {place} && mkdir -p {place} && tar xf {place}.tar -C {place}"
            f" && touch {place}/complete && rm -f {place}.tar",
            timeout_s=600,
        )
        if done.code:
            link.run(f"rm -rf {place}")
            raise RuntimeFailure(
                f"{link.name}: cannot unpack the folder: {done.last_line()}; it needs about"
                f" {2 * len(self.archive):,} B free and a 'tar' (Android 6 and later)"
            )
        return f"folder {self.sha256[:12]} installed"

    def run(self, link: Link, request: RunRequest) -> Report:
        """Return the report of one run of the worker."""
        if request.delegate not in {"cpu", "xnnpack"}:
            raise UsageError(f"portable: runs on the CPU only. Received: {request.delegate}")
        least, started = MINIMA[request.mode], utc_now()
        job = Job(
            model=request.bundle.model,
            inputs=request.bundle.array("golden/inputs.npy"),
            kernels=self.kernels,
            repeats=least.queries,
            warmup=request.warmup,
            threads=request.threads,
            timeout_s=_LIMIT_S,
            min_seconds=least.seconds,
        )
        before = description.read_conditions(link)
        trace = self._traced(link, job, request)
        after = description.read_conditions(link)
        return self._report(
            link, request, Observed(started_at=started, before=before, after=after), trace
        )

    def _traced(self, link: Link, job: Job, request: RunRequest) -> Trace:
        jobs = f"{link.folder}/job-{request.identity(self)[:16]}"
        for name, content in job_files(job).items():
            link.push(content, f"{jobs}/{name}")
        bind = f"taskset {request.affinity} " if request.affinity else ""
        emulator = f"EDGEPACK_EMULATOR={shlex.quote(self.emulator)} " if self.emulator else ""
        try:
            done = link.run(
                f"{emulator}{bind}sh {self._place(link)}/run {jobs}"
                f" > {jobs}/frame 2> {jobs}/errors",
                timeout_s=job.timeout_s,
            )
            frame = link.pull(f"{jobs}/frame", MAX_FRAME_BYTES)
            errors = link.pull(f"{jobs}/errors", 2**20)
        except DeviceDisconnected:
            raise
        except RuntimeFailure as error:
            return Trace(status=ExitStatus.ERROR, says=str(error)[:300])
        finally:
            self._clear(link, jobs)
        return trace_from(
            code=done.code,
            stdout=frame,
            stderr=errors,
            timeout_s=job.timeout_s,
            timed_out=False,
            oom_killed=done.code == 137,  # nobody but the low-memory killer sends it there
        )

    def _clear(self, link: Link, jobs: str) -> None:
        try:
            link.run(f"rm -rf {jobs}")
        except DeviceDisconnected:
            return  # its name is its digest: the next run overwrites it

    def _report(
        self,
        link: Link,
        request: RunRequest,
        observed: Observed,
        trace: Trace,
    ) -> Report:
        ok = trace.status is ExitStatus.OK
        package, _, version = trace.runtime.partition(" ")
        device = description.read_device(link)
        machine = str(trace.machine or device.abi)
        ending = "ok" if ok else "error" if trace.status is ExitStatus.ERROR else "crash"
        return Report.model_validate(
            {
                "schema": "edgepack.device-report/1",
                "identity": request.identity(self),
                "started_at": observed.started_at,
                "ending": ending,
                "says": " ".join(trace.says.split())[:500] or "no word",
                "backend": BackendRef(name=self.name, version="1", sha256=self.sha256),
                "bundle": request.reference,
                "device": device.model_copy(
                    update={"abi": machine, "emulated": device.emulated or bool(self.emulator)}
                ),
                "runtime": RuntimeRef.model_validate(
                    {"name": _RUNTIMES.get(package, "unknown"), "version": version or "unknown"}
                ),
                "before": observed.before,
                "after": observed.after,
                "run": run_of(trace, request, self.kernels) if ok else None,
                "memory": _memory(trace),
                "goldens": goldens_of(trace),
            }
        )


def run_of(trace: Trace, request: RunRequest, kernels: str) -> Run:
    """Return the times of a finished trace as a report has them."""
    times = trace.wall_ms
    queries = trace.inferences
    stride = 1
    while -(-queries // stride) > len(times):
        stride *= 2  # the worker keeps every 2nd, 4th … time of a long run
    summed = sum(times) * stride / 1e3
    return Run.model_validate(
        {
            "delegate": request.delegate,
            "kernels": kernels,
            "threads": request.threads,
            "affinity": request.affinity,
            "mode": request.mode,
            "warmup": request.warmup,
            "queries": queries,
            # the worker ends no sooner than the minimum; feeding inputs is not in the times
            "seconds": max(summed, MINIMA[request.mode].seconds),
            "stride": stride,
            "samples_ms": times,
            "summary": Summary(
                min_ms=min(times),
                max_ms=max(times),
                mean_ms=mean(times),
                p50_ms=percentile(times, 0.5),
                p90_ms=percentile(times, 0.9),
            ),
        }
    )


def goldens_of(trace: Trace) -> Goldens | None:
    """Return the golden answers of a finished trace."""
    if trace.outputs is None:
        return None
    plain = np.ascontiguousarray(trace.outputs)
    raw = plain.astype(plain.dtype.newbyteorder("<")).tobytes()
    return Goldens.model_validate(
        {
            "rows": len(plain),
            "shape": plain.shape[1:],
            "dtype": str(plain.dtype),
            "outputs_hex": raw.hex(),
            "sha256": sha256(raw),
        }
    )


def _memory(trace: Trace) -> Memory | None:
    if trace.memory is None:
        return None
    return Memory(
        kind="rss",
        baseline_bytes=trace.memory.baseline_rss_bytes,
        peak_bytes=trace.memory.peak_rss_bytes,
    )


_LOADER = {"arm64": "ld-linux-aarch64.so.1", "armv7": "ld-linux-armhf.so.3"}
_LEFT_OUT = ("qemu", "dev", "proc", "sys", ".dockerenv", "etc", "run", "tmp")
#: More than any image of ours; an export beyond it is not one.
_CEILING_BYTES = 512 * 2**20

_LAUNCHER = """#!/bin/sh
# usage: run JOB_FOLDER; EDGEPACK_EMULATOR may name a program that runs the loader
case $0 in */*) D=${{0%/*}} ;; *) D=. ;; esac
D=$(cd "$D" && pwd) || exit 1
L=$D/lib/{triplet}
U=$D/usr/lib/{triplet}
P=$D/usr/local/lib/python{python}/dist-packages:$D/usr/lib/python3/dist-packages
export PYTHONHOME="$D/usr" PYTHONPATH="$P" PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 LC_ALL=C.UTF-8
unset LD_LIBRARY_PATH LD_PRELOAD
exec $EDGEPACK_EMULATOR "$L/{loader}" --library-path "$L:$U:$U/blas:$U/lapack" \\
  "$D/usr/bin/python{python}" -s "$D/worker.py" "$1"
"""


def pack_folder(engine: Engine, spec: ImageSpec) -> bytes:
    """Return the folder as one tar, the same bytes for the same image.

    Raises:
        EnvironmentMissing: the image is absent (``edgepack images build``).
        InputError: no folder can be made for that instruction set.
    """
    if spec.arch not in _LOADER:
        raise InputError(f"wanted arm64 or armv7 for a folder. Received: {spec.arch}")
    identity = inventory.find(engine, spec).identity
    made = engine.api.create_container(identity, command=["/never-started"])
    try:
        with tempfile.TemporaryFile() as file:
            for piece in engine.api.export(made["Id"]):
                file.write(piece)
                if file.tell() > _CEILING_BYTES:
                    raise InputError(f"{spec.tag}: exports more than {_CEILING_BYTES:,} B")
            file.seek(0)
            with tarfile.open(fileobj=file) as exported:
                return _repack(exported, spec)
    finally:
        engine.api.remove_container(made["Id"], force=True)


def _repack(exported: tarfile.TarFile, spec: ImageSpec) -> bytes:
    """Return the kept members, sorted and without times or owners, with launcher and worker."""
    out = io.BytesIO()
    kept = sorted(
        (m for m in exported.getmembers() if m.name.split("/")[0] not in _LEFT_OUT),
        key=lambda member: member.name,
    )
    run = _LAUNCHER.format(triplet=spec.triplet, python=spec.python, loader=_LOADER[spec.arch])
    ours = {"run": run.encode(), "worker.py": Path(worker.__file__).read_bytes()}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as packed:
        for member in kept:
            if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
                continue
            plain = tarfile.TarInfo(member.name)
            plain.type, plain.linkname = member.type, member.linkname
            plain.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            plain.size = member.size if member.isfile() else 0
            packed.addfile(plain, exported.extractfile(member) if member.isfile() else None)
        for name, content in ours.items():
            plain = tarfile.TarInfo(name)
            plain.mode, plain.size = 0o755, len(content)
            packed.addfile(plain, io.BytesIO(content))
    return out.getvalue()
