"""How images are made: Debian's packages by mmdebstrap, wheels by pip, no registry.

No code of the target runs: packages are unpacked, pruned and packed again, so an Arm image
is made on any machine. What maintainer scripts would have set up is the environment below.

The emulators with our plugin are compiled by Debian's gcc inside a container of the engine.
They run on the engine's processor, not on the image's: an Arm image made for an amd64 engine
carries amd64 emulators, as a dynamic program beside its own loader and libraries.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

from converters.process import run_bounded
from edgepack.errors import EnvironmentMissing, RuntimeFailure, UsageError
from edgepack.sandbox.engine import Engine, require
from edgepack.sandbox.images import archive, inventory, tree
from edgepack.sandbox.images.inventory import ImageStatus
from edgepack.sandbox.images.spec import (
    DEFAULTS,
    ImageSpec,
    docker_folder,
    inputs_digest,
    known,
)

_COMPILE_SECONDS, _MAX_TEXT_BYTES = 600.0, 1 << 20
_FORMAT = "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_INDEX_SECONDS, _FETCH_SECONDS = 60.0, 1800.0
_MAX_INDEX_BYTES, _MAX_TAR_BYTES = 16 * 2**20, 4 * 2**30
_TOOLS_SUITE = "bookworm"  # qemu-user 7.2, whose dynamic build loads plugins
_tools: dict[str, tempfile.TemporaryDirectory[str]] = {}
_PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_34")


def build(
    arches: Iterable[str] | None = None,
    runtime: str | None = None,
    *,
    version: str | None = None,
    force: bool = False,
    engine: Engine | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[ImageStatus, ...]:
    """Make the images asked for that are absent or stale (all with ``force``) and list them.

    Without a runtime and version the two defaults are made: tflite-runtime 2.14.0 and
    ai-edge-litert 1.4.0. ``engine`` is the one that answers unless given.

    Raises:
        UsageError: no such image.
        EnvironmentMissing: no engine, no mmdebstrap, no Debian mirror, no wheel.
    """
    engine = engine or require()
    made = []
    for spec in _asked(arches, runtime, version):
        found = inventory.image_status(engine, spec)
        if force or found.state != "present":
            progress(f"{spec.tag}: {found.state}, making it")
            former, found = found.identity, _make(engine, spec, progress)
            _drop(engine, former, found.identity)
        made.append(found)
    return tuple(made)


def _drop(engine: Engine, former: str, present: str) -> None:
    """Remove the image that another now takes the name of; one in use stays."""
    from docker.errors import APIError

    if former and former != present:
        with contextlib.suppress(APIError):
            engine.api.remove_image(former)


def _asked(
    arches: Iterable[str] | None, runtime: str | None, version: str | None
) -> tuple[ImageSpec, ...]:
    wanted = set(arches) if arches else None
    if runtime is None and version is None:
        pool = [s for s in known() if (s.package, s.version) in DEFAULTS]
    else:
        pool = [
            s for s in known() if runtime in (None, s.package) and version in (None, s.version)
        ]
        if version is None:
            pool = [s for s in pool if (s.package, s.version) in DEFAULTS]
    chosen = tuple(s for s in pool if wanted is None or s.arch in wanted)
    unknown = (wanted or set()) - {s.arch for s in chosen}
    if not chosen or unknown:
        have = ", ".join(f"{s.package} {s.version} {s.arch}" for s in known())
        asked = f"{runtime or 'any runtime'} {version or ''} {sorted(wanted or ())}"
        raise UsageError(f"no image can be made for {asked}; there is {have}")
    return chosen


def _make(engine: Engine, spec: ImageSpec, progress: Callable[[str], None]) -> ImageStatus:
    folder = docker_folder()
    with tempfile.TemporaryDirectory(prefix="edgepack-image-") as scratch:
        root, top = Path(scratch) / "base", Path(scratch) / "top"
        debs = _unpack_debian(spec, folder, root)
        _compile(spec, root)
        if spec.emulator:
            _add_emulator(spec, root, emulators(engine, folder, progress))
        (root / "edgepack").mkdir(exist_ok=True)
        (root / "edgepack/debs.txt").write_text(debs)
        _unpack_wheel(spec, folder, Path(scratch), top)
        _compile(spec, top)
        layers = [archive.layer(root), archive.layer(top)]
    packed, identity = archive.image(
        layers,
        arch=spec.arch,
        tag=spec.tag,
        env={
            # no maintainer script ran: Debian's alternatives are not linked
            "LD_LIBRARY_PATH": f"/usr/lib/{spec.triplet}/blas:/usr/lib/{spec.triplet}/lapack",
            "PATH": "/usr/bin",
        },
        labels={
            inventory.INPUTS: inputs_digest(spec, folder),
            inventory.DEBS: hashlib.sha256(debs.encode()).hexdigest(),
        },
    )
    for line in engine.api.load_image(io.BytesIO(packed)):
        if "error" in line:
            raise EnvironmentMissing(
                f"the engine refused the image {spec.tag}: {line['error']}"
            )
    progress(f"{spec.tag}: {identity[7:19]}")
    return inventory.image_status(engine, spec)


def _unpack_debian(spec: ImageSpec, folder: Path, root: Path) -> str:
    """Unpack the kept files below ``root``; return the list of packages with their digests."""
    names = (folder / "packages" / f"{spec.suite}.txt").read_text().split()
    tar = packages_of(names, suite=spec.suite, arch=spec.debian_arch, source=mirror())
    debs = []
    root.mkdir()
    with tar, tarfile.open(fileobj=tar, mode="r|") as packed:
        for member in packed:
            member.name = member.name.removeprefix("./").rstrip("/")
            if member.name.endswith(".deb"):
                content = packed.extractfile(member)
                assert content is not None  # a .deb is a file
                digest = hashlib.sha256(content.read()).hexdigest()
                debs.append(f"{digest}  {Path(member.name).name}\n")
            elif member.name and tree.keeps(member.name) and not member.isdev():
                packed.extract(_as_own(member), root, filter="tar")
    return "".join(sorted(debs, key=lambda line: line.split()[1]))


def _as_own(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return the member as the present user's own, so that no root is needed."""
    return member.replace(uid=os.getuid(), gid=os.getgid(), uname="", gname="", deep=False)


