"""``edgepack android``: the same bundle on a phone or board, and what its report proves."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgepack.cli import output
from edgepack.cli.check import Json, Strict

if TYPE_CHECKING:
    from edgepack.device.backend import Backend, Order
    from edgepack.device.link import Link
    from edgepack.device.report import Report
    from edgepack.profile import Profile

app = typer.Typer(
    no_args_is_help=True, help="Run a bundle on a device by adb or ssh.", rich_markup_mode=None
)


class Way(StrEnum):
    """The back ends."""

    APP = "app"
    BENCHMARK = "benchmark_model"
    PORTABLE = "portable"


class Flavour(StrEnum):
    """The app's flavours."""

    LEGACY = "legacy"
    MODERN = "modern"


BundleFile = Annotated[Path, typer.Argument(help="A .edgepack file.", show_default=False)]
Serial = Annotated[str | None, typer.Option("--serial", "-s", help="Which device, if several.")]
SshTarget = Annotated[
    str | None, typer.Option("--ssh", help="A board as user@host instead of adb.")
]
BackendName = Annotated[Way, typer.Option("--backend", "-b", help="What runs the model.")]
Apk = Annotated[Path | None, typer.Option("--apk", help="The app, built from android_harness.")]
Binary = Annotated[
    Path | None, typer.Option("--binary", help="The official benchmark_model for its ABI.")
]
FlavourName = Annotated[Flavour, typer.Option("--flavour", help="Of the app.")]
Reports = Annotated[Path, typer.Option("--out", "-o", help="The folder of reports.")]
OtherProfile = Annotated[
    str | None, typer.Option("--profile", "-p", help="Another device than the bundle's own.")
]
GoldenLsb = Annotated[
    int, typer.Option("--golden-lsb", min=0, max=255, help="Codes an int8 answer may be off.")
]
Calibration = Annotated[
    Path | None,
    typer.Option("--calibration", help="Write calibration points for a profile here."),
]


@app.command("devices")
def devices(json_: Json = False) -> int:
    """List the devices that adb knows, and what keeps one from being used."""
    from edgepack.device import adb, describe

    server = adb.client()
    rows: list[dict[str, Any]] = []
    for each in adb.listed(server):
        row: dict[str, Any] = {"serial": each.serial, "state": each.state}
        if each.state == "device":
            told = describe.device(adb.Shell(server, each.serial))
            row |= {"model": told.model, "abi": told.abi, "sdk": told.sdk}
        rows.append(row)
    if json_:
        output.emit({"schema": "edgepack.android-devices/1", "devices": rows})
        return 0
    heads = ("serial", "state", "model", "abi", "sdk")
    cells = [tuple(str(row.get(head) or "") for head in heads) for row in rows]
    output.table(f"{len(rows)} device{'' if len(rows) == 1 else 's'}", heads, cells)
    return 0


@app.command("install")
def install(
    bundle: BundleFile,
    backend: BackendName = Way.APP,
    serial: Serial = None,
    ssh: SshTarget = None,
    apk: Apk = None,
    binary: Binary = None,
    flavour: FlavourName = Flavour.LEGACY,
) -> int:
    """Put a back end on the device; what is there already is not sent again."""
    link = _link(serial, ssh)
    typer.echo(_backend(backend, _profile(bundle, None), apk, binary, flavour).install(link))
    return 0


@app.command("run")
def run(
    bundle: BundleFile,
    backend: BackendName = Way.APP,
    serial: Serial = None,
    ssh: SshTarget = None,
    apk: Apk = None,
    binary: Binary = None,
    flavour: FlavourName = Flavour.LEGACY,
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="128 queries and 10 s, or 1,024 and 60 s.")
    ] = False,
    delegate: Annotated[
        list[str] | None, typer.Option("--delegate", help="cpu, xnnpack, gpu, nnapi.")
    ] = None,
    threads: Annotated[list[int] | None, typer.Option("--threads", min=1, max=64)] = None,
    affinity: Annotated[
        str | None, typer.Option("--affinity", help="Hexadecimal mask of processors.")
    ] = None,
    cool_down: Annotated[float, typer.Option("--cool-down", min=0, help="Seconds.")] = 30.0,
    out: Reports = Path("device-reports"),
    profile: OtherProfile = None,
    golden_lsb: GoldenLsb = 4,
    calibration: Calibration = None,
    strict: Strict = False,
    json_: Json = False,
) -> int:
    """Run a bundle on the device, wait for it to cool in between, and judge the reports."""
    from edgepack import store
    from edgepack.device.session import Session

    store.make_folder(out)
    orders = _orders(bundle, delegate or ["cpu"], threads or [1], affinity, quick=quick)
    device = _profile(bundle, profile)
    link = _link(serial, ssh)
    chosen = _backend(backend, device, apk, binary, flavour)
    with output.progress() as bars:
        bars.say(chosen.install(link))
        session = Session(folder=out, cool_down_s=cool_down, say=bars.say)
        found = list(session.run(link, chosen, orders))
    identities = [order.identity(chosen) for order in orders]
    wanted = [(each, chosen.sha256) for each in identities]
    return _judged(
        bundle,
        device,
        list(zip(found, wanted, strict=True)),
        golden_lsb=golden_lsb,
        calibration=calibration,
        strict=strict,
        json_=json_,
    )


