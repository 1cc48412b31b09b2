"""The door to Debian's packages: this machine's mirror, unpacked by mmdebstrap."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from edgepack.errors import EnvironmentMissing
from edgepack.process import run_bounded

_FORMAT = "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_INDEX_SECONDS, _FETCH_SECONDS = 60.0, 1800.0
_MAX_INDEX_BYTES, _MAX_TAR_BYTES = 16 * 2**20, 4 * 2**30


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
