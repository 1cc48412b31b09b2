"""What is asked of a device, and what every back end does with it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Protocol

from edgepack.bundle import Bundle
from edgepack.device.link import Link
from edgepack.device.report import BackendName, BundleRef, DelegateName, Report
from edgepack.device.samples import Mode
from edgepack.store import digest_of, sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One run to be made.

    Attributes:
        data: the whole .edgepack file, as it is pushed; ``bundle`` is what is in it.
        affinity: processors to bind to, a hexadecimal mask; None leaves them all.
    """

    bundle: Bundle
    data: bytes
    mode: Mode = "full"
    delegate: DelegateName = "cpu"
    threads: int = 1
    affinity: str | None = None
    warmup: int = 16

    @property
    def bundle_sha256(self) -> str:
        return sha256(self.data)

    @property
    def reference(self) -> BundleRef:
        """The bundle as a report names it."""
        return BundleRef(
            name=self.bundle.manifest.name,
            profile=self.bundle.manifest.profile,
            sha256=self.bundle_sha256,
            model_sha256=sha256(self.bundle.model),
        )

    def identity(self, backend: Backend) -> str:
        """Return the digest that tells this run from every other: a finished one is kept."""
        return digest_of(
            "edgepack.device-run/1",
            self.bundle_sha256,
            backend.name,
            backend.sha256,
            self.mode,
            self.delegate,
            self.threads,
            self.affinity,
            self.warmup,
        )


class Backend(Protocol):
    """One way to run a bundle on a device.

    Attributes:
        sha256: of what is installed there: the APK, the binary, the folder's archive.
    """

    @property
    def name(self) -> BackendName: ...

    @property
    def sha256(self) -> str: ...

    def install(self, link: Link) -> str:
        """Put the back end on the device where it is not there yet; return a line about it."""
        ...

    def run(self, link: Link, order: Order) -> Report:
        """Return the report of the run; a model that fails is an ending, no raise.

        Raises:
            Unplugged, DeviceFull, RuntimeFailure: the question could not be answered.
        """
        ...


def now() -> str:
    """Return the time as a report writes it, UTC in whole seconds."""
    return datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
