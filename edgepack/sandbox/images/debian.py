"""The door to Debian's packages: this machine's mirror, unpacked by mmdebstrap."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from edgepack.errors import EnvironmentMissing

_FORMAT = "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


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
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for line in told.splitlines():
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
    done = subprocess.run(
        command, stdout=output, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        output.close()
        why = " ".join(done.stderr.split())[-300:]
        raise EnvironmentMissing(f"mmdebstrap could not fetch {suite} {arch}: {why}")
    output.seek(0)
    return output
