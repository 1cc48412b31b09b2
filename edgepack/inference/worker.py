"""One measured run of one .tflite, written to stdout as a frame; the same file everywhere.

The host runs it as a subprocess, a container has it mounted read-only: they cannot
disagree. It needs the standard library, numpy and either tflite-runtime or ai-edge-litert,
runs on Python 3.9 to 3.13, and imports nothing of edgepack (the image has none of it).

    python worker.py JOB_FOLDER [--pretend exhaust-memory|hang|crash|fail]

JOB_FOLDER holds ``model.tflite``, ``inputs-<k>.npy`` (one file an input tensor, one
inference a row) and ``job.json`` (kernels, threads, warmup, repeats, min_seconds, marks).
The frame is ``EDGEPACK-FRAME 1\\n``, the length of a JSON header as 8 decimal digits and a
newline, the header, then the raw bytes of each output array that the header describes.
``--pretend`` ends in the ways that a sandbox must tell apart: the control process whose
end shows that a limit bites.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"EDGEPACK-FRAME 1\n"
MARK = 0x7ED00000  # getpgid(MARK | i): no such process, and the counting plugin sees it
KEPT = 16384  # timed inferences kept; beyond that every 2nd, 4th … one
RSS_SAMPLES = 128
BEGIN = 0xFFFFF  # the mark at which counting begins
BLANKS = 3  # pairs of marks around nothing, whose count is taken off each inference


def status_bytes(*names: str) -> tuple[int, ...]:
    """Return fields of /proc/self/status in bytes, 0 where the kernel names none."""
    found = dict.fromkeys(names, 0)
    with Path("/proc/self/status").open("rb") as lines:
        for line in lines:
            name = line.split(b":", 1)[0].decode()
            if name in found:
                found[name] = int(line.split()[1]) * 1024
    return tuple(found[name] for name in names)


def forget_peak() -> None:
    """Ask the kernel to set VmHWM back to the present VmRSS (proc(5), clear_refs).

    Where it refuses, the peak of the imports counts as the model's: too much, never too little.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def touch_code() -> bool:
    """Return whether every page of the libraries was made resident, so that none is charged
    to the model; an emulator does not let it be done.

    Which of them a run touches first, and how many neighbours the kernel maps along, depends
    on the load address and the page cache: 0.3 MiB from run to run, 3 to 5 MiB in all. No
    page changes: reading through /proc/self/mem only maps what lies there (proc(5)).
    """
    buffer = memoryview(bytearray(1 << 18))
    try:
        maps = Path("/proc/self/maps").read_text().splitlines()
        with Path("/proc/self/mem").open("rb", buffering=0) as memory:
            for line in maps:
                fields = line.split(None, 5)
                if len(fields) < 6 or not fields[5].startswith("/") or fields[1][0] != "r":
                    continue
                place, end = (int(address, 16) for address in fields[0].split("-"))
                with suppress(OSError):  # behind the end of the file nothing lies
                    while place < end:
                        memory.seek(place)
                        place += memory.readinto(buffer[: min(len(buffer), end - place)]) or end
    except OSError:
        return False
    return True


