"""TensorFlow Lite Micro as a runtime: the oracle for everything that runs on a Cortex-M.

``tf.lite`` is none: its fully-connected kernel rounds once where TFLM rounds twice.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from converters.process import ProcessResult, run_bounded
from edgepack.errors import EnvironmentMissing
from edgepack.inference import tflm_worker
from edgepack.inference.exit_status import trace_from
from edgepack.inference.protocol import ExitStatus, Job, Trace
from edgepack.inference.wire_format import MAX_FRAME_BYTES, job_files

_ADDRESS_BYTES = 12 << 30
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True, slots=True)
class TflmRuntime:
    """The TFLM interpreter of this Python, one subprocess a job, with a roomy arena.

    It has one set of kernels, so a job's ``kernels`` and ``threads`` change nothing. States
    are cleared before each row.
    """

    @property
    def name(self) -> str:
        """``tflite-micro <version>``."""
        try:
            return f"tflite-micro {version('tflite-micro')}"
        except PackageNotFoundError as error:
            raise EnvironmentMissing(
                "tflite-micro is not installed beside edgepack; pip install 'edgepack[micro]'"
            ) from error

    def run(self, job: Job) -> Trace:
        """Return what the run left behind; a bad model or input is a status, no raise."""
        try:
            files = job_files(job)
        except ValueError as error:
            return Trace(status=ExitStatus.ERROR, says=str(error))
        with tempfile.TemporaryDirectory(prefix="edgepack-tflm-") as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            ended = run_worker("run", folder, timeout_s=job.timeout_s)
        return trace_from(
            code=ended.code,
            stdout=ended.stdout,
            stderr=ended.stderr,
            timeout_s=job.timeout_s,
            timed_out=ended.timed_out,
            output_exceeded=ended.output_exceeded,
            oom_killed=ended.oom_killed,
        )


def run_worker(kind: str, path: str, *, timeout_s: float) -> ProcessResult:
    """Return how the worker ended, under limits.

    Raises:
        EnvironmentMissing: tflite-micro is not installed.
    """
    _ = TflmRuntime().name
    return run_bounded(
        [sys.executable, "-sP", tflm_worker.__file__, kind, path],
        timeout_s=timeout_s,
        max_bytes=MAX_FRAME_BYTES,
        env=_ENVIRONMENT,
        limits={
            resource.RLIMIT_AS: _ADDRESS_BYTES,
            resource.RLIMIT_CPU: (int(timeout_s) + 2) * (os.cpu_count() or 1),
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_FSIZE: 0,
        },
    )
