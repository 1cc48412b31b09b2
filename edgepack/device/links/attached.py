"""Which devices the adb server knows, and which one is meant."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from adbutils import AdbClient
from adbutils.errors import AdbConnectionError, AdbError

from edgepack.errors import EnvironmentMissing, RuntimeFailure, UsageError


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


def listed(adb: Server) -> tuple[Attached, ...]:
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
    told = {
        "unauthorized": "unauthorized: unlock it and allow USB debugging from this computer",
        "authorizing": "unauthorized so far: unlock it and allow USB debugging",
        "offline": "offline: unplug it and plug it in again",
        "no permissions": "no permissions: this user may not open the USB device (udev rules)",
        "recovery": "in recovery: start its system",
        "bootloader": "in the bootloader: start its system",
    }
    return told.get(
        state.split(" (", maxsplit=1)[0], f"its state is {state!r}, wanted 'device'"
    )