def release_freed_memory() -> None:
    """Give freed memory back to the kernel, so that the model's share is new and is counted."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc's; elsewhere up to a MiB of a need may go unseen
        trim(0)


def load_runtime() -> tuple[Any, str]:
    """Return (interpreter module, "name version") of the one runtime that is installed."""
    try:
        from tflite_runtime import interpreter

        name = "tflite-runtime"
    except ImportError:
        from ai_edge_litert import interpreter

        name = "ai-edge-litert"
    site = Path(interpreter.__file__).parent.parent
    start = name.replace("-", "_") + "-"
    found = [entry.name[len(start) : -10] for entry in site.glob(start + "*.dist-info")]
    return interpreter, f"{name} {found[0] if len(found) == 1 else 'unknown'}"


class EvenlyThinned:
    """At most KEPT of many samples, evenly spread, in memory that never grows."""

    def __init__(self, np: Any, width: int) -> None:
        self.rows = np.full((KEPT, width), np.nan)  # resident at once, not as it fills
        self.half = np.full((KEPT // 2, width), np.nan)
        self.kept, self.seen, self.stride = 0, 0, 1

    def add(self, *row: float) -> None:
        if self.seen % self.stride == 0:
            if self.kept == KEPT:
                self.half[:] = self.rows[::2]
                self.rows[: KEPT // 2] = self.half
                self.kept //= 2
                self.stride *= 2
            if self.seen % self.stride == 0:
                self.rows[self.kept] = row
                self.kept += 1
        self.seen += 1

    def column(self, index: int) -> list[float]:
        listed: list[float] = self.rows[: self.kept, index].tolist()
        return listed


def fit_input(interpreter: Any, detail: dict[str, Any], row: Any) -> Any:
    """Return ``row`` in the shape of the input tensor, which is resized where it is dynamic."""
    if row.dtype != detail["dtype"]:
        raise ValueError(
            f"input {detail['name']!r} wants {detail['dtype'].__name__}. Received: {row.dtype}"
        )
    shape = tuple(int(size) for size in detail["shape"])
    signature = tuple(int(size) for size in detail.get("shape_signature", shape))
    wanted = (1, *row.shape)
    if shape in (wanted, row.shape):
        return row.reshape(shape)
    if len(wanted) == len(signature) and all(
        size in (-1, want)
        for size, want in zip(signature, wanted)  # noqa: B905 - Python 3.9
    ):
        interpreter.resize_tensor_input(detail["index"], wanted)
        return row.reshape(wanted)
    raise ValueError(
        f"input {detail['name']!r} wants rows of {list(signature[1:])} (batch 1). "
        f"Received rows of {list(row.shape)}"
    )


class LoadedModel:
    """A model in its interpreter, with its inputs one row at a time."""

    def __init__(
        self, np: Any, module: Any, folder: Path, job: dict[str, Any], inputs: list[Any]
    ) -> None:
        kinds = module.OpResolverType
        resolver = {
            "reference": kinds.BUILTIN_REF,
            "builtin": kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            "default": kinds.AUTO,
        }[job["kernels"]]
        self.interpreter = module.Interpreter(
            model_path=str(folder / "model.tflite"),
            experimental_op_resolver_type=resolver,
            num_threads=job["threads"],
        )
        details = self.interpreter.get_input_details()
        self.inputs = inputs
        if len(details) != len(self.inputs):
            raise ValueError(
                f"the model wants {len(details)} input arrays, for "
                f"{', '.join(d['name'] for d in details)}. Received: {len(self.inputs)}"
            )
        self.rows = len(self.inputs[0])
        self.places = []
        for detail, array in zip(details, self.inputs):  # noqa: B905 - Python 3.9
            shape = fit_input(self.interpreter, detail, np.asarray(array[0])).shape
            self.places.append((detail["index"], shape))
        self.interpreter.allocate_tensors()
        self.results = [detail["index"] for detail in self.interpreter.get_output_details()]

    def feed(self, row: int) -> None:
        for (index, shape), array in zip(self.places, self.inputs):  # noqa: B905
            self.interpreter.set_tensor(index, array[row % self.rows].reshape(shape))

    def outputs(self, np: Any) -> list[Any]:
        """Return one array an output tensor, ``(N, *shape)``; state never crosses a row."""
        collected: list[Any] = []
        for row in range(self.rows):
            self.interpreter.reset_all_variables()
            self.feed(row)
            self.interpreter.invoke()
            found = [self.interpreter.get_tensor(index) for index in self.results]
            found = [
                array[0] if array.ndim and array.shape[0] == 1 else array for array in found
            ]
            if not collected:
                collected = [np.empty((self.rows, *a.shape), a.dtype) for a in found]
            for all_rows, array in zip(collected, found):  # noqa: B905 - Python 3.9
                if array.shape != all_rows.shape[1:]:
                    raise ValueError(
                        "the output's shape depends on the input: "
                        f"{list(all_rows.shape[1:])}, then {list(array.shape)}"
                    )
                all_rows[row] = array
        return collected

    def delegated(self) -> int | None:
        """Return how many delegate nodes took over operators, None where unknown."""
        listing = getattr(self.interpreter, "_get_ops_details", None)
        return sum(op["op_name"] == "DELEGATE" for op in listing()) if listing else None

    def count(self, repeats: int) -> None:
        """Invoke between pairs of marks, after BLANKS pairs around nothing."""
        mark(BEGIN)
        self.feed(0)
        for index in range(BLANKS + repeats):
            work = self.interpreter.invoke if index >= BLANKS else no_operation
            mark(2 * index)
            work()
            mark(2 * index + 1)

    def time(self, job: dict[str, Any], times: EvenlyThinned, rss: Any) -> int:
        """Fill in wall and CPU times in ms and (seconds, RssAnon); return how many of these."""
        cpu_clock = time.thread_time if job["threads"] == 1 else time.process_time
        wall_clock, invoke = time.perf_counter, self.interpreter.invoke
        step = job["min_seconds"] / (RSS_SAMPLES - 1)
        sampled, start = 0, wall_clock()
        while times.seen < job["repeats"] or wall_clock() - start < job["min_seconds"]:
            if step and sampled < RSS_SAMPLES and wall_clock() - start >= sampled * step:
                rss[sampled] = (wall_clock() - start, status_bytes("RssAnon")[0])
                sampled += 1
            self.feed(times.seen)
            wall, cpu = wall_clock(), cpu_clock()
            invoke()
            cpu_end, wall_end = cpu_clock(), wall_clock()
            times.add((wall_end - wall) * 1e3, (cpu_end - cpu) * 1e3)
        return sampled


def no_operation() -> None:
    return None


def mark(index: int) -> None:
    with suppress(OSError):  # always raised: no such process; the call is the message
        os.getpgid(MARK | index)


def measure(folder: Path, job: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Return (header, output arrays) of the whole job."""
    import numpy as np

    module, name = load_runtime()
    inputs = [
        np.load(str(folder / f"inputs-{place}.npy"), allow_pickle=False)
        for place in range(job["inputs"])
    ]
    times, rss = EvenlyThinned(np, 2), np.full((RSS_SAMPLES, 2), np.nan)
    memory: dict[str, Any] = {"imported_rss_bytes": status_bytes("VmRSS")[0]}
    timed = not job["marks"] and (job["repeats"] or job["min_seconds"])
    if timed:
        memory["code_is_resident"] = touch_code()
        release_freed_memory()
    forget_peak()
    baseline_rss, baseline_anon = status_bytes("VmRSS", "RssAnon")
    bench = LoadedModel(np, module, folder, job, inputs)
    # a measured run fetches its outputs behind the peak: copies of them are the worker's
    arrays = bench.outputs(np) if not timed else []
    for index in range(job["warmup"]):
        bench.feed(index)
        bench.interpreter.invoke()
    sampled = 0
    if job["marks"]:
        bench.count(job["repeats"])
    elif timed:
        sampled = bench.time(job, times, rss)
    # before anything of ours grows: what is told below would count as the model's
    peak, anon = status_bytes("VmHWM", "RssAnon")
    memory.update(peak_rss_bytes=peak, baseline_rss_bytes=baseline_rss)
    memory.update(anon_bytes=anon, baseline_anon_bytes=baseline_anon)
    memory["anon_samples"] = rss[:sampled].tolist()
    if timed:
        arrays = bench.outputs(np)
    header = {
        "status": "ok",
        "says": f"ran {bench.rows} rows",
        "runtime": name,
        "machine": os.uname().machine,
        "inferences": times.seen,
        "wall_ms": times.column(0),
        "cpu_ms": times.column(1),
        "process_cpu_s": round(time.process_time(), 4),
        "memory": memory,
        "blank_pairs": BLANKS if job["marks"] else 0,
        "delegates": bench.delegated(),
    }
    return header, [np.ascontiguousarray(array) for array in arrays]


