"""The Android app: plain instrumentation, started by ``am instrument``, read by ``run-as``."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from io import BytesIO

from edgepack.device import description
from edgepack.device.backends.backend import RunRequest, utc_now
from edgepack.device.links.link import CommandResult, Link, push_once
from edgepack.errors import InputError, OutputError, RuntimeFailure
from edgepack.files import sha256
from edgepack.measurements import device_report
from edgepack.measurements.device_report import Report
from edgepack.measurements.report_model import BackendName, BackendRef, RuntimeRef

PACKAGES = {"legacy": "org.edgepack.harness.legacy", "modern": "org.edgepack.harness.modern"}
_RUNNER = "org.edgepack.harness.Harness"
_LIMIT_S = 3600.0
_CODE = re.compile(r"^INSTRUMENTATION_CODE: (-?\d+)\s*$", re.M)
_RESULT = re.compile(r"^INSTRUMENTATION_RESULT: (\w+)=(.*)$", re.M)
_REPORT_NAME = re.compile(r"\breport-[0-9a-f]{64}\.json\b")
_MOST_REPORTS = 256
_FAILURE = re.compile(r"Failure \[([A-Z_]+)[^\]]*\]|(INSTALL_[A-Z_]+)")
_REMEDY = {
    "INSTALL_FAILED_UPDATE_INCOMPATIBLE": "another signature is installed: adb uninstall it",
    "INSTALL_FAILED_INSUFFICIENT_STORAGE": "no room on the device: free some storage",
    "INSTALL_FAILED_OLDER_SDK": "the device is older than this flavour allows: take legacy",
    "INSTALL_FAILED_NO_MATCHING_ABIS": "no library for this device's ABI in the APK",
    "INSTALL_FAILED_USER_RESTRICTED": "the device forbids installing by USB: allow it there",
    "INSTALL_PARSE_FAILED_NO_CERTIFICATES": "the APK is not signed: sign it with apksigner",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The harness app of one flavour.

    Attributes:
        apk: its bytes, built from ``android_harness``.
        flavour: ``legacy`` (TFLite 2.16.1) or ``modern`` (LiteRT).
    """

    apk: bytes
    flavour: str = "legacy"

    def __post_init__(self) -> None:
        try:
            with zipfile.ZipFile(BytesIO(self.apk)) as archive:
                archive.getinfo("AndroidManifest.xml")
        except (zipfile.BadZipFile, KeyError) as error:
            raise InputError("--apk: wanted an APK, got a file that is none") from error

    @property
    def name(self) -> BackendName:
        return "app"

    @property
    def sha256(self) -> str:
        return sha256(self.apk)

    @property
    def package(self) -> str:
        """The application's id on the device."""
        return PACKAGES[self.flavour]

    def install(self, link: Link) -> str:
        """Install the APK where another one, or none, is there."""
        mark = f"{link.folder}/{self.package}-{self.sha256}.installed"
        present = link.run(f"test -f {mark} && pm path {self.package}")
        if present.code == 0 and "package:" in present.out:
            return f"{self.package} {self.sha256[:12]} was there"
        remote = f"{link.folder}/{self.sha256}.apk"
        push_once(link, self.apk, remote)
        done = link.run(f"pm install -r -t {remote}; rm -f {remote}", timeout_s=300)
        if "Success" not in done.out:
            raise _install_error(link, done)
        link.run(f"rm -f {link.folder}/{self.package}-*.installed; echo > {mark}")
        return f"{self.package} {self.sha256[:12]} installed"

    def run(self, link: Link, request: RunRequest) -> Report:
        """Return the report that the app wrote, or one that says how it died."""
        bundle, run = f"{request.bundle_sha256}.edgepack", request.identity(self)
        push_once(link, request.data, f"{link.folder}/{bundle}")
        inside = f"files/{bundle}"
        # the shell may read its own folder, the app only its own: this carries it across
        self._run_checked(
            link,
            f"cat {link.folder}/{bundle} | run-as {self.package}"
            f" sh -c 'mkdir -p files && cat > {inside}'",
        )
        already = self._collected(link, run)
        if already is not None:
            return already  # it ended after the plug was pulled
        started, before = utc_now(), description.read_conditions(link)
        answer = link.run(
            f"am instrument -w -e bundle {bundle} -e bundle_sha256 {request.bundle_sha256}"
            f" -e identity {run} -e apk_sha256 {self.sha256} -e mode {request.mode}"
            f" -e delegate {request.delegate} -e threads {request.threads}"
            f" -e warmup {request.warmup}"
            + (f" -e affinity {request.affinity}" if request.affinity else "")
            + f" {self.package}/{_RUNNER}",
            timeout_s=_LIMIT_S,
        )
        report = self._collected(link, run)
        if report is not None:
            return report
        return Report.model_validate(
            {
                "schema": device_report.SCHEMA,
                "identity": run,
                "started_at": started,
                "ending": "error" if "error" in dict(_RESULT.findall(answer.out)) else "crash",
                "says": _crash_message(answer),
                "backend": BackendRef(name=self.name, version="1", sha256=self.sha256),
                "bundle": request.reference,
                "device": description.read_device(link),
                "runtime": RuntimeRef(name="unknown", version="not stated"),
                "before": before,
                "after": description.read_conditions(link),
            }
        )

    @staticmethod
    def package_of(flavour: str) -> str:
        """Return the application's id of a flavour."""
        return PACKAGES[flavour]

    @staticmethod
    def reports_left(link: Link, package: str, bundle_sha256: str) -> tuple[Report, ...]:
        """Return every report about that bundle that is still in the app's folder."""
        listing = link.run(f"run-as {package} ls files", timeout_s=60)
        if listing.code or "run-as:" in listing.out:
            raise RuntimeFailure(f"{link.name}: {package}: {listing.last_line()}")
        names = _REPORT_NAME.findall(listing.out)[:_MOST_REPORTS]
        texts = (
            (name, link.run(f"run-as {package} cat files/{name}", timeout_s=120).out)
            for name in names
        )
        found = (
            device_report.read(text.encode(), f"{link.name}: {name}") for name, text in texts
        )
        return tuple(each for each in found if each.bundle.sha256 == bundle_sha256)

    def _collected(self, link: Link, run: str) -> Report | None:
        """Return the report of this very run and take it off the device; None where none is.

        Off, because a run that is ordered again is to be made again.
        """
        name = f"files/report-{run}.json"
        answer = link.run(f"run-as {self.package} cat {name}", timeout_s=120)
        if answer.code or not answer.out.lstrip().startswith("{"):
            return None
        report = device_report.read(answer.out.encode(), f"{link.name}: report-{run[:12]}.json")
        link.run(f"run-as {self.package} rm -f {name}")
        return report if report.identity == run else None

    def _run_checked(self, link: Link, command: str) -> None:
        done = link.run(command, timeout_s=600)
        said = done.last_line()
        if done.code or "run-as:" in said:
            remedy = "is the debuggable app installed? 'edgepack android install'"
            raise RuntimeFailure(f"{link.name}: {self.package}: {said}; {remedy}")


def _install_error(link: Link, done: CommandResult) -> Exception:
    found = _FAILURE.search(done.out + done.err)
    reason = (found[1] or found[2]) if found else done.last_line()
    remedy = _REMEDY.get(reason, "see 'adb logcat'")
    kind = OutputError if "STORAGE" in reason else RuntimeFailure
    return kind(f"{link.name}: the app was not installed: {reason}; {remedy}")


def _crash_message(answer: CommandResult) -> str:
    """Return what ``am instrument`` said of a run that already no report."""
    results = dict(_RESULT.findall(answer.out))
    code = _CODE.search(answer.out)
    said = (
        results.get("longMsg")
        or results.get("shortMsg")
        or results.get("error")
        or answer.last_line()
    )
    return " ".join(f"no report (code {code[1] if code else 'none'}): {said}".split())[:500]
