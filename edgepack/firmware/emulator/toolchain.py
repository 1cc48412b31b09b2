"""C compilers and the emulator: which are installed, and one run of each."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.process import ProcessResult, run_bounded
from edgepack.errors import EnvironmentMissing, RuntimeFailure, TimedOut

ARM_GCC = "arm-none-eabi-gcc"
QEMU = "qemu-system-arm"
HOST_GCC = "gcc"
_ARM_PACKAGES = "gcc-arm-none-eabi libnewlib-arm-none-eabi"
_PACKAGES = {ARM_GCC: _ARM_PACKAGES, QEMU: "qemu-system-arm", HOST_GCC: "gcc"}
_COMPILE_SECONDS = 300.0
_MAX_TEXT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class CrossCompiler:
    """A compiler for Cortex-M: GCC of the system, or Clang in the ziglang wheel.

    Attributes:
        command: begins every call.
        freestanding: it brings no C library; the harness declares memcpy and memset.
    """

    name: str
    command: tuple[str, ...]
    freestanding: bool

    def flags(self, core: str, gcc_flags: tuple[str, ...]) -> tuple[str, ...]:
        """Return what selects a core such as ``cortex-m4``."""
        if not self.freestanding:
            return gcc_flags
        cpu = core.replace("-", "_")
        quiet = ("-fno-sanitize=undefined", "-Wno-unused-command-line-argument")
        return ("-target", "thumb-freestanding-eabi", f"-mcpu={cpu}", *quiet)


def cross_compiler() -> CrossCompiler | None:
    """Return GCC for Arm if it is on the path, else ziglang's Clang, else None."""
    gcc = shutil.which(ARM_GCC)
    if gcc is not None:
        return CrossCompiler(_first_line([gcc, "--version"]), (gcc,), False)
    if importlib.util.find_spec("ziglang") is not None:
        command = (sys.executable, "-m", "ziglang")
        return CrossCompiler(
            f"zig cc {_first_line([*command, 'version'])}", (*command, "cc"), True
        )
    return None


def host_compiler() -> tuple[str, ...] | None:
    """Return the command of a C compiler for this machine: GCC, else ziglang's Clang."""
    gcc = shutil.which(HOST_GCC)
    if gcc is not None:
        return (gcc,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc", "-fno-sanitize=undefined")
    return None


def find(tool: str) -> str:
    """Return the path of a tool.

    Raises:
        EnvironmentMissing: it is not on this machine; names the Debian packages.
    """
    path = shutil.which(tool)
    if path is None:
        raise EnvironmentMissing(missing((tool,)))
    return path


def missing(tools: Sequence[str]) -> str:
    """Return one line about the tools that are not here, empty if all are.

    ``ARM_GCC`` and ``HOST_GCC`` stand for any compiler of their kind.
    """
    absent = [tool for tool in tools if shutil.which(tool) is None]
    for tool, found in ((ARM_GCC, cross_compiler), (HOST_GCC, host_compiler)):
        if tool in absent and found() is not None:
            absent.remove(tool)
    if not absent:
        return ""
    packages = " ".join(_PACKAGES[tool] for tool in absent)
    instead = ", or pip install ziglang" if {ARM_GCC, HOST_GCC} & {*absent} else ""
    return f"{' and '.join(absent)} not found; on Debian: apt-get install {packages}{instead}"


def run(
    command: Sequence[str],
    *,
    timeout_s: float = _COMPILE_SECONDS,
    max_bytes: int = _MAX_TEXT_BYTES,
) -> ProcessResult:
    """Return how a tool ended."""
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgepack" / "zig"
    )
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "TMPDIR": tempfile.gettempdir(),
        "ZIG_GLOBAL_CACHE_DIR": str(cache),
        "ZIG_LOCAL_CACHE_DIR": str(cache),
    }
    return run_bounded(command, timeout_s=timeout_s, max_bytes=max_bytes, env=environment)


def compile_c(command: Sequence[str], arguments: Sequence[str], folder: Path) -> None:
    """Run a C compiler on files of ``folder``.

    Raises:
        RuntimeFailure: it reported an error; the first line of it.
    """
    ended = run([*command, *arguments, f"-I{folder}"])
    if ended.timed_out:
        raise TimedOut(f"{Path(command[0]).name}: still compiling after {_COMPILE_SECONDS:g} s")
    if ended.code != 0:
        lines = [line for line in ended.stderr.decode("utf-8", "replace").splitlines() if line]
        first = next((line for line in lines if "error" in line), lines[0] if lines else "")
        name = Path(command[0]).name
        raise RuntimeFailure(f"{name} failed: {first.replace(str(folder) + '/', '')}")


def _first_line(command: Sequence[str]) -> str:
    ended = run(command, timeout_s=30.0)
    lines = ended.stdout.decode("utf-8", "replace").splitlines()
    return lines[0] if lines else Path(command[0]).name
