"""The runtime of this machine, in a subprocess with limits: for accuracy, not for gates.

It runs the very worker that containers mount. It is no sandbox: it keeps a crash and a
hang away from the caller, not a hostile model from the machine; that is the container's.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from converters.process import run_bounded
from edgepack.errors import EnvironmentMissing
from edgepack.inference import worker
from edgepack.inference.exit_status import trace_from
from edgepack.inference.protocol import ExitStatus, Job, Trace
from edgepack.inference.wire_format import MAX_FRAME_BYTES, job_files
from edgepack.units import format_bytes

ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRuntime:
    """ai-edge-litert of this Python, one subprocess a job.

    Attributes:
        address_bytes: limit of the subprocess's address space; the runtime's libraries and
            allocator reserve about 1.5 GiB of it without using it.
    """

    address_bytes: int = 12 * 2**30

    @property
    def name(self) -> str:
        """``host: ai-edge-litert <version>``."""
        try:
            return f"host: ai-edge-litert {version('ai-edge-litert')}"
        except PackageNotFoundError as error:
            raise EnvironmentMissing(
                "ai-edge-litert is not installed beside edgepack; pip install ai-edge-litert"
            ) from error

    def run(self, job: Job) -> Trace:
        """Return what the run left behind; a bad model or input is a status, no raise."""
        try:
            files = job_files(job)
        except ValueError as error:
            return Trace(status=ExitStatus.ERROR, says=str(error))
        with tempfile.TemporaryDirectory(prefix="edgepack-job-") as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            return self.run_worker(folder, timeout_s=job.timeout_s)

    def run_worker(self, *arguments: str, timeout_s: float) -> Trace:
        """Return how the worker ended with these arguments, under this runtime's limits."""
        limits = {
            resource.RLIMIT_AS: self.address_bytes,
            resource.RLIMIT_CPU: (int(timeout_s) + 2) * (os.cpu_count() or 1),
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_FSIZE: 0,
            resource.RLIMIT_NOFILE: 64,
        }
        ended = run_bounded(
            [sys.executable, "-sP", worker.__file__, *arguments],
            timeout_s=timeout_s,
            max_bytes=MAX_FRAME_BYTES,
            env=ENVIRONMENT,
            limits=limits,
        )
        trace = trace_from(
            code=ended.code,
            stdout=ended.stdout,
            stderr=ended.stderr,
            timeout_s=timeout_s,
            timed_out=ended.timed_out,
            output_exceeded=ended.output_exceeded,
            oom_killed=ended.oom_killed,
        )
        if trace.status is ExitStatus.OOM:
            limit = format_bytes(self.address_bytes)
            return replace(trace, says=f"{trace.says} (limit {limit} of address space)")
        return trace
