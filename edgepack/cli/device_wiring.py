"""What ``edgepack android`` works with: which device, which backend, what a report proves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from edgepack.cli import output

if TYPE_CHECKING:
    from edgepack.device.backends.backend import Backend, RunRequest
    from edgepack.device.links.link import Link
    from edgepack.measurements.device_report import Report
    from edgepack.profiles.profile import Profile


class BackendChoice(StrEnum):
    """The back ends."""

    APP = "app"
    BENCHMARK = "benchmark_model"
    PORTABLE = "portable"


class Flavour(StrEnum):
    """The app's flavours."""

    LEGACY = "legacy"
    MODERN = "modern"


@dataclass(frozen=True, slots=True)
class ReceivedReport:
    """A report, and what it must agree with.

    Attributes:
        identity: of the run that was asked for; None takes any run of the bundle.
        backend_sha256: of what was installed; None where that is not known.
    """

    report: Report
    identity: str | None
    backend_sha256: str | None


def show_verdicts(
    bundle: Path,
    profile: Profile,
    received: list[ReceivedReport],
    *,
    golden_lsb: int,
    calibration: Path | None,
    strict: bool,
    json_: bool,
) -> int:
    """Show what each report proves; return the exit code."""
    from edgepack import files
    from edgepack.api import load_bundle
    from edgepack.bundle import validation
    from edgepack.device import calibration_export
    from edgepack.device.backends.backend import expected_of
    from edgepack.emulation.bench import precision
    from edgepack.errors import InputError
    from edgepack.gates import device
    from edgepack.gates.expected import expected_gates, route_of

    whole, digest = load_bundle(bundle), files.sha256(bundle_bytes(bundle))
    # What a build found holds for its own device only.
    kept = whole.manifest.findings if profile == validation.profile_of(whole) else ()
    shown, outcomes, measured = [], [], []
    for one in received:
        report = one.report
        expected = expected_of(
            whole,
            digest,
            identity=one.identity,
            backend_sha256=one.backend_sha256,
            golden_lsb=golden_lsb,
        )
        own = device.judge(report, profile, expected)
        asked = expected_gates(profile, route_of(whole.files), task=whole.manifest.task)
        merged = device.merge_findings(kept, own, asked)
        outcomes.append(merged.outcome)
        if calibration is not None:
            try:
                point = calibration_export.calibration_point(
                    report,
                    own,
                    precision=precision(whole.model),
                    instructions=calibration_export.proven_instructions(merged),
                )
                measured.append(calibration_export.as_toml(point))
            except InputError as error:  # the other reports may still give points
                output.warn(str(error))
        if json_:
            more = {"bundle": str(bundle), "profile": profile.name, "identity": report.identity}
            shown.append(output.as_json("edgepack.android/1", merged, **more))
            continue
        ran = f"{report.run.delegate}, {report.run.threads} thread(s)" if report.run else ""
        title = f"{report.device.model}: {report.backend.name} {ran}".rstrip()
        output.print_verdict(title, profile.name, merged)
    if calibration is not None and measured:
        files.write_whole(calibration, "".join(measured).encode())
    if json_:
        worst = output.worst(outcomes).value
        findings = [finding for each in shown for finding in each["findings"]]
        output.print_json(
            {
                "schema": "edgepack.android-run/1",
                "verdict": worst,
                "findings": findings,
                "reports": shown,
            }
        )
    return output.exit_code(outcomes, strict)


def refuse_overwriting(calibration: Path | None, *inputs: Path | None) -> None:
    """Raise UsageError where the calibration points would overwrite an input."""

    from edgepack import files

    if calibration is not None:
        files.refuse_output_over_input(
            "--calibration", calibration, [each for each in inputs if each]
        )


