"""The pieces of the build check: where they lie, whether they are whole, how to get them.

    python android_harness/verify/kit.py        fetch what is missing (150 MB, once)

Debian's packages by ``apt-get download``, npm's by ``npm pack``; every file is compared with
its digest in pieces.toml before a byte of it is used, and nothing is installed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
_SEAL = "complete"


class Missing(Exception):
    """A piece or a tool is not here; says which and how to get it."""


@dataclass(frozen=True)
class Kit:
    """An unpacked kit and the tools in it."""

    root: Path

    @property
    def dx(self) -> Path:
        return self.root / "package/framework/build-tools/android-metadata-generator.jar"

    @property
    def levels(self) -> Path:
        return self.root / "package/lib/android/android-platform-21-37-merged.d.ts"

    @property
    def framework(self) -> Path:
        return self.root / "usr/share/android-framework-res/framework-res.apk"

    @property
    def apksigner(self) -> Path:
        return self.root / "usr/share/java/apksigner.jar"

    def tool(self, name: str) -> Path:
        return self.root / "usr/lib/android-sdk/build-tools/debian" / name

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which the unpacked tools find their libraries."""
        folders = ("usr/lib/x86_64-linux-gnu/android", "usr/lib/x86_64-linux-gnu", "usr/lib")
        places = [str(self.root / folder) for folder in (*folders, "usr/lib/p7zip")]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(places), "LC_ALL": "C.UTF-8"}


def place() -> Path:
    """Return the kit's folder: ``$EDGEPACK_ANDROID_KIT`` or one in the user's cache."""
    chosen = os.environ.get("EDGEPACK_ANDROID_KIT")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(chosen) if chosen else Path(base) / "edgepack" / "android-kit"


def pins() -> dict[str, Any]:
    return tomllib.loads((HERE / "pieces.toml").read_text("utf-8"))


def _digest() -> str:
    return hashlib.sha256((HERE / "pieces.toml").read_bytes()).hexdigest()


def find() -> Kit:
    """Return the kit.

    Raises:
        Missing: it is not here, is of other pins, or a JDK is missing.
    """
    for tool in ("java", "javac", "javap", "keytool"):
        if shutil.which(tool) is None:
            raise Missing(f"no {tool} (Debian: apt-get install default-jdk-headless)")
    root = place()
    seal = root / _SEAL
    if not seal.is_file() or seal.read_text() != _digest():
        raise Missing(
            f"no Android build pieces in {root}; 'python {HERE.parent.name}/verify/kit.py'"
            " fetches them (150 MB), EDGEPACK_ANDROID_KIT names another folder"
        )
    return Kit(root)


def fetch() -> Kit:
    """Return the kit after fetching it, whole or not at all.

    Raises:
        Missing: apt-get or npm is not here, a piece cannot be had, or its digest differs.
    """
    for tool in ("apt-get", "dpkg-deb", "npm"):
        if shutil.which(tool) is None:
            raise Missing(f"no {tool} on this machine: the pieces come by it")
    root = place()
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=".kit-") as scratch:
        new, files = Path(scratch) / "new", Path(scratch) / "files"
        new.mkdir()
        files.mkdir()
        for pin in pins()["deb"]:
            _deb(pin, files, new)
        for pin in pins()["npm"]:
            _npm(pin, files, new)
        (new / _SEAL).write_text(_digest())
        if root.exists():
            shutil.rmtree(root)
        new.rename(root)
    return find()


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise Missing(f"{' '.join(command[:3])}: {last}")
    return done.stdout


def _deb(pin: dict[str, str], files: Path, root: Path) -> None:
    before = set(files.iterdir())
    _run(["apt-get", "download", f"{pin['name']}={pin['version']}"], files)
    (file,) = set(files.iterdir()) - before
    if hashlib.sha256(file.read_bytes()).hexdigest() != pin["sha256"]:
        raise Missing(f"{pin['name']} {pin['version']}: another digest than pinned")
    _run(["dpkg-deb", "-x", str(file), str(root)], files)


def _npm(pin: dict[str, Any], files: Path, root: Path) -> None:
    out = _run(["npm", "pack", "--silent", f"{pin['name']}@{pin['version']}"], files)
    file = files / out.strip().splitlines()[-1]
    digest = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != pin["integrity"]:
        raise Missing(f"{pin['name']} {pin['version']}: another digest than pinned")
    with tarfile.open(file) as packed:
        for member in pin["members"]:
            packed.extract(member, root, filter="data")


if __name__ == "__main__":
    try:
        print(fetch().root)
    except Missing as missing:
        sys.exit(f"kit: {missing}")
