"""A runtime in a container that stands in for a device: its instruction set, its limits."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgepack.errors import EnvironmentMissing
from edgepack.inference import worker
from edgepack.inference.exit_status import trace_from
from edgepack.inference.protocol import ExitStatus, InstructionCounts, Job, Trace
from edgepack.inference.wire_format import MAX_FRAME_BYTES, job_files
from edgepack.sandbox.container_process import ContainerResult
from edgepack.sandbox.engine import Engine
from edgepack.sandbox.images import inventory
from edgepack.sandbox.images.spec import ImageSpec, docker_folder
from edgepack.sandbox.isolation import sandbox

#: Classes of the counting plugin (docker/plugin/count.c), in the order of its lines.
CLASSES = ("int", "muldiv", "load", "store", "simd", "branch", "other")
_COUNTS = re.compile(rb"^edgepack-count (\d+)((?: \d+){7})$", re.MULTILINE)
DEFAULT_CPU = {"arm64": "cortex-a53", "armv7": "cortex-a7"}
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRuntime:
    """One image, run under limits; every run is a fresh container without a network.

    Attributes:
        engine: from ``engine.available()`` or ``engine.require()``.
        spec: the image; it must be there (``images.build``).
        memory_bytes: hard limit of the container, with no swap; None leaves the machine's.
        cpu_share: processor time it may use per wall time; None is unlimited.
        qemu_cpu: the emulated core; LiteRT 2.1.6 computes garbage on qemu's default one.
        counted: count instructions by class; timed inferences become counted ones.
    """

    engine: Engine
    spec: ImageSpec
    memory_bytes: int | None = None
    cpu_share: float | None = None
    qemu_cpu: str | None = None
    counted: bool = False

    @property
    def name(self) -> str:
        """Such as ``container: tflite-runtime 2.14.0 armv7 (qemu cortex-a7)``."""
        how = f" (qemu {self.cpu})" if self.emulated else ""
        return f"container: {self.spec.package} {self.spec.version} {self.spec.arch}{how}"

    @property
    def emulated(self) -> bool:
        """Whether the code runs under qemu: another instruction set, or counted."""
        return self.counted or self.spec.arch != self.engine.arch

    @property
    def cpu(self) -> str:
        """The emulated core's name for qemu."""
        return self.qemu_cpu or DEFAULT_CPU.get(self.spec.arch, "max")

    def run(self, job: Job) -> Trace:
        """Return what the run left behind; a bad model or input is a status, no raise.

        Raises:
            EnvironmentMissing: the image is absent, or the engine refuses the container.
        """
        try:
            files = job_files(job, marks=self.counted)
        except ValueError as error:
            return Trace(status=ExitStatus.ERROR, says=str(error))
        ended = self.contained(
            ["/job"], timeout_s=job.timeout_s, files=files, threads=job.threads
        )
        trace = self.traced(ended, job.timeout_s)
        if self.counted and trace.status is ExitStatus.OK:
            return read_counts(trace, ended.stderr)
        return trace

    def run_worker(self, *arguments: str, timeout_s: float) -> Trace:
        """Return how the worker ended with these arguments, under this runtime's limits."""
        return self.traced(self.contained(list(arguments), timeout_s=timeout_s), timeout_s)

    def contained(
        self,
        arguments: Sequence[str],
        *,
        timeout_s: float,
        files: Mapping[str, bytes] | None = None,
        threads: int = 1,
    ) -> ContainerResult:
        """Return how a container ended that ran the worker with these arguments.

        ``files`` lie in its folder /job.
        """
        image = inventory.find(self.engine, self.spec).identity
        with _folder(files or {}) as (ours, job):
            return self.engine.run(
                image,
                [*self._launcher(), "/edgepack/worker.py", *arguments],
                sandbox(
                    docker_folder(),
                    memory_bytes=self.memory_bytes,
                    cpu_share=self.cpu_share,
                    pids=8 + 2 * (threads - 1),
                ),
                mounts={ours: "/edgepack/worker.py", job: "/job"},
                env=_ENVIRONMENT,
                timeout_s=timeout_s,
                max_bytes=MAX_FRAME_BYTES,
            )

    def traced(self, ended: ContainerResult, timeout_s: float) -> Trace:
        """Return the Trace of a container that ended like this.

        Raises:
            EnvironmentMissing: the emulator has no such core.
        """
        if self.emulated and b"unable to find CPU model" in ended.stderr[:200]:
            raise EnvironmentMissing(
                f"the emulator of {self.spec.tag} has no core {self.cpu!r}; name one it has in "
                f"the profile's cpu.qemu_cpu, such as {DEFAULT_CPU.get(self.spec.arch, 'max')}"
            )
        return trace_from(
            code=ended.code,
            stdout=ended.stdout,
            stderr=ended.stderr,
            timeout_s=timeout_s,
            timed_out=ended.timed_out,
            # with a limit, a lone process of a sandbox that was killed and not by us: nobody
            # but the kernel (or the model itself) can send that signal
            oom_killed=ended.oom_killed or (ended.killed and self.memory_bytes is not None),
            output_exceeded=ended.output_exceeded,
            container_s=round(ended.seconds, 3),
        )

    def _launcher(self) -> list[str]:
        python = [f"/usr/bin/python{self.spec.python}", "-s"]
        if not self.emulated:
            return python
        if self.spec.emulator is None:
            raise EnvironmentMissing(
                f"no emulator in {self.spec.tag}: its instructions cannot be counted here"
            )
        qemu = ["/qemu/ld.so", "--library-path", "/qemu/lib", f"/qemu/{self.spec.emulator}"]
        plugin = ["-plugin", "/qemu/count.so"] if self.counted else []
        return [*qemu, "-cpu", self.cpu, *plugin, *python]


def read_counts(trace: Trace, stderr: bytes) -> Trace:
    """Return the trace with the instructions of its inferences; missing lines are an ERROR.

    Of each count the same two marks' cost around nothing is taken off.
    """
    marks = {
        int(found[1]): tuple(int(n) for n in found[2].split())
        for found in _COUNTS.finditer(stderr)
    }
    blanks = trace.blank_pairs
    pairs = len(marks) // 2
    if pairs <= blanks or blanks < 1 or set(marks) != set(range(2 * pairs)):
        says = f"the counting plugin told {len(marks)} marks, of which no inference can be made"
        return replace(trace, status=ExitStatus.ERROR, says=says, outputs=None)
    spent = [
        [end - start for start, end in zip(marks[2 * i], marks[2 * i + 1], strict=True)]
        for i in range(pairs)
    ]
    idle = spent[blanks - 1]
    each = [
        [work - none for work, none in zip(one, idle, strict=True)] for one in spent[blanks:]
    ]
    counts = InstructionCounts(
        by_class=dict(zip(CLASSES, each[-1], strict=True)),
        each=tuple(sum(one) for one in each),
        overhead=sum(idle),
    )
    return replace(trace, instructions=counts)


@contextmanager
def _folder(files: Mapping[str, bytes]) -> Iterator[tuple[Path, Path]]:
    """Yield the worker's file and a folder of these files, readable in the container only.

    The worker is a copy: where this package is installed for its owner alone, nobody in the
    container could read the original.
    """
    with tempfile.TemporaryDirectory(prefix="edgepack-job-") as outer:
        ours, job = Path(outer) / "worker.py", Path(outer) / "job"
        job.mkdir()
        job.chmod(0o755)
        content = {ours: Path(worker.__file__).read_bytes()}
        content |= {job / name: data for name, data in files.items()}
        for path, data in content.items():
            path.write_bytes(data)
            path.chmod(0o644)
        yield ours, job
