"""A board reached by ssh, behind the same ``Link`` as a phone; uses the system's ``ssh``."""

from __future__ import annotations

import posixpath
import re
import shlex
import shutil
from dataclasses import dataclass

from converters.process import ProcessResult, run_bounded
from edgepack.device.links.link import CommandResult, DeviceDisconnected, DeviceFull
from edgepack.errors import EnvironmentMissing, RuntimeFailure, UsageError

_TARGET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]*")
_OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=10")
_MAX_TEXT_BYTES = 64 * 2**20
_LOST = 255  # ssh(1): "exits with … 255 if an error occurred"


@dataclass(frozen=True, slots=True)
class SshLink:
    """One board.

    Attributes:
        target: ``user@host`` or a name of ``~/.ssh/config``; keys must be set up.
        folder: where files are put there.
        program: what is run; another one only in tests.
    """

    target: str
    folder: str = "/var/tmp/edgepack"  # noqa: S108 - names in it are digests
    program: tuple[str, ...] = ("ssh",)

    def __post_init__(self) -> None:
        if not _TARGET.fullmatch(self.target):  # a leading dash would be an option
            raise UsageError(f"--ssh: wanted user@host. Received: {self.target!r}")
        if shutil.which(self.program[0]) is None:
            raise EnvironmentMissing(
                f"{self.program[0]} is not installed; apt-get install openssh-client"
            )

    @property
    def name(self) -> str:
        return f"ssh {self.target}"

    def run(self, command: str, *, timeout_s: float = 60.0) -> CommandResult:
        """Return how the command ended there."""
        done = self._ssh(command, timeout_s)
        if done.output_exceeded:
            raise RuntimeFailure(
                f"{self.name}: {command[:60]!r} wrote over {_MAX_TEXT_BYTES:,} B"
            )
        text, err = (part.decode("utf-8", "replace") for part in (done.stdout, done.stderr))
        return CommandResult(done.code, text, err)

    def shell(self, command: str) -> str:
        """Return what the command printed."""
        return self.run(command).out

    def push(self, data: bytes, remote: str, *, mode: int = 0o644) -> None:
        """Put ``data`` at ``remote`` by one ``cat``, then rename."""
        partial, folder = shlex.quote(f"{remote}.part"), shlex.quote(posixpath.dirname(remote))
        done = self._ssh(
            f"mkdir -p {folder} && cat > {partial} && chmod {mode:o} {partial}"
            f" && mv {partial} {shlex.quote(remote)}",
            600.0,
            data,
        )
        if not done.ok:
            said = done.reason()
            self.run(f"rm -f {partial}")
            full = "no space left" in said.lower()
            kind = DeviceFull if full else RuntimeFailure
            raise kind(f"{self.name}: {remote}: could not be written: {said}")

    def pull(self, remote: str, ceiling_bytes: int) -> bytes:
        """Return the file there."""
        command = f"head -c {ceiling_bytes + 1} {shlex.quote(remote)}"
        done = self._ssh(command, 600.0, max_bytes=ceiling_bytes)
        if done.output_exceeded:
            raise RuntimeFailure(f"{self.name}: {remote}: more than {ceiling_bytes:,} B")
        if not done.ok:
            raise RuntimeFailure(f"{self.name}: {remote}: {done.reason()}")
        return done.stdout

    def _ssh(
        self,
        command: str,
        timeout_s: float,
        data: bytes = b"",
        *,
        max_bytes: int = _MAX_TEXT_BYTES,
    ) -> ProcessResult:
        words = [*self.program, *(_OPTIONS if self.program == ("ssh",) else ())]
        done = run_bounded(
            [*words, self.target, command],
            stdin=data,
            timeout_s=timeout_s,
            max_bytes=max_bytes,
        )
        if done.timed_out:
            raise RuntimeFailure(f"{self.name}: no answer within {timeout_s:g} s")
        if done.code == _LOST:
            raise DeviceDisconnected(
                f"{self.name}: the connection failed ({done.reason(200)}); the same command"
                " goes on from there"
            )
        return done
