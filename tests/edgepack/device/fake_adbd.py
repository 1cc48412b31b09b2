"""An adb daemon that speaks the real protocol on loopback, in every mood of a real one.

It runs commands with this machine's ``sh`` in a folder that stands for the device, where
``/data/local/tmp`` is. Source of the protocol: AOSP packages/modules/adb, protocol.txt and
SYNC.TXT.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

TMP = "/data/local/tmp"
_HEADER = struct.Struct("<6I")
_MESSAGES = 100_000  # a bound: no test needs more


def _word(name: bytes) -> int:
    return int.from_bytes(name, "little")


CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = map(
    _word, (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)


class Gone(Exception):  # noqa: N818 - reads as an event
    """The plug was pulled."""


@dataclass
class Mood:
    """How the device behaves.

    Attributes:
        old: Android 5: no exit codes, one stream, CR LF, 4 KiB messages with checksums.
        authorized: else it waits for somebody to touch the screen.
        room_bytes: SEND fails beyond it as a full disk does.
        unplug_on: the wire breaks when a command or path contains it, ``unplugs`` times.
    """

    old: bool = False
    authorized: bool = True
    room_bytes: int | None = None
    unplug_on: str | None = None
    unplugs: int = 1
    seen: list[str] = field(default_factory=list)


class Phone(threading.Thread):
    """A listening device; ``close`` ends it and its connections."""

    def __init__(self, root: Path, mood: Mood) -> None:
        super().__init__(daemon=True)
        self.root, self.mood = root, mood
        (root / "bin").mkdir(parents=True, exist_ok=True)
        (root / TMP.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port: int = self._listener.getsockname()[1]
        self._closing = threading.Event()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    def install(self, name: str, script: str) -> None:
        """Put a program of that name on the device."""
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def close(self) -> None:
        self._closing.set()
        self.join(5)
        self._listener.close()

    def run(self) -> None:
        while not self._closing.is_set():
            try:
                wire, _ = self._listener.accept()
            except TimeoutError:
                continue
            with wire:
                wire.settimeout(0.05)
                with contextlib.suppress(Gone, OSError):
                    _Session(self, wire).serve()

    def local(self, text: str) -> str:
        """Return ``text`` with the device's folder where it lies here."""
        return text.replace(TMP, str(self.root / TMP.lstrip("/")))

    def touches(self, text: str) -> None:
        """Note what was asked; pull the plug where the mood says so."""
        self.mood.seen.append(text)
        if self.mood.unplug_on and self.mood.unplugs and self.mood.unplug_on in text:
            self.mood.unplugs -= 1
            raise Gone

    @property
    def ended(self) -> bool:
        return self._closing.is_set()


