"""Which images there are, and which one stands in for a profile's runtime; pure.

One image holds Debian's Python and numpy, one model runtime, and for Arm the emulator
with the counting plugin. Nothing else: no shell, no package manager.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edgepack.errors import EnvironmentMissing, UsageError
from edgepack.profiles.profile import CarriedRuntime

ARCHES = ("amd64", "arm64", "armv7")
_DEBIAN = {"amd64": "amd64", "arm64": "arm64", "armv7": "armhf"}
_TRIPLET = {
    "amd64": "x86_64-linux-gnu",
    "arm64": "aarch64-linux-gnu",
    "armv7": "arm-linux-gnueabihf",
}
_MACHINE = {"amd64": "x86_64", "arm64": "aarch64", "armv7": "armv7l"}
_EMULATOR = {"arm64": "qemu-aarch64", "armv7": "qemu-arm"}
_PYTHON = {"bookworm": "3.11", "bullseye": "3.9"}
_WHEELS: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("tflite-runtime", "2.14.0"): ("bookworm", ARCHES),
    ("ai-edge-litert", "2.1.6"): ("bookworm", ("amd64", "arm64")),
    ("ai-edge-litert", "1.4.0"): ("bookworm", ("amd64", "arm64")),
    ("tflite-runtime", "2.9.1"): ("bullseye", ("amd64",)),
}
#: What ``images build`` makes unless told otherwise: the runtimes of the built-in profiles.
DEFAULTS = frozenset({("tflite-runtime", "2.14.0"), ("ai-edge-litert", "1.4.0")})
_PACKAGE = {"tflite": "tflite-runtime", "litert": "ai-edge-litert"}
# of the machinery, what decides an image's content; a change makes the image stale
_MAKERS = ("tree.py", "archive.py")


@dataclass(frozen=True, slots=True, order=True)
class ImageSpec:
    """One image: a runtime's package, its version and an instruction set."""

    package: str
    version: str
    arch: str

    @property
    def tag(self) -> str:
        """The name under which an engine keeps it."""
        return f"edgepack/{self.package}:{self.version}-{self.arch}"

    @property
    def suite(self) -> str:
        """The Debian release whose Python the wheel is made for."""
        return _WHEELS[self.package, self.version][0]

    @property
    def python(self) -> str:
        """The Python inside, such as ``3.11``."""
        return _PYTHON[self.suite]

    @property
    def debian_arch(self) -> str:
        """Debian's name of the instruction set."""
        return _DEBIAN[self.arch]

    @property
    def triplet(self) -> str:
        """The folder of shared libraries below /usr/lib."""
        return _TRIPLET[self.arch]

    @property
    def machine(self) -> str:
        """The name in wheel platforms, and what ``uname -m`` says inside."""
        return _MACHINE[self.arch]

    @property
    def emulator(self) -> str | None:
        """The qemu program inside, None where the processor needs none."""
        return _EMULATOR.get(self.arch)

    @property
    def requirements(self) -> str:
        """The locked requirements file below docker/."""
        return f"requirements/{self.package}-{self.version}.txt"


def known() -> tuple[ImageSpec, ...]:
    """Return every image that can be made, the default runtimes first."""
    return tuple(
        ImageSpec(package, version, arch)
        for (package, version), (_, arches) in _WHEELS.items()
        for arch in arches
    )


def docker_folder() -> Path:
    """Return the folder of locks, plugin and seccomp list: in the wheel or in the checkout.

    Raises:
        EnvironmentMissing: neither is there.
    """
    here = Path(__file__).resolve()
    places = (here.parents[1] / "_docker", here.parents[3] / "docker")
    for place in places:
        if (place / "seccomp.json").is_file():
            return place
    raise EnvironmentMissing(
        "the docker/ folder of edgepack is not installed; run from a checkout, or install "
        f"the wheel again. Looked in {places[0]} and {places[1]}"
    )


def inputs_digest(spec: ImageSpec, folder: Path) -> str:
    """Return the SHA-256 of everything of ours that decides the image's content."""
    files = [folder / spec.requirements, folder / "packages" / f"{spec.suite}.txt"]
    if spec.emulator:
        files += [folder / "packages/tools.txt", *sorted((folder / "plugin").iterdir())]
    files += [Path(__file__).parent / name for name in _MAKERS]
    digest = hashlib.sha256(f"{spec.tag}\n".encode())
    for file in files:
        digest.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def choose(runtime: CarriedRuntime, arch: str) -> tuple[ImageSpec, str]:
    """Return the image for a profile's runtime and a remark, empty where it is the very one.

    An unknown version is judged in the nearest one there is; the remark says so, because
    another version may compute otherwise.

    Raises:
        UsageError: no image of that runtime exists for the instruction set.
    """
    package = _PACKAGE.get(runtime.name, runtime.name)
    candidates = [spec for spec in known() if (spec.package, spec.arch) == (package, arch)]
    remark = ""
    if not candidates and package == "ai-edge-litert":
        candidates = [spec for spec in known() if spec.arch == arch]
        remark = f"no {package} exists for {arch}; "
    if not candidates:
        have = ", ".join(sorted({f"{s.package} ({s.arch})" for s in known()}))
        raise UsageError(f"no image of {runtime.name} for {arch}; there is {have}")
    best = min(candidates, key=lambda spec: _distance(spec.version, runtime.version))
    if best.version == runtime.version and not remark:
        return best, ""
    remark_of_choice = (
        f"judged in {best.package} {best.version}; the device carries {runtime.name} "
    )
    return best, remark + remark_of_choice + runtime.version


def _distance(one: str, other: str) -> tuple[int, ...]:
    ours, theirs = _numbers(one), _numbers(other)
    return tuple(abs(a - b) for a, b in zip(ours, theirs, strict=True))


def _numbers(version: str) -> tuple[int, int, int]:
    parts = ["".join(c for c in part if c.isdigit()) for part in version.split(".")[:3]]
    major, minor, patch = [int(part or 0) for part in (*parts, "", "", "")[:3]]
    return major, minor, patch
