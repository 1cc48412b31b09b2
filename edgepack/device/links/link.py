"""What every way to a device can do: run a command, push a file there, fetch one back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgepack.errors import OutputError, RuntimeFailure


class DeviceDisconnected(RuntimeFailure):
    """The device went away in the middle; the same command goes on from there."""


class DeviceFull(OutputError):  # noqa: N818 - reads as a state
    """The device has no room for the file; what was begun there was removed."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command left: its exit code and its output, both streams together on old adb."""

    code: int
    out: str
    err: str = ""

    def last_line(self) -> str:
        """Return the last line that says something, for an error message."""
        said = [line.strip() for line in (self.out + "\n" + self.err).splitlines()]
        return next((line for line in reversed(said) if line), "no output")[:300]


class Link(Protocol):
    """A way to one device.

    Attributes:
        name: such as ``adb R58M123`` or ``ssh pi@zero``, for messages.
        folder: where files may be push_once there.
    """

    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> str: ...

    def run(self, command: str, *, timeout_s: float = 60.0) -> CommandResult:
        """Return how a shell command ended.

        Raises:
            DeviceDisconnected: the device went away.
            RuntimeFailure: no answer within the time.
        """
        ...

    def shell(self, command: str) -> str:
        """Return what a command printed, whatever its exit code."""
        ...

    def push(self, data: bytes, remote: str, *, mode: int = 0o644) -> None:
        """Put ``data`` at ``remote``, whole or not at all.

        Raises:
            DeviceFull, DeviceDisconnected, RuntimeFailure.
        """
        ...

    def pull(self, remote: str, ceiling_bytes: int) -> bytes:
        """Return the file at ``remote``.

        Raises:
            RuntimeFailure: absent, unreadable or larger than ``ceiling_bytes``.
        """
        ...


def push_once(link: Link, data: bytes, remote: str, *, mode: int = 0o644) -> bool:
    """Push a file that is named by its digest; return whether it had to be sent.

    The name must contain the content's digest: then a file of the right size that is
    already there came whole (``push`` renames last), and an interrupted run goes on.
    """
    there = link.run(f"wc -c < {remote} 2>/dev/null").out.strip()
    if there == str(len(data)):
        return False
    link.push(data, remote, mode=mode)
    return True
