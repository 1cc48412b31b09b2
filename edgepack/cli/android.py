"""``edgepack android``: the same bundle on a phone or board, and what its report proves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgepack.cli import device_wiring, output
from edgepack.cli.device_wiring import BackendChoice, Flavour
from edgepack.cli.options import BundleFile, Json, OtherProfile, Strict, group

app = group("Run bundles on a phone or board by adb or ssh.")

Serial = Annotated[
    str | None,
    typer.Option(
        "--serial",
        "-s",
        metavar="SERIAL",
        help="Serial number of the device, if several are attached.",
    ),
]
SshTarget = Annotated[
    str | None,
    typer.Option("--ssh", metavar="USER@HOST", help="Board to reach by ssh instead of adb."),
]
BackendOption = Annotated[
    BackendChoice,
    typer.Option("--backend", "-b", help="Program that runs the model on the device."),
]
Apk = Annotated[
    Path | None,
    typer.Option(
        "--apk",
        metavar="FILE",
        help="APK built from android_harness (--backend app).",
        readable=False,
    ),
]
Binary = Annotated[
    Path | None,
    typer.Option(
        "--binary",
        metavar="FILE",
        help="benchmark_model for the device's ABI (--backend benchmark_model).",
        readable=False,
    ),
]
FlavourName = Annotated[Flavour, typer.Option("--flavour", help="Build flavour of the app.")]
Reports = Annotated[
    Path,
    typer.Option(
        "--out", "-o", metavar="DIR", help="Folder of device reports.", readable=False
    ),
]
GoldenLsb = Annotated[
    int,
    typer.Option(
        "--golden-lsb",
        metavar="N",
        min=0,
        max=255,
        help="Tolerance of golden outputs in steps (LSB) of int8.",
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="FILE",
        help="TOML file to write latency calibration points to.",
        readable=False,
    ),
]


@app.command("devices")
def devices(json_: Json = False) -> int:
    """List attached devices and their state."""
    from edgepack.device import description
    from edgepack.device.links import adb

    server = adb.client()
    rows: list[dict[str, Any]] = []
    for each in adb.list_devices(server):
        row: dict[str, Any] = {"serial": each.serial, "state": each.state}
        if each.state == "device":
            device = description.read_device(adb.AdbLink(server, each.serial))
            row |= {"model": device.model, "abi": device.abi, "sdk": device.sdk}
        rows.append(row)
    if json_:
        output.print_json({"schema": "edgepack.android-devices/1", "devices": rows})
        return 0
    heads = ("serial", "state", "model", "abi", "sdk")
    cells = [tuple(str(row.get(head) or "") for head in heads) for row in rows]
    output.table(f"{len(rows)} device{'' if len(rows) == 1 else 's'}", heads, cells)
    return 0


@app.command("install")
def install(
    bundle: BundleFile,
    backend: BackendOption = BackendChoice.APP,
    serial: Serial = None,
    ssh: SshTarget = None,
    apk: Apk = None,
    binary: Binary = None,
    flavour: FlavourName = Flavour.LEGACY,
) -> int:
    """Install a backend on the device."""
    link = device_wiring.open_link(serial, ssh)
    typer.echo(
        device_wiring.open_backend(
            backend, device_wiring.profile_of(bundle, None), apk, binary, flavour
        ).install(link)
    )
    return 0


@app.command("run")
def run(
    bundle: BundleFile,
    backend: BackendOption = BackendChoice.APP,
    serial: Serial = None,
    ssh: SshTarget = None,
    apk: Apk = None,
    binary: Binary = None,
    flavour: FlavourName = Flavour.LEGACY,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick/--full", help="At least 128 inferences and 10 s, or 1,024 and 60 s."
        ),
    ] = False,
    delegate: Annotated[
        list[str] | None,
        typer.Option(
            "--delegate",
            metavar="NAME",
            help="Delegate: cpu, xnnpack, gpu or nnapi; may be repeated; default: cpu.",
        ),
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(
            "--threads",
            metavar="N",
            min=1,
            max=64,
            help="Number of interpreter threads; may be repeated; default: 1.",
        ),
    ] = None,
    affinity: Annotated[
        str | None,
        typer.Option(
            "--affinity",
            metavar="MASK",
            help="CPU affinity as a hexadecimal mask, such as f0; default: all.",
        ),
    ] = None,
    cool_down: Annotated[
        float,
        typer.Option(
            "--cool-down",
            metavar="SECONDS",
            min=0,
            help="Pause before every run but the first, in seconds.",
        ),
    ] = 30.0,
    out: Reports = Path("device-reports"),
    profile: OtherProfile = None,
    golden_lsb: GoldenLsb = 4,
    calibration: Calibration = None,
    strict: Strict = False,
    json_: Json = False,
) -> int:
    """Run a bundle on the device and judge the reports."""
    from edgepack import files
    from edgepack.device.session import Session

    device_wiring.refuse_overwriting(calibration, bundle, apk, binary)
    files.check_writable(out)
    requests = device_wiring.run_requests(
        bundle, delegate or ["cpu"], threads or [1], affinity, quick=quick
    )
    device = device_wiring.profile_of(bundle, profile)
    link = device_wiring.open_link(serial, ssh)
    chosen = device_wiring.open_backend(backend, device, apk, binary, flavour)
    with output.progress() as bars:
        bars.say(chosen.install(link))
        session = Session(
            folder=out,
            cool_down_s=cool_down,
            say=bars.say,
            accepts=device_wiring.kept_report_filter(bundle, device, chosen.sha256, golden_lsb),
        )
        found = list(session.run(link, chosen, requests))
    received = [
        device_wiring.ReceivedReport(report, request.identity(chosen), chosen.sha256)
        for report, request in zip(found, requests, strict=True)
    ]
    return device_wiring.show_verdicts(
        bundle,
        device,
        received,
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
        bool, typer.Option("--offline", help="Judge the reports in --out without a device.")
    ] = False,
    strict: Strict = False,
    json_: Json = False,
) -> int:
    """Fetch reports from the device and judge them."""
    from edgepack import files
    from edgepack.device.backends.app import App
    from edgepack.device.session import Session, reports_in
    from edgepack.errors import InputError
    from edgepack.measurements import device_report

    device_wiring.refuse_overwriting(calibration, bundle, apk)
    data, device = device_wiring.bundle_bytes(bundle), device_wiring.profile_of(bundle, profile)
    if not offline:
        files.check_writable(out)
        package = App.package_of(flavour.value)
        for each in App.reports_left(
            device_wiring.open_link(serial, None), package, files.sha256(data)
        ):
            files.write_whole(Session(folder=out).path(each.identity), device_report.text(each))
    found = [r for r in reports_in(out) if r.bundle.sha256 == files.sha256(data)]
    if not found:
        raise InputError(f"{out}: no report about {bundle}; 'edgepack android run' makes one")
    digest = None if apk is None else files.digest_of_tree(apk)
    return device_wiring.show_verdicts(
        bundle,
        device,
        [
            device_wiring.ReceivedReport(
                each, None, digest if each.backend.name == "app" else None
            )
            for each in found
        ],
        golden_lsb=golden_lsb,
        calibration=calibration,
        strict=strict,
        json_=json_,
    )