def kept_report_filter(
    bundle: Path, profile: Profile, installed: str, golden_lsb: int
) -> Callable[[Report], bool]:
    """Return a test: does a kept report count, or is its run to be made again?"""
    from edgepack import files
    from edgepack.api import load_bundle
    from edgepack.device.backends.backend import expected_of
    from edgepack.gates import device

    whole = load_bundle(bundle)
    expected = expected_of(
        whole,
        files.sha256(bundle_bytes(bundle)),
        backend_sha256=installed,
        golden_lsb=golden_lsb,
    )
    return lambda report: not device.report_refused(device.judge(report, profile, expected))


def bundle_bytes(bundle: Path) -> bytes:
    """Return the .edgepack file as it is pushed."""
    from edgepack import files
    from edgepack.bundle import archive

    return files.read_whole(bundle, archive.CEILING_BYTES, "an .edgepack bundle")


def profile_of(bundle: Path, name: str | None) -> Profile:
    """Return the named device, or the bundle's own."""
    from edgepack.api import load_bundle
    from edgepack.bundle import validation
    from edgepack.profiles import catalogue

    return catalogue.load(name) if name else validation.profile_of(load_bundle(bundle))


def open_link(serial: str | None, ssh: str | None) -> Link:
    """Return the link to the one device that the options name."""
    from edgepack.device.links import adb
    from edgepack.device.links.ssh import SshLink
    from edgepack.errors import UsageError

    if serial is not None and ssh is not None:
        raise UsageError("--serial and --ssh name two devices; give one")
    return SshLink(ssh) if ssh is not None else adb.connect(serial)


def run_requests(
    bundle: Path,
    delegates: list[str],
    threads: list[int],
    affinity: str | None,
    *,
    quick: bool,
) -> list[RunRequest]:
    """Return one request for each delegate and number of threads."""
    from typing import get_args

    from pydantic import TypeAdapter, ValidationError

    from edgepack.api import load_bundle
    from edgepack.device.backends.backend import RunRequest
    from edgepack.errors import UsageError
    from edgepack.measurements.report_model import DelegateName

    adapter: TypeAdapter[DelegateName] = TypeAdapter(DelegateName)
    try:
        named = [adapter.validate_python(each) for each in delegates]
    except ValidationError as error:
        known = ", ".join(get_args(DelegateName))
        raise UsageError(f"--delegate: wanted {known}. Received: {delegates}") from error
    if affinity is not None and (not affinity or set(affinity) - set("0123456789abcdef")):
        raise UsageError(f"--affinity: wanted a mask such as f0. Received: {affinity!r}")
    whole, data = load_bundle(bundle), bundle_bytes(bundle)
    return [
        RunRequest(
            bundle=whole,
            data=data,
            mode="quick" if quick else "full",
            delegate=each,
            threads=count,
            affinity=affinity,
        )
        for each in named
        for count in threads
    ]


def open_backend(
    name: BackendChoice,
    profile: Profile,
    apk: Path | None,
    binary: Path | None,
    flavour: Flavour,
) -> Backend:
    """Return the back end with the file that the user gave for it.

    Raises:
        UsageError: the file that it needs was not named.
    """
    from edgepack import files
    from edgepack.errors import UsageError

    ceiling = 512 * 2**20
    if name is BackendChoice.APP:
        if apk is None:
            raise UsageError(
                "--backend app needs --apk FILE; docs/android.md says how to build it"
            )
        from edgepack.device.backends.app import App

        return App(apk=files.read_whole(apk, ceiling, "an APK"), flavour=flavour.value)
    if name is BackendChoice.BENCHMARK:
        if binary is None:
            raise UsageError(
                "--backend benchmark_model needs --binary FILE, built for the device's ABI"
            )
        from edgepack.device.backends.benchmark_model import BenchmarkModel

        return BenchmarkModel(binary=files.read_whole(binary, ceiling, "a binary"))
    from edgepack.device.backends.portable import Portable, pack_folder  # opens the engine
    from edgepack.sandbox import engine
    from edgepack.sandbox.images.spec import choose

    spec, _ = choose(profile.runtime, profile.cpu.isa)
    return Portable(archive=pack_folder(engine.require(), spec))
