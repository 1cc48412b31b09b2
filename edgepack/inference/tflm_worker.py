"""TensorFlow Lite Micro in a process of its own: a run as a frame, or its smallest arena.

    python tflm_worker.py run JOB_FOLDER       frame of inference/wire_format.py on stdout
    python tflm_worker.py arena MODEL          JSON on stdout

Too small an arena often ends in a segmentation fault, so each size is tried in a fork. The
script imports nothing of edgepack; it needs numpy and tflite-micro.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

MAGIC = b"EDGEPACK-FRAME 1\n"
GRANULE = 16  # TFLM aligns its arena to this
LARGEST = 1 << 28
PROBE_SECONDS = 60
AMPLE_ARENA_BYTES = 8 << 20  # above the arena of anything a microcontroller runs


def load(model: bytes, arena: int) -> Any:
    """Return an interpreter with its tensors allocated."""
    from tflite_micro import runtime

    return runtime.Interpreter.from_bytes(model, arena_size=arena)


def ample_arena_bytes(model: bytes) -> int:
    """Return an arena that no model of this size needs."""
    return max(AMPLE_ARENA_BYTES, 16 * len(model))


def infer(interpreter: Any, rows: tuple[Any, ...], outputs: int) -> list[Any]:
    """Return the outputs of one inference from the initial state."""
    interpreter.reset()
    for place, row in enumerate(rows):
        detail = interpreter.get_input_details(place)
        if row.dtype != detail["dtype"]:
            raise ValueError(f"input {place} wants {detail['dtype']}. Received: {row.dtype}")
        interpreter.set_input(row.reshape(detail["shape"]), place)
    interpreter.invoke()
    return [interpreter.get_output(place).copy() for place in range(outputs)]


def count(details: Any) -> int:
    """Return how many tensors a getter of details knows; TFLM's complaint is not shown."""
    kept, quiet = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    number = 0
    try:
        while True:
            details(number)
            number += 1
    except (IndexError, RuntimeError, ValueError):
        return number
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(quiet)


def unbatched(value: Any) -> Any:
    """Return a tensor without its batch where that is one."""
    return value[0] if value.ndim and value.shape[0] == 1 else value


def run(folder: Path) -> None:
    """Write the frame of a job."""
    import numpy as np

    job = json.loads((folder / "job.json").read_text())
    model = (folder / "model.tflite").read_bytes()
    inputs = [
        np.load(folder / f"inputs-{place}.npy", allow_pickle=False)
        for place in range(job["inputs"])
    ]
    baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    interpreter = load(model, ample_arena_bytes(model))
    wanted = count(interpreter.get_output_details)
    columns: list[list[Any]] = [[] for _ in range(wanted)]
    for rows in zip(*inputs):  # noqa: B905 - one length, checked by the sender
        for column, value in zip(columns, infer(interpreter, rows, wanted)):  # noqa: B905
            column.append(value)
    wall: list[float] = []
    cpu: list[float] = []
    first = tuple(array[0] for array in inputs)
    for turn in range(job["warmup"] + job["repeats"]):
        begun, begun_cpu = time.perf_counter(), time.thread_time()
        infer(interpreter, first, wanted)
        if turn >= job["warmup"]:
            wall.append((time.perf_counter() - begun) * 1e3)
            cpu.append((time.thread_time() - begun_cpu) * 1e3)
    arrays = [np.stack([unbatched(value) for value in column]) for column in columns]
    write_frame(arrays, baseline, wall, cpu)


def write_frame(arrays: list[Any], baseline: int, wall: list[float], cpu: list[float]) -> None:
    """Write a frame with the outputs and what they took."""
    from importlib.metadata import version

    header = {
        "status": "ok",
        "says": f"{len(arrays[0])} inferences",
        "arrays": [{"dtype": a.dtype.str, "shape": list(a.shape)} for a in arrays],
        "memory": {
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "baseline_rss_bytes": baseline,
        },
        "inferences": len(wall),
        "wall_ms": wall,
        "cpu_ms": cpu,
        "machine": os.uname().machine,
        "runtime": f"tflite-micro {version('tflite-micro')}",
    }
    write(header, arrays)


def write(header: dict[str, Any], arrays: list[Any]) -> None:
    """Write magic, header length, header and arrays to stdout."""
    text = json.dumps(header).encode()
    out = sys.stdout.buffer
    out.write(MAGIC + b"%08d\n" % len(text) + text)
    for array in arrays:
        out.write(array.tobytes())
    out.flush()


def answers_alike(model: bytes, arena: int, rows: tuple[Any, ...], wanted: list[Any]) -> bool:
    """Return whether an arena of so many bytes gives the same answer, tried in a fork."""
    child = os.fork()
    if child == 0:
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            signal.alarm(PROBE_SECONDS)
            found = infer(load(model, arena), rows, len(wanted))
            same = all(a.tobytes() == b.tobytes() for a, b in zip(found, wanted))  # noqa: B905
        except BaseException:  # noqa: BLE001 - a fork must end here whatever happens
            os._exit(1)
        os._exit(0 if same else 1)
    return os.waitpid(child, 0)[1] == 0


def smallest(model: bytes) -> tuple[int, int]:
    """Return the smallest arena that works, in bytes, and how many sizes were tried.

    Sizes that work are taken to have no gap above them; the next eight are tried too.
    """
    import numpy as np

    random = np.random.default_rng(0)
    interpreter = load(model, ample_arena_bytes(model))
    rows = []
    for place in range(count(interpreter.get_input_details)):
        detail = interpreter.get_input_details(place)
        rows.append(random.integers(0, 100, detail["shape"]).astype(detail["dtype"]))
    wanted = infer(interpreter, tuple(rows), count(interpreter.get_output_details))
    probes = 0

    def works(arena: int) -> bool:
        nonlocal probes
        probes += 1
        return answers_alike(model, arena, tuple(rows), wanted)

    high = 4096
    while not works(high):
        high *= 2
        if high > LARGEST:
            raise MemoryError(f"does not run in an arena of {LARGEST} bytes")
    low = 0 if high == 4096 else high // 2
    while high - low > GRANULE:
        middle = (low + high) // 2 // GRANULE * GRANULE
        low, high = (low, middle) if works(middle) else (middle, high)
    step = 1
    while step <= 8:
        if works(high + step * GRANULE):
            step += 1
        else:
            high, step = high + (step + 1) * GRANULE, 1
    return high, probes


def main(arguments: list[str]) -> None:
    """Do what the first argument says with the second."""
    kind, path = arguments[1], Path(arguments[2])
    if kind == "arena":
        found, probes = smallest(path.read_bytes())
        print(json.dumps({"arena_bytes": found, "probes": probes}))
        return
    try:
        run(path)
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes a frame
        says = " ".join(str(error).split())[:400]
        write({"status": "error", "says": f"TFLM: {says}", "arrays": []}, [])


if __name__ == "__main__":
    main(sys.argv)