def _unpack_wheel(spec: ImageSpec, folder: Path, scratch: Path, top: Path) -> None:
    site = top / f"usr/local/lib/python{spec.python}/dist-packages"
    site.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--implementation=cp"]
    command += [f"--python-version={spec.python}", f"--abi=cp{spec.python.replace('.', '')}"]
    command += [f"--platform={platform}_{spec.machine}" for platform in _PLATFORMS]
    command += ["-d", str(scratch / "wheels"), "-r", str(folder / spec.requirements)]
    done = run_bounded(command, timeout_s=_FETCH_SECONDS, max_bytes=_MAX_TEXT_BYTES)
    wheels = sorted((scratch / "wheels").glob("*.whl"))
    if not done.ok or len(wheels) != 1:
        raise EnvironmentMissing(f"pip could not fetch {spec.requirements}: {done.reason()}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        for info in wheel.infolist():
            if info.is_dir() or not tree.keeps_of_wheel(info.filename):
                continue
            target = site / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(wheel.read(info))
            if target.suffix == ".so":
                target.chmod(0o755)


def _add_emulator(spec: ImageSpec, root: Path, kit: Path) -> None:
    place = root / "qemu"
    (place / "lib").mkdir(parents=True)
    for file in sorted(kit.iterdir()):
        if file.is_file() and (not file.name.startswith("qemu-") or file.name == spec.emulator):
            shutil.copy(file, place / file.name)
    for library in sorted((kit / "lib").iterdir()):
        shutil.copy(library, place / "lib" / library.name)


def _compile(spec: ImageSpec, root: Path) -> None:
    """Put compiled files in the place of Python sources, where this Python is the image's.

    An import under the emulator falls from 6.3 s to 0.6 s, and the image loses 9 MB. A fixed
    hash seed and one worker make the same bytes each time.
    """
    if spec.python != f"{sys.version_info.major}.{sys.version_info.minor}":
        return
    command = [sys.executable, "-sP", "-m", "compileall", "-q", "-q", "-f", "-b", "-j1"]
    command += ["--invalidation-mode=unchecked-hash", "-s", str(root), "-p", "/", str(root)]
    done = run_bounded(
        command,
        timeout_s=_COMPILE_SECONDS,
        max_bytes=_MAX_TEXT_BYTES,
        env={"PYTHONHASHSEED": "0"},
    )
    if not done.ok:
        raise RuntimeFailure(f"{spec.tag}: its Python files do not compile: {done.reason()}")
    for source in root.rglob("*.py"):
        if source.with_suffix(".pyc").is_file():
            source.unlink()


def mirror() -> str:
    """Return the Debian mirror that this machine's own package sources name.

    ``EDGEPACK_DEBIAN_MIRROR`` overrides it, for a machine that is not Debian.

    Raises:
        EnvironmentMissing: neither names one.
    """
    given = os.environ.get("EDGEPACK_DEBIAN_MIRROR")
    if given:
        return given
    if shutil.which("apt-get"):
        command = ["apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages"]
        found = run_bounded(command, timeout_s=_INDEX_SECONDS, max_bytes=_MAX_INDEX_BYTES)
        for line in found.stdout.decode("utf-8", "replace").splitlines():
            origin, release, component, address = line.split("|", 3)
            if (
                origin == "Debian"
                and component == "main"
                and "-security" not in release + address
            ):
                return address
    raise EnvironmentMissing(
        "no Debian mirror in this machine's package sources (run apt-get update once); or "
        "name one in EDGEPACK_DEBIAN_MIRROR"
    )


def packages_of(names: Sequence[str], *, suite: str, arch: str, source: str) -> IO[bytes]:
    """Return a tar of the packages and what they need, unpacked, with the .deb files in it.

    apt checks the archive's signature and each package's digest. No code of the target
    runs. The file is temporary and goes when it is closed.

    Raises:
        EnvironmentMissing: mmdebstrap is absent or failed.
    """
    if shutil.which("mmdebstrap") is None:
        raise EnvironmentMissing(
            "mmdebstrap is not installed; apt-get install mmdebstrap (or use docker/Dockerfile)"
        )
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    output = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    command = ["mmdebstrap", "--quiet", "--variant=extract", "--skip=cleanup/apt"]
    command += [f"--architectures={arch}", f"--include={','.join(names)}", suite, "-"]
    command += [f"deb {signed}{source} {suite} main"]
    try:
        done = run_bounded(
            command, timeout_s=_FETCH_SECONDS, max_bytes=_MAX_TAR_BYTES, write=output.write
        )
        if not done.ok:
            raise EnvironmentMissing(
                f"mmdebstrap could not fetch {suite} {arch}: {done.reason()}"
            )
        output.seek(0)
    except BaseException:
        output.close()
        raise
    return output


def emulators(engine: Engine, folder: Path, progress: Callable[[str], None]) -> Path:
    """Return a folder of qemu-arm, qemu-aarch64, ld.so, lib/ and count.so.

    It is made once a process and goes with it; the tools image behind it stays with the
    engine.

    Raises:
        EnvironmentMissing: the tools cannot be fetched or the plugin does not compile.
    """
    names = (folder / "packages/tools.txt").read_text().split()
    digest = hashlib.sha256(" ".join([engine.arch, _TOOLS_SUITE, *names]).encode()).hexdigest()
    tag = f"edgepack/tools:{engine.arch}"
    if tag in _tools:
        return Path(_tools[tag].name) / "out"
    if not _holds_tools(engine, tag, digest):
        progress(f"{tag}: making it")
        _load_tools(engine, tag, digest, names)
    progress("compiling the counting plugin")
    _tools[tag] = tempfile.TemporaryDirectory(prefix="edgepack-tools-")
    _build_plugin(engine, tag, folder / "plugin", Path(_tools[tag].name))
    return Path(_tools[tag].name) / "out"


def _holds_tools(engine: Engine, tag: str, digest: str) -> bool:
    from docker.errors import ImageNotFound

    try:
        labels = engine.api.inspect_image(tag)["Config"].get("Labels") or {}
    except ImageNotFound:
        return False
    return bool(labels.get(inventory.INPUTS) == digest)


def _load_tools(engine: Engine, tag: str, digest: str, names: list[str]) -> None:
    source = packages_of(names, suite=_TOOLS_SUITE, arch=engine.arch, source=mirror())
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
        labels={inventory.INPUTS: digest},
    )
    for line in engine.api.load_image(io.BytesIO(image)):
        if "error" in line:
            raise EnvironmentMissing(f"the engine refused the tools image: {line['error']}")


def _build_plugin(engine: Engine, tag: str, plugin: Path, target: Path) -> None:
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
