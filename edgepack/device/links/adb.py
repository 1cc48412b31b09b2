"""Devices by adb: which its server knows, and one of them as a ``Link``."""

from __future__ import annotations

import posixpath
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from adbutils import AdbClient, AdbDevice
from adbutils.errors import AdbConnectionError, AdbError, AdbTimeout

from edgepack.device.links.link import CommandResult, DeviceDisconnected, DeviceFull
from edgepack.errors import EnvironmentMissing, RuntimeFailure, UsageError

_CHUNK = 64 * 1024  # the sync protocol's SYNC_DATA_MAX
_SETTLE_S = 1.0
#: How a broken wire reads where adbutils makes an AdbError of it.
_DISCONNECTED = ("not found", "offline", "closed", "Unknown data", "output invalid", "missing")
_FULL = ("no space left", "enospc", "disk quota")
#: What breaks when the wire does: adbutils lets some of these through as they are.
_BROKEN = (AdbError, EOFError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Attached:
    """A device as the adb server lists it; ``state`` is ``device`` when it can be used."""

    serial: str
    state: str


class Server(AdbClient):  # type: ignore[misc]  # adbutils is untyped
    """A client of the adb server that closes what adbutils leaves open when it is refused."""

    def __init__(self, port: int | None = None) -> None:
        super().__init__(host="127.0.0.1", port=port, socket_timeout=30.0)
        self._opened: list[Any] = []

    def make_connection(self, timeout: float | None = None) -> Any:
        wire = super().make_connection(timeout)
        self._opened.append(wire)
        return wire

    def close_all(self) -> None:
        """Close every connection that is still open."""
        while self._opened:
            self._opened.pop().close()


def client(port: int | None = None) -> Server:
    """Return a client of this machine's adb server, which the first question starts."""
    return Server(port)


def list_devices(adb: Server) -> tuple[Attached, ...]:
    """Return every device that the server knows, usable or not.

    Raises:
        EnvironmentMissing: no adb server answers and none can be started.
    """
    try:
        with closing(adb.make_connection()) as wire:
            wire.send_command("host:devices")
            wire.check_okay()
            listing = wire.read_string_block()
    except (AdbConnectionError, OSError) as error:
        raise EnvironmentMissing(
            f"no adb server on {adb.host}:{adb.port} and none could be started ({error});"
            " install adb (Debian: apt-get install adb) and try 'adb devices'"
        ) from error
    except AdbError as error:
        raise RuntimeFailure(f"adb server: {error}; try 'adb kill-server'") from error
    rows = (line.split("\t", 1) for line in listing.splitlines() if "\t" in line)
    return tuple(Attached(serial, state.strip()) for serial, state in rows)


def choose(found: Sequence[Attached], serial: str | None) -> str:
    """Return the serial of the one device that is meant and can be used.

    Raises:
        UsageError: several are there and none was named, or the named one is not there.
        EnvironmentMissing: none is there, or it is not usable yet; says what to do.
    """
    listed = ", ".join(f"{each.serial} ({each.state})" for each in found) or "none"
    named = [each for each in found if serial in {None, each.serial}]
    if not found:
        raise EnvironmentMissing(
            "no device: plug it in, switch on USB debugging in its developer options, and"
            " look at 'edgepack android devices'"
        )
    if not named:
        raise UsageError(f"no device {serial}. Attached: {listed}")
    ready = [each for each in named if each.state == "device"]
    if len(ready) > 1:
        raise UsageError(f"several devices: name one with --serial. Attached: {listed}")
    if ready:
        return ready[0].serial
    raise EnvironmentMissing(f"{named[0].serial}: {remedy(named[0].state)}")


def remedy(state: str) -> str:
    remedies = {
        "unauthorized": "unauthorized: unlock it and allow USB debugging from this computer",
        "authorizing": "unauthorized so far: unlock it and allow USB debugging",
        "offline": "offline: unplug it and plug it in again",
        "no permissions": "no permissions: this user may not open the USB device (udev rules)",
        "recovery": "in recovery: start its system",
        "bootloader": "in the bootloader: start its system",
    }
    return remedies.get(
        state.split(" (", maxsplit=1)[0], f"its state is {state!r}, wanted 'device'"
    )


class AdbLink:
    """One device over adb: a ``Link``, which also answers ``profiles probe``."""

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
    def has_exit_codes(self) -> bool:
        """Whether the device's adbd reports exit codes (shell_v2, Android 7 and later)."""
        if self._codes is None:
            with self._wire("features"):
                self._codes = "shell_v2" in self._device.get_features().split(",")
        return self._codes

    def run(self, command: str, *, timeout_s: float = 60.0) -> CommandResult:
        """Return how ``command`` ended; the exit code is true on old devices too."""
        # adbutils appends `; echo <mark>$?` where adbd reports no code: the brackets keep an
        # `exit` in the command from taking that echo away with it.
        with self._wire(command.split("\n", 1)[0][:60]):
            ended = self._device.shell2(
                f"({command})", timeout=timeout_s, encoding="utf-8", v2=self.has_exit_codes
            )
        out = ended.stdout if self.has_exit_codes else ended.output
        return CommandResult(ended.returncode, _unix(str(out)), _unix(str(ended.stderr or "")))

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
            raise self._named_cause(what, error) from error
        finally:
            self._adb.close_all()

    def _named_cause(self, what: str, error: Exception) -> Exception:
        time.sleep(_SETTLE_S)  # the server learns of a pulled plug a moment after we do
        state = next(
            (e.state for e in list_devices(self._adb) if e.serial == self.serial), None
        )
        # it may be back already: what counts is that the wire broke in the middle
        broke = not isinstance(error, AdbError) or any(w in str(error) for w in _DISCONNECTED)
        if state == "device" and not broke:
            return RuntimeFailure(f"{self.name}: {what}: {error or type(error).__name__}")
        if state == "unauthorized":
            return EnvironmentMissing(f"{self.name}: {remedy(state)}")
        return DeviceDisconnected(
            f"{self.name}: went away during '{what}'; plug it in again, the same command"
            " goes on from there"
        )


def _refused(error: AdbError) -> bool:
    """Return whether adbd itself said no to a path (adbutils adds the path as an argument)."""
    return len(error.args) > 1 and isinstance(error.args[0], str)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def connect(serial: str | None, *, port: int | None = None) -> AdbLink:
    """Return the one attached device that ``serial`` means.

    Raises:
        UsageError, EnvironmentMissing: see ``choose`` and ``list_devices``.
    """
    server = client(port)
    return AdbLink(server, choose(list_devices(server), serial))
