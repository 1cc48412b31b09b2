"""The door to C compilers and to the emulator: which are here, and one run of each."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgepack.errors import EnvironmentMissing, RuntimeFailure
from edgepack.runtimes.process import Ended, run_bounded

ARM_GCC = "arm-none-eabi-gcc"
QEMU = "qemu-system-arm"
HOST_GCC = "gcc"
_PACKAGES = {
    ARM_GCC: "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    QEMU: "qemu-system-arm",
    HOST_GCC: "gcc",
}
_COMPILE_SECONDS = 300.0
_MAX_TEXT_BYTES = 1 << 20


def find(tool: str) -> str:
    """Return the path of a tool.

    Raises:
        EnvironmentMissing: it is not on this machine; names the Debian packages.
    """
    path = shutil.which(tool)
    if path is None:
        raise EnvironmentMissing(
            f"{tool} is not on this machine; on Debian: apt-get install {_PACKAGES[tool]}"
        )
    return path


def missing(tools: Sequence[str]) -> str:
    """Return one line about the tools that are not here, empty if all are."""
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if not absent:
        return ""
    packages = " ".join(_PACKAGES[tool] for tool in absent)
    return f"{' and '.join(absent)} not found; on Debian: apt-get install {packages}"


def run(
    command: Sequence[str],
    *,
    timeout_s: float = _COMPILE_SECONDS,
    max_bytes: int = _MAX_TEXT_BYTES,
) -> Ended:
    """Return how a tool ended."""
    path = os.environ.get("PATH", os.defpath)
    environment = {
        "PATH": path,
        "LC_ALL": "C.UTF-8",
        "TMPDIR": tempfile.gettempdir(),
    }
    return run_bounded(command, timeout_s=timeout_s, max_bytes=max_bytes, env=environment)


def compile_c(compiler: str, arguments: Sequence[str], folder: Path) -> None:
    """Run a C compiler on files of ``folder``.

    Raises:
        RuntimeFailure: it reported an error; the first line of it.
    """
    command = [find(compiler), *arguments, f"-I{folder}"]
    ended = run(command)
    if ended.code != 0 or ended.timed_out:
        lines = [line for line in ended.stderr.decode("utf-8", "replace").splitlines() if line]
        first = next((line for line in lines if "error" in line), lines[0] if lines else "")
        raise RuntimeFailure(f"{compiler} failed: {first.replace(str(folder) + '/', '')}")


def version(tool: str) -> str:
    """Return the first line a tool says about itself."""
    ended = run([find(tool), "--version"], timeout_s=10.0)
    return ended.stdout.decode("utf-8", "replace").splitlines()[0] if ended.stdout else tool
