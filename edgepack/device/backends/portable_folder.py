"""The self-contained folder: loader, libraries, Python, runtime and worker, one tar a board.

It is an image's own content without the engine, so a board without Docker, or a phone's
``/data/local/tmp``, runs the very files that were proven in the sandbox.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

from edgepack.errors import InputError
from edgepack.inference import worker
from edgepack.sandbox.engine import Engine
from edgepack.sandbox.images import inventory
from edgepack.sandbox.images.spec import ImageSpec

_LOADER = {"arm64": "ld-linux-aarch64.so.1", "armv7": "ld-linux-armhf.so.3"}
_LEFT_OUT = ("qemu", "dev", "proc", "sys", ".dockerenv", "etc", "run", "tmp")
#: More than any image of ours; an export beyond it is not one.
_CEILING_BYTES = 512 * 2**20

_RUN = """#!/bin/sh
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


def pack(engine: Engine, spec: ImageSpec) -> bytes:
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
                return repack(exported, spec)
    finally:
        engine.api.remove_container(made["Id"], force=True)


def repack(exported: tarfile.TarFile, spec: ImageSpec) -> bytes:
    """Return the kept members, sorted and without times or owners, with launcher and worker."""
    out = io.BytesIO()
    kept = sorted(
        (m for m in exported.getmembers() if m.name.split("/")[0] not in _LEFT_OUT),
        key=lambda member: member.name,
    )
    run = _RUN.format(triplet=spec.triplet, python=spec.python, loader=_LOADER[spec.arch])
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