def simulate_failure(what: str) -> None:
    """End the way a bad model would: the sandbox proves on these that it can tell.

    ``exhaust-memory:N`` touches N bytes and then complains that it lived, so that it cannot
    eat a machine whose limit does not bite.
    """
    what, _, size = what.partition(":")
    if what == "exhaust-memory":
        hoard: list[bytes] = []
        for _ in range(int(size or 1 << 30) >> 20):
            hoard.append(os.urandom(4096) * 256)  # 1 MiB, every page touched
        raise RuntimeError(f"{len(hoard)} MiB were allocated, and no limit bit")
    if what == "hang":
        while True:
            time.sleep(1)
    if what == "crash":
        os.abort()
    raise RuntimeError("pretended failure")


def write_frame(out: BinaryIO, header: dict[str, Any], arrays: list[Any]) -> None:
    header["arrays"] = [{"dtype": a.dtype.str, "shape": list(a.shape)} for a in arrays]
    text = json.dumps(header).encode()
    out.write(MAGIC + b"%08d\n" % len(text) + text)
    for array in arrays:
        out.write(array.tobytes())
    out.flush()


def main(arguments: list[str]) -> int:
    """Return the exit code; exactly one frame is written unless the process dies."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a runtime prints must not enter the frame
    try:
        if len(arguments) == 3 and arguments[1] == "--pretend":
            simulate_failure(arguments[2])
        folder = Path(arguments[0])
        header, arrays = measure(folder, json.loads((folder / "job.json").read_bytes()))
    except MemoryError:
        write_frame(out, {"status": "oom", "says": "an allocation was refused"}, [])
        return 1
    except Exception as error:  # noqa: BLE001 - whatever the runtime raises is the answer
        says = f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
        write_frame(out, {"status": "error", "says": says}, [])
        return 1
    write_frame(out, header, arrays)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
