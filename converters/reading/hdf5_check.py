"""What an HDF5 file holds, learnt in a process that may crash without taking ours along."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from converters.errors import quote, refusal
from converters.process import run_bounded, signal_name
from converters.reading import hdf5_probe
from converters.reading.snapshot import MAX_MODEL_BYTES

TIMEOUT_SECONDS = 180  # above the 60 s of CPU time the probe grants itself
MAX_PROBE_BYTES = 128 * 1024**2  # of its answer: 100,000 datasets of long names, and texts
_OPTIMIZER = ("/optimizer_weights/", "/optimizer/")


@dataclass(frozen=True, slots=True)
class Hdf5Facts:
    """What one HDF5 file holds.

    Attributes:
        texts: the texts Keras keeps at the root: ``model_config``, ``training_config``,
            ``keras_version``, ``backend``; those that are there.
        names: of the groups at the root.
        weights: (shape, sha256 of the float32 values) of each dataset but optimizer state.
        weight_bytes: of those datasets, as float32.
    """

    texts: dict[str, str]
    names: tuple[str, ...]
    weights: frozenset[tuple[tuple[int, ...], str]]
    weight_bytes: int


def examine(copy: Path, source: Path) -> Hdf5Facts:
    """Return what the HDF5 file ``copy`` holds; every byte of it was read once.

    Raises:
        ModelRefused: damaged, over 1 GiB, links or data in other files, or the HDF5 library
            crashed or hung on it.
    """
    script = str(Path(hdf5_probe.__file__))
    command = [sys.executable, "-P", script, str(copy), str(MAX_MODEL_BYTES)]
    # "::" keeps HDF5 from loading filter plugins that a file asks for
    environment = os.environ | {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
    run = run_bounded(
        command, timeout_s=TIMEOUT_SECONDS, max_bytes=MAX_PROBE_BYTES, env=environment
    )
    if run.timed_out:
        raise _damaged(source, f"a file still unread after {TIMEOUT_SECONDS} s")
    if run.output_exceeded:
        raise _damaged(source, f"a file whose contents list is over {MAX_PROBE_BYTES:,} bytes")
    if run.code < 0:
        name = signal_name(-run.code)
        raise _damaged(source, f"a file that crashes the HDF5 library ({name})")
    if run.code:
        raise _damaged(source, quote(run.last_line))
    found = json.loads(run.stdout)
    if "damaged" in found:
        raise _damaged(source, quote(found["damaged"]))
    if "refused" in found:
        raise refusal(
            source,
            wanted="an HDF5 file that holds its own weights and nothing else",
            got=quote(found["refused"]),
            do="do not trust this file; save the model again from its source",
        )
    held = [d for d in found["datasets"] if not d["path"].startswith(_OPTIMIZER)]
    return Hdf5Facts(
        texts=found["texts"],
        names=tuple(found["names"]),
        weights=frozenset((tuple(d["shape"]), d["digest"]) for d in held),
        weight_bytes=sum(4 * d["count"] for d in held),
    )


def _damaged(source: Path, got: str) -> Exception:
    return refusal(
        source,
        wanted="a whole, undamaged HDF5 file",
        got=got,
        do="copy it again, or save the model again",
    )
