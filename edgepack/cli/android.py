"""``edgepack android``: the same bundle on a phone or board, and what its report proves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgepack.cli import device_wiring as means
from edgepack.cli import output
from edgepack.cli.check import Json, Strict
from edgepack.cli.device_wiring import Flavour, Way
from edgepack.cli.group import group

app = group("Run a bundle on a device by adb or ssh.")

BundleFile = Annotated[
    Path, typer.Argument(help="A .edgepack file.", show_default=False, readable=False)
]
Serial = Annotated[str | None, typer.Option("--serial", "-s", help="Which device, if several.")]
SshTarget = Annotated[
    str | None, typer.Option("--ssh", help="A board as user@host instead of adb.")
]
BackendName = Annotated[Way, typer.Option("--backend", "-b", help="What runs the model.")]
Apk = Annotated[
    Path | None,
    typer.Option("--apk", help="The app, built from android_harness.", readable=False),
]
Binary = Annotated[
    Path | None,
    typer.Option("--binary", help="The official benchmark_model for its ABI.", readable=False),
]
FlavourName = Annotated[Flavour, typer.Option("--flavour", help="Of the app.")]
Reports = Annotated[
    Path, typer.Option("--out", "-o", help="The folder of reports.", readable=False)
]
OtherProfile = Annotated[
    str | None, typer.Option("--profile", "-p", help="Another device than the bundle's own.")
]
GoldenLsb = Annotated[
    int, typer.Option("--golden-lsb", min=0, max=255, help="Codes an int8 answer may be off.")
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        "--calibration", help="Write calibration points for a profile here.", readable=False
    ),
]


@app.command("devices")
def devices(json_: Json = False) -> int:
    """List the devices that adb knows, and what keeps one from being used."""
    from edgepack.device import description as describe
    from edgepack.device.links import adb

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
    link = means.link_to(serial, ssh)
    typer.echo(
        means.backend_of(backend, means.profile_of(bundle, None), apk, binary, flavour).install(
            link
        )
    )
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
    threads: Annotated[
        list[int] | None,
        typer.Option("--threads", min=1, max=64, help="How many; may be repeated."),
    ] = None,
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
    from edgepack import files as store
    from edgepack.device.session import Session

    means.spared(calibration, bundle, apk, binary)
    store.prove_writable(out)
    orders = means.orders_of(bundle, delegate or ["cpu"], threads or [1], affinity, quick=quick)
    device = means.profile_of(bundle, profile)
    link = means.link_to(serial, ssh)
    chosen = means.backend_of(backend, device, apk, binary, flavour)
    with output.progress() as bars:
        bars.say(chosen.install(link))
        session = Session(
            folder=out,
            cool_down_s=cool_down,
            say=bars.say,
            accepts=means.acceptance(bundle, device, chosen.sha256, golden_lsb),
        )
        found = list(session.run(link, chosen, orders))
    identities = [order.identity(chosen) for order in orders]
    wanted = [(each, chosen.sha256) for each in identities]
    return means.judged(
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
    from edgepack import files as store
    from edgepack.device.backends.app import App
    from edgepack.device.session import Session, of_folder
    from edgepack.errors import InputError
    from edgepack.measurements import device_report as reports

    means.spared(calibration, bundle, apk)
    data, device = means.whole_bytes(bundle), means.profile_of(bundle, profile)
    if not offline:
        store.prove_writable(out)
        package = App.package_of(flavour.value)
        for each in App.left(means.link_to(serial, None), package, store.sha256(data)):
            store.write_whole(Session(folder=out).path(each.identity), reports.text(each))
    found = [r for r in of_folder(out) if r.bundle.sha256 == store.sha256(data)]
    if not found:
        raise InputError(f"{out}: no report about {bundle}; 'edgepack android run' makes one")
    digest = None if apk is None else store.digest_of_tree(apk)
    return means.judged(
        bundle,
        device,
        [(each, (None, digest if each.backend.name == "app" else None)) for each in found],
        golden_lsb=golden_lsb,
        calibration=calibration,
        strict=strict,
        json_=json_,
    )
