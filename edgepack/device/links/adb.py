"""The door to adb: one attached device behind ``Link``, every failure told apart."""

from __future__ import annotations

import posixpath
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from adbutils import AdbDevice
from adbutils.errors import AdbError, AdbTimeout

from edgepack.device.links.attached import Attached, Server, choose, client, listed, remedy
from edgepack.device.links.link import Answer, DeviceFull, Unplugged
from edgepack.errors import EnvironmentMissing, RuntimeFailure

__all__ = ["Attached", "Server", "Shell", "attached", "choose", "client", "listed"]

_CHUNK = 64 * 1024  # the sync protocol's SYNC_DATA_MAX
_SETTLE_S = 1.0
#: How a broken wire reads where adbutils makes an AdbError of it.
_GONE = ("not found", "offline", "closed", "Unknown data", "output invalid", "missing")
_FULL = ("no space left", "enospc", "disk quota")
#: What breaks when the wire does: adbutils lets some of these through as they are.
_BROKEN = (AdbError, EOFError, OSError, ValueError)


class Shell:
    """One device over adb: a ``Link``, and the ``Shell`` that ``profiles probe`` asks for."""

    def __init__(self, adb: Server, serial: str) -> None:
        self._adb = adb
        self._device = AdbDevice(adb, serial)
        self.serial = serial
        self._codes: bool | None = None

    @property
    def name(self) -> str:
        return f"adb {self.serial}"

    @property
    def folder(self) -> str:
        return "/data/local/tmp/edgepack"

    @property
    def tells_codes(self) -> bool:
        """Whether the device's adbd tells exit codes itself (shell_v2, Android 7 and later)."""
        if self._codes is None:
            with self._wire("features"):
                self._codes = "shell_v2" in self._device.get_features().split(",")
        return self._codes

    def run(self, command: str, *, timeout_s: float = 60.0) -> Answer:
        """Return how ``command`` ended; the exit code is true on old devices too."""
        # adbutils appends `; echo <mark>$?` where adbd tells no code: the brackets keep an
        # `exit` in the command from taking that echo away with it.
        with self._wire(command.split("\n", 1)[0][:60]):
            ended = self._device.shell2(
                f"({command})", timeout=timeout_s, encoding="utf-8", v2=self.tells_codes
            )
        out = ended.stdout if self.tells_codes else ended.output
        return Answer(ended.returncode, _unix(str(out)), _unix(str(ended.stderr or "")))

    def shell(self, command: str) -> str:
        """Return what ``command`` printed, whatever its exit code."""
        return self.run(command).out

    def push(self, data: bytes, remote: str, *, mode: int = 0o644) -> None:
        """Put ``data`` at ``remote``: first beside it, then renamed, so whole or not at all."""
        partial = f"{remote}.part"
        self.run(f"mkdir -p {posixpath.dirname(remote)}")
        try:
            with self._wire(f"push {remote}"):
                self._send(data, partial, mode)
        except DeviceFull:
            self.run(f"rm -f {partial}")
            raise
        moved = self.run(f"mv {partial} {remote}")
        if moved.code:
            raise RuntimeFailure(f"{self.name}: {remote}: {moved.last_line()}")

    def _send(self, data: bytes, remote: str, mode: int) -> None:
        # not adbutils' own push: that one may send a part of a block and drops the reason
        with closing(self._device.open_transport(timeout=60.0)) as wire:
            wire.send_command("sync:")
            wire.check_okay()
            path = f"{remote},{0o100000 | mode}".encode()
            wire.conn.sendall(b"SEND" + struct.pack("<I", len(path)) + path)
            try:
                for start in range(0, len(data), _CHUNK):
                    piece = data[start : start + _CHUNK]
                    wire.conn.sendall(b"DATA" + struct.pack("<I", len(piece)) + piece)
                wire.conn.sendall(b"DONE" + struct.pack("<I", int(time.time())))
            except (BrokenPipeError, ConnectionResetError):
                pass  # adbd may refuse before it has read all: its word is still to be read
            status = wire.read_exact(4)
            size = struct.unpack("<I", wire.read_exact(4))[0]
            if status == b"OKAY":
                return
            reason = wire.read_exact(min(size, 4096)).decode("utf-8", "replace")
        if any(word in reason.lower() for word in _FULL):
            raise DeviceFull(
                f"{self.name}: {remote}: no room for {len(data):,} B ({reason}); free some"
                " storage on the device, the same command goes on from there"
            )
        raise RuntimeFailure(f"{self.name}: {remote}: push refused: {reason}")

    def pull(self, remote: str, ceiling_bytes: int) -> bytes:
        """Return the file at ``remote``."""
        data = bytearray()
        with self._wire(f"pull {remote}"):
            try:
                for piece in self._device.sync.iter_content(remote):
                    data += piece
                    if len(data) > ceiling_bytes:
                        break
            except AdbError as error:
                if isinstance(error, AdbTimeout) or not _refused(error):
                    raise
                raise RuntimeFailure(f"{self.name}: {remote}: {error.args[0]}") from error
        if len(data) > ceiling_bytes:
            raise RuntimeFailure(f"{self.name}: {remote}: more than {ceiling_bytes:,} B")
        return bytes(data)

    @contextmanager
    def _wire(self, what: str) -> Iterator[None]:
        """Turn whatever the wire raises into the error that names its cause."""
        try:
            yield
        except AdbTimeout as error:
            raise RuntimeFailure(f"{self.name}: {what}: no answer in time") from error
        except _BROKEN as error:
            raise self._cause(what, error) from error
        finally:
            self._adb.close_all()

    def _cause(self, what: str, error: Exception) -> Exception:
        time.sleep(_SETTLE_S)  # the server learns of a pulled plug a moment after we do
        state = next((e.state for e in listed(self._adb) if e.serial == self.serial), None)
        # it may be back already: what counts is that the wire broke in the middle
        broke = not isinstance(error, AdbError) or any(w in str(error) for w in _GONE)
        if state == "device" and not broke:
            return RuntimeFailure(f"{self.name}: {what}: {error or type(error).__name__}")
        if state == "unauthorized":
            return EnvironmentMissing(f"{self.name}: {remedy(state)}")
        return Unplugged(
            f"{self.name}: went away during '{what}'; plug it in again, the same command"
            " goes on from there"
        )


def _refused(error: AdbError) -> bool:
    """Return whether adbd itself said no to a path (adbutils adds the path as an argument)."""
    return len(error.args) > 1 and isinstance(error.args[0], str)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def attached(serial: str | None, *, port: int | None = None) -> Shell:
    """Return the one attached device that ``serial`` means.

    Raises:
        UsageError, EnvironmentMissing: see ``choose`` and ``listed``.
    """
    server = client(port)
    return Shell(server, choose(listed(server), serial))