@app.command("pull")
def pull(
    bundle: BundleFile,
    serial: Serial = None,
    apk: Apk = None,
    flavour: FlavourName = Flavour.LEGACY,
    out: Reports = Path("device-reports"),
    profile: OtherProfile = None,
    golden_lsb: GoldenLsb = 4,
    calibration: Calibration = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Judge the reports in --out, ask no device.")
    ] = False,
    strict: Strict = False,
    json_: Json = False,
) -> int:
    """Fetch the reports that the app left on the device, and judge all of this bundle's."""
    from edgepack import store
    from edgepack.device import report as reports
    from edgepack.device.app import App
    from edgepack.device.session import Session, of_folder
    from edgepack.errors import InputError

    data = _bytes(bundle)
    if not offline:
        store.make_folder(out)
        package = App.package_of(flavour.value)
        for each in App.left(_link(serial, None), package, store.sha256(data)):
            store.write_whole(Session(folder=out).path(each.identity), reports.text(each))
    found = [r for r in of_folder(out) if r.bundle.sha256 == store.sha256(data)]
    if not found:
        raise InputError(f"{out}: no report about {bundle}; 'edgepack android run' makes one")
    digest = None if apk is None else store.digest_of_tree(apk)
    return _judged(
        bundle,
        _profile(bundle, profile),
        [(each, (None, digest if each.backend.name == "app" else None)) for each in found],
        golden_lsb=golden_lsb,
        calibration=calibration,
        strict=strict,
        json_=json_,
    )


def _judged(
    bundle: Path,
    profile: Profile,
    found: list[tuple[Report, tuple[str | None, str | None]]],
    *,
    golden_lsb: int,
    calibration: Path | None,
    strict: bool,
    json_: bool,
) -> int:
    from edgepack import store
    from edgepack.cli.trial import opened
    from edgepack.device import judge, points

    whole, digest = opened(bundle), store.sha256(_bytes(bundle))
    shown, outcomes, measured = [], [], []
    for report, (identity, installed) in found:
        expected = judge.Expected(
            bundle_sha256=digest,
            identity=identity,
            backend_sha256=installed,
            golden_lsb=golden_lsb,
        )
        own = judge.judge(report, whole, profile, expected)
        merged = judge.merged(whole, own)
        outcomes.append(merged.outcome)
        if calibration is not None:
            measured.append(points.calibration_toml(report, own))
        if json_:
            more = {"bundle": str(bundle), "profile": profile.name, "identity": report.identity}
            shown.append(output.as_json("edgepack.android/1", merged, **more))
            continue
        ran = f"{report.run.delegate}, {report.run.threads} thread(s)" if report.run else ""
        typer.echo(f"{report.device.model}: {report.backend.name} {ran}".rstrip())
        typer.echo("\n".join(output.lines(merged.findings)))
        typer.echo(output.closing(profile.name, merged))
    if calibration is not None:
        store.write_whole(calibration, "".join(measured).encode())
    if json_:
        worst = output.worst(outcomes).value
        findings = [finding for each in shown for finding in each["findings"]]
        output.emit(
            {
                "schema": "edgepack.android-run/1",
                "verdict": worst,
                "findings": findings,
                "reports": shown,
            }
        )
    return output.exit_code(outcomes, strict)


def _bytes(bundle: Path) -> bytes:
    from edgepack import bundle as packing
    from edgepack import store

    return store.read_whole(bundle, packing.CEILING_BYTES, "an .edgepack bundle")


def _profile(bundle: Path, name: str | None) -> Profile:
    from edgepack import catalogue, validation
    from edgepack.cli.trial import opened

    return catalogue.load(name) if name else validation.profile_of(opened(bundle))


def _link(serial: str | None, ssh: str | None) -> Link:
    from edgepack.device import adb
    from edgepack.device.ssh import Ssh
    from edgepack.errors import UsageError

    if serial is not None and ssh is not None:
        raise UsageError("--serial and --ssh name two devices; give one")
    return Ssh(ssh) if ssh is not None else adb.attached(serial)


def _orders(
    bundle: Path,
    delegates: list[str],
    threads: list[int],
    affinity: str | None,
    *,
    quick: bool,
) -> list[Order]:
    from typing import get_args

    from pydantic import TypeAdapter, ValidationError

    from edgepack.cli.trial import opened
    from edgepack.device.backend import Order
    from edgepack.device.report import DelegateName
    from edgepack.errors import UsageError

    adapter: TypeAdapter[DelegateName] = TypeAdapter(DelegateName)
    try:
        named = [adapter.validate_python(each) for each in delegates]
    except ValidationError as error:
        known = ", ".join(get_args(DelegateName))
        raise UsageError(f"--delegate: wanted {known}. Received: {delegates}") from error
    if affinity is not None and (not affinity or set(affinity) - set("0123456789abcdef")):
        raise UsageError(f"--affinity: wanted a mask such as f0. Received: {affinity!r}")
    whole, data = opened(bundle), _bytes(bundle)
    return [
        Order(
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


def _backend(
    way: Way, profile: Profile, apk: Path | None, binary: Path | None, flavour: Flavour
) -> Backend:
    from edgepack import store
    from edgepack.device.app import App
    from edgepack.device.benchmark_model import BenchmarkModel
    from edgepack.device.portable import Portable
    from edgepack.errors import UsageError

    ceiling = 512 * 2**20
    if way is Way.APP:
        if apk is None:
            raise UsageError("--backend app wants --apk FILE; build it from android_harness")
        return App(apk=store.read_whole(apk, ceiling, "an APK"), flavour=flavour.value)
    if way is Way.BENCHMARK:
        if binary is None:
            raise UsageError("--backend benchmark_model wants --binary FILE for its ABI")
        return BenchmarkModel(binary=store.read_whole(binary, ceiling, "a binary"))
    from edgepack.device import folder
    from edgepack.runtimes import engine
    from edgepack.runtimes.images.spec import choose

    spec, _ = choose(profile.runtime, profile.cpu.isa)
    return Portable(archive=folder.pack(engine.require(), spec))