class _Session:
    """One connection of the adb server."""

    def __init__(self, phone: Phone, wire: socket.socket) -> None:
        self.phone, self.wire, self.mood = phone, wire, phone.mood
        self.maximum = 4096 if self.mood.old else 256 * 1024
        self.version = 0x01000000 if self.mood.old else 0x01000001
        self.syncs: dict[int, _Sync] = {}

    def serve(self) -> None:
        for _ in range(_MESSAGES):
            command, arg0, arg1, data = self.receive()
            if command == CNXN:
                self.greet()
            elif command == AUTH:
                if self.mood.authorized:
                    self.greet()
                elif arg0 == 2:  # a signature it does not know: ask for the public key
                    self.send(AUTH, 1, 0, b"t" * 20)
            elif command == OPEN:
                self.open(arg0, data.rstrip(b"\0").decode())
            elif command == WRTE:
                self.send(OKAY, arg1, arg0)
                if arg1 in self.syncs:
                    self.syncs[arg1].feed(data)
            elif command == CLSE:
                self.syncs.pop(arg1, None)

    def greet(self) -> None:
        if not self.mood.authorized:
            self.send(AUTH, 1, 0, b"t" * 20)
            return
        features = "" if self.mood.old else "features=shell_v2,cmd,stat_v2"
        banner = f"device::ro.product.name=fake;ro.product.model=Fake;{features}"
        self.send(CNXN, self.version, self.maximum, banner.encode())

    def open(self, remote: int, service: str) -> None:
        mine = remote + 1000
        self.phone.touches(service)
        if service.startswith("sync:"):
            self.syncs[mine] = _Sync(self, mine, remote)
            self.send(OKAY, mine, remote)
        elif service.startswith("shell"):
            self.send(OKAY, mine, remote)
            v2 = service.split(":", 1)[0].split(",")[1:2] == ["v2"]
            self.shell(mine, remote, service.split(":", 1)[1], v2)
        else:
            self.send(CLSE, 0, remote)

    def shell(self, mine: int, remote: int, command: str, v2: bool) -> None:
        env = {**os.environ, "PATH": f"{self.phone.root / 'bin'}:/usr/bin:/bin"}
        env["PHONE"] = str(self.phone.root)
        done = subprocess.run(
            ["sh", "-c", self.phone.local(command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if v2 else subprocess.STDOUT,
            env=env,
            cwd=self.phone.root,
            timeout=120,
            check=False,
        )
        if v2:
            parts = [(1, done.stdout), (2, done.stderr), (3, bytes([done.returncode & 255]))]
            for kind, raw in parts:
                for piece in _pieces(raw, self.maximum - 5):
                    self.write(mine, remote, struct.pack("<BI", kind, len(piece)) + piece)
        else:  # a terminal: one stream, CR LF, no exit code
            text = done.stdout.replace(b"\n", b"\r\n")
            for piece in _pieces(text, self.maximum):
                self.write(mine, remote, piece)
        self.send(CLSE, mine, remote)

    def write(self, mine: int, remote: int, data: bytes) -> None:
        """Send data and wait for its OKAY, as the protocol's flow control wants."""
        self.send(WRTE, mine, remote, data)
        for _ in range(64):
            command, arg0, arg1, content = self.receive()
            if command == OKAY and (arg0, arg1) == (remote, mine):
                return
            if command == CLSE and arg0 == remote:
                return
            if command == WRTE:
                self.send(OKAY, arg1, arg0)
                if arg1 in self.syncs:
                    self.syncs[arg1].held += content
            elif command == OPEN:
                self.send(CLSE, 0, arg0)  # one at a time is enough here

    def receive(self) -> tuple[int, int, int, bytes]:
        command, arg0, arg1, length, _, _ = _HEADER.unpack(self.exactly(_HEADER.size))
        return command, arg0, arg1, self.exactly(length)

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if self.phone.ended:
                raise Gone
            with contextlib.suppress(TimeoutError):
                piece = self.wire.recv(size - len(data))
                if not piece:
                    raise Gone
                data += piece
        return data

    def send(self, command: int, arg0: int, arg1: int, data: bytes = b"") -> None:
        head = (command, arg0, arg1, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        self.wire.settimeout(10)
        self.wire.sendall(_HEADER.pack(*head) + data)
        self.wire.settimeout(0.05)


class _Sync:
    """The file service of one stream."""

    def __init__(self, session: _Session, mine: int, remote: int) -> None:
        self.session, self.mine, self.remote = session, mine, remote
        self.held = b""
        self.target: Path | None = None
        self.failed = False
        self.received = 0

    def feed(self, data: bytes) -> None:
        self.held += data
        while len(self.held) >= 8:
            name, length = self.held[:4], struct.unpack("<I", self.held[4:8])[0]
            body = 0 if name in {b"DONE", b"QUIT"} else length
            if len(self.held) < 8 + body:
                return
            content, self.held = self.held[8 : 8 + body], self.held[8 + body :]
            self.handle(name, content)

    def handle(self, name: bytes, content: bytes) -> None:
        phone = self.session.phone
        if name == b"STAT":
            path = Path(phone.local(content.decode()))
            size = path.stat().st_size if path.is_file() else 0
            mode = 0o100644 if path.is_file() else 0o40755 if path.is_dir() else 0
            self.answer(b"STAT" + struct.pack("<III", mode, size, 1 if mode else 0))
        elif name == b"RECV":
            path = Path(phone.local(content.decode()))
            if not path.is_file():
                reason = b"No such file or directory"
                self.answer(b"FAIL" + struct.pack("<I", len(reason)) + reason)
                return
            for piece in _pieces(path.read_bytes(), 3000 if self.session.mood.old else 65536):
                self.answer(b"DATA" + struct.pack("<I", len(piece)) + piece)
            self.answer(b"DONE" + struct.pack("<I", 0))
        elif name == b"SEND":
            phone.touches(f"send {content.decode()}")
            self.target = Path(phone.local(content.decode().rsplit(",", 1)[0]))
            self.target.write_bytes(b"")
            self.received, self.failed = 0, False
        elif name == b"DATA" and self.target is not None and not self.failed:
            self.received += len(content)
            phone.touches(f"data {self.received}")
            room = self.session.mood.room_bytes
            if room is not None and self.received > room:
                self.failed = True
                reason = b"write failed: No space left on device"
                self.answer(b"FAIL" + struct.pack("<I", len(reason)) + reason)
                return
            with self.target.open("ab") as file:
                file.write(content)
        elif name == b"DONE" and self.target is not None and not self.failed:
            self.answer(b"OKAY" + struct.pack("<I", 0))

    def answer(self, data: bytes) -> None:
        for piece in _pieces(data, self.session.maximum):
            self.session.write(self.mine, self.remote, piece)


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
