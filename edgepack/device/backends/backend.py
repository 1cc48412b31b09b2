"""What a back end is asked to run on a device, and what each of them offers."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Protocol

from edgepack.bundle.archive import Bundle
from edgepack.device.links.link import Link
from edgepack.errors import UsageError
from edgepack.files import sha256
from edgepack.gates.device import GOLDEN_LSB, Expected
from edgepack.measurements.device_report import Report, run_identity
from edgepack.measurements.report_model import BackendName, BundleRef, Conditions, RunSettings

_MASK = re.compile(r"[0-9a-f]{1,16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest(RunSettings):
    """One run to be made: of which bundle, with which settings.

    Attributes:
        data: the whole .edgepack file, as it is pushed; ``bundle`` is what is in it.
    """

    bundle: Bundle
    data: bytes

    @property
    def bundle_sha256(self) -> str:
        return sha256(self.data)

    @property
    def reference(self) -> BundleRef:
        """The bundle as a report names it."""
        return reference_of(self.bundle, self.bundle_sha256)

    def __post_init__(self) -> None:
        """Refuse settings that no run can have.

        Raises:
            UsageError: threads, warm-up or affinity out of their range.
        """
        bound = self.affinity
        if bound is not None and not (_MASK.fullmatch(bound) and int(bound, 16)):
            raise UsageError(
                f"affinity: wanted 1 to 16 hexadecimal digits, not all 0. Received: {bound!r}"
            )
        if not (1 <= self.threads <= 64 and 1 <= self.warmup <= 100_000):
            raise UsageError(
                "wanted 1 to 64 threads and 1 to 100,000 inferences of warm-up. Received:"
                f" {self.threads}, {self.warmup}"
            )

    def identity(self, backend: Backend) -> str:
        """Return the digest under which the report of this very run is kept."""
        return run_identity(
            self.bundle_sha256,
            backend.name,
            backend.sha256,
            self,
        )


def reference_of(bundle: Bundle, bundle_sha256: str) -> BundleRef:
    """Return a bundle as a true report names it; the digest is of the whole .edgepack file."""
    return BundleRef(
        name=bundle.manifest.name,
        profile=bundle.manifest.profile,
        sha256=bundle_sha256,
        model_sha256=sha256(bundle.model),
    )


def expected_of(
    bundle: Bundle,
    bundle_sha256: str,
    *,
    identity: str | None = None,
    backend_sha256: str | None = None,
    golden_lsb: int = GOLDEN_LSB,
) -> Expected:
    """Return what a true report about ``bundle`` must agree with; see ``Expected``.

    Raises:
        InputError: the bundle holds no golden outputs.
    """
    return Expected(
        bundle=reference_of(bundle, bundle_sha256),
        golden_outputs=bundle.array("golden/outputs.npy"),
        identity=identity,
        backend_sha256=backend_sha256,
        golden_lsb=golden_lsb,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """When a run started, and the state of the device just before and after it."""

    started_at: str
    before: Conditions
    after: Conditions


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

    def run(self, link: Link, request: RunRequest) -> Report:
        """Return the report of the run; a model that fails is an ending, not an exception.

        Raises:
            DeviceDisconnected, DeviceFull, RuntimeFailure: the question could not be answered.
        """
        ...


def utc_now() -> str:
    """Return the time as a report writes it, UTC in whole seconds."""
    return datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
