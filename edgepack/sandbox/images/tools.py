"""The emulators with our plugin, compiled by Debian's gcc inside a container of the engine.

They run on the engine's processor, not on the image's: an Arm image made for an amd64
engine carries amd64 emulators, as a dynamic program beside its own loader and libraries.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from edgepack.errors import EnvironmentMissing
from edgepack.sandbox.engine import Engine
from edgepack.sandbox.images import archive
from edgepack.sandbox.images.debian import mirror, packages_of
from edgepack.sandbox.images.inventory import INPUTS

_SUITE = "bookworm"  # qemu-user 7.2, whose dynamic build loads plugins
_kept: dict[str, tempfile.TemporaryDirectory[str]] = {}


def emulators(engine: Engine, folder: Path, progress: Callable[[str], None]) -> Path:
    """Return a folder of qemu-arm, qemu-aarch64, ld.so, lib/ and count.so.

    It is made once a process and goes with it; the tools image behind it stays with the
    engine.

    Raises:
        EnvironmentMissing: the tools cannot be fetched or the plugin does not compile.
    """
    names = (folder / "packages/tools.txt").read_text().split()
    digest = hashlib.sha256(" ".join([engine.arch, _SUITE, *names]).encode()).hexdigest()
    tag = f"edgepack/tools:{engine.arch}"
    if tag in _kept:
        return Path(_kept[tag].name) / "out"
    if not _present(engine, tag, digest):
        progress(f"{tag}: making it")
        _load(engine, tag, digest, names)
    progress("compiling the counting plugin")
    _kept[tag] = tempfile.TemporaryDirectory(prefix="edgepack-tools-")
    _copy_out(engine, tag, folder / "plugin", Path(_kept[tag].name))
    return Path(_kept[tag].name) / "out"


def _present(engine: Engine, tag: str, digest: str) -> bool:
    from docker.errors import ImageNotFound

    try:
        labels = engine.api.inspect_image(tag)["Config"].get("Labels") or {}
    except ImageNotFound:
        return False
    return bool(labels.get(INPUTS) == digest)


def _load(engine: Engine, tag: str, digest: str, names: list[str]) -> None:
    source = packages_of(names, suite=_SUITE, arch=engine.arch, source=mirror())
    slim = io.BytesIO()
    with (
        source,
        tarfile.open(fileobj=source, mode="r|") as packed,
        tarfile.open(fileobj=slim, mode="w") as kept,
    ):
        for member in packed:
            useless = ("./usr/share/", "./var/", "./dev/")
            if not member.name.startswith(useless) and not member.isdev():
                kept.addfile(member, packed.extractfile(member) if member.isfile() else None)
    image, _ = archive.image(
        [slim.getvalue()],
        arch=engine.arch,
        tag=tag,
        env={"PATH": "/usr/bin:/bin"},
        labels={INPUTS: digest},
    )
    for line in engine.api.load_image(io.BytesIO(image)):
        if "error" in line:
            raise EnvironmentMissing(f"the engine refused the tools image: {line['error']}")


def _copy_out(engine: Engine, tag: str, plugin: Path, target: Path) -> None:
    """Run the plugin's build script in the tools image and take its /out folder."""
    made = engine.api.create_container(
        tag,
        ["/bin/dash", "/src/build.sh"],
        user="0:0",
        network_disabled=True,
        host_config=engine.api.create_host_config(
            binds=[f"{plugin}:/src:ro"], network_mode="none", cap_drop=["ALL"]
        ),
    )
    try:
        engine.api.start(made["Id"])
        code = int(engine.api.wait(made["Id"], timeout=120)["StatusCode"])
        if code != 0:
            why = engine.api.logs(made["Id"]).decode(errors="replace").strip()[-600:]
            raise EnvironmentMissing(f"the counting plugin does not compile: {why}")
        pieces, _ = engine.api.get_archive(made["Id"], "/out")
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as packed:
            packed.extractall(target, filter="data")
    finally:
        engine.api.remove_container(made["Id"], force=True, v=True)
