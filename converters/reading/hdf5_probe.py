"""Print what one HDF5 file holds as JSON; run as a script in a process of its own.

The HDF5 library is C code that a damaged file can crash or hang, so a file from elsewhere
is read here first, whole, under limits of memory and time. Links and storage that lead to
other files are found before anything is read through them. Imports neither TensorFlow nor
the rest of this package: it must start in a fraction of a second.

Usage: hdf5_probe.py FILE MAX_BYTES
"""

from __future__ import annotations

import hashlib
import json
import math
import resource
import sys
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5o, h5z

MAX_OBJECTS = 100_000
MAX_DEPTH = 64
MEMORY_BYTES = 6 * 1024**3  # address space, not resident: libraries alone map 1 GiB
CPU_SECONDS = 60  # a gigabyte takes under 10
_FILTERS = {
    h5z.FILTER_DEFLATE,
    h5z.FILTER_SHUFFLE,
    h5z.FILTER_FLETCHER32,
    h5z.FILTER_SZIP,
    h5z.FILTER_NBIT,
    h5z.FILTER_SCALEOFFSET,
    h5z.FILTER_LZF,
}
_TEXTS = ("model_config", "training_config", "keras_version", "backend")


class Refused(Exception):  # noqa: N818 - says what was found
    """What the file holds and must not."""


def probe(path: str, max_bytes: int) -> dict[str, Any]:
    """Return the texts, top-level names and datasets of the file at ``path``.

    Raises:
        Refused: a link or storage outside the file, or more bytes than ``max_bytes``.
    """
    with h5py.File(path, "r") as file:
        found = list(_datasets(file, "", set(), 0))
        total = sum(dataset.nbytes for _, dataset in found)
        if total > max_bytes:
            raise Refused(f"datasets of {total:,} bytes declared, over {max_bytes:,}")
        return {
            "texts": {name: _text(file, name) for name in _TEXTS if name in file.attrs},
            "names": sorted(file)[:100],
            "datasets": [_entry(name, dataset) for name, dataset in found],
        }


def digest(values: Any) -> str:
    """Return the sha256 of an array: of its float32 values where it is floating point."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a float64 beyond float32 is inf, and found later
            array = array.astype("<f4")
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _datasets(
    group: Any, prefix: str, seen: set[tuple[int, Any]], depth: int
) -> Iterator[tuple[str, Any]]:
    """Yield every dataset below ``group`` once, with its path."""
    if depth > MAX_DEPTH:
        raise Refused(f"groups nested deeper than {MAX_DEPTH}")
    for name in group:
        path = f"{prefix}/{name}"
        link = group.get(name, getlink=True)
        if link is None:
            raise OSError(f"a damaged link {path}")
        if not isinstance(link, h5py.HardLink):
            target = f" to {link.filename}" if isinstance(link, h5py.ExternalLink) else ""
            raise Refused(f"{path}, a {type(link).__name__}{target}")
        thing = group[name]
        info = h5o.get_info(thing.id)
        if (info.fileno, info.addr) in seen:
            continue
        seen.add((info.fileno, info.addr))
        if len(seen) > MAX_OBJECTS:
            raise Refused(f"more than {MAX_OBJECTS:,} groups and datasets")
        for attribute in thing.attrs:  # the loaders read names from them
            thing.attrs[attribute]
        if isinstance(thing, h5py.Group):
            yield from _datasets(thing, path, seen, depth + 1)
        elif isinstance(thing, h5py.Dataset):
            _check_storage(path, thing)
            yield path, thing


def _check_storage(path: str, dataset: Any) -> None:
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5d.VIRTUAL:
        raise Refused(f"{path}, a virtual dataset over other files")
    if plan.get_external_count():
        raise Refused(f"{path}, whose data lie in another file")
    if dataset.dtype.kind not in "fiubSU":
        raise Refused(f"{path} of type {dataset.dtype}, which no weight has")
    filters = {plan.get_filter(number)[0] for number in range(plan.get_nfilters())}
    if not filters <= _FILTERS:
        raise Refused(f"{path} packed by the unknown filter {min(filters - _FILTERS)}")


def _entry(path: str, dataset: Any) -> dict[str, Any]:
    values = dataset[()]
    if np.asarray(values).nbytes != dataset.nbytes:
        raise Refused(f"{path} with fewer values than it declares")
    return {
        "path": path,
        "shape": [int(n) for n in dataset.shape],
        "count": math.prod(dataset.shape),
        "dtype": str(dataset.dtype),
        "digest": digest(values),
    }


def _text(file: Any, name: str) -> str:
    value = file.attrs[name]
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, str):
        return value
    raise Refused(f"attribute {name} of type {type(value).__name__}, not text")


def _limit(which: int, most: int) -> None:
    """Lower a limit of this process; a lower one of the caller (``ulimit``) stays."""
    _, hard = resource.getrlimit(which)
    lowered = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (lowered, lowered))


def main(path: str, max_bytes: int) -> None:
    """Print the findings, or ``{"refused": why}``, as one JSON object."""
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    _limit(resource.RLIMIT_CORE, 0)
    try:
        found = probe(path, max_bytes)
    except Refused as why:
        found = {"refused": str(why)}
    except Exception as fault:  # noqa: BLE001 - whatever h5py says about a damaged file
        found = {"damaged": f"{type(fault).__name__}: {fault}"}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
