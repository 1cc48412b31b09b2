# ruff: noqa: E501 - quotes what tools print
"""What the back ends ask of a device and make of its answers, on a device of plain shell."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgepack.device import description
from edgepack.device.backends.app import App
from edgepack.device.backends.backend import RunRequest, expected_of
from edgepack.device.backends.benchmark_model import BenchmarkModel
from edgepack.device.calibration_export import as_toml, calibration_point
from edgepack.device.links.ssh import SshLink
from edgepack.device.session import Session, is_warm, reports_in
from edgepack.errors import InputError, OutputError, RuntimeFailure, UsageError
from edgepack.gates import device
from edgepack.measurements import device_report
from edgepack.measurements.device_report import Report
from edgepack.measurements.report_model import Conditions, RuntimeRef

GETPROP = """echo '[ro.build.fingerprint]: [samsung/gtexslte/gtexslte:8.1/X/1:user/release-keys]'
echo '[ro.product.manufacturer]: [samsung]'
echo '[ro.product.model]: [SM-T285]'
echo '[ro.build.version.sdk]: [27]'
echo '[ro.build.version.release]: [8.1]'
echo '[ro.product.cpu.abi]: [armeabi-v7a]'"""
BATTERY = (
    "printf '  AC powered: false\\n  USB powered: true\\n  level: 81\\n  temperature: 305\\n'"
)
CAT = 'test "$1" = /proc/meminfo && echo "MemTotal: 900000 kB" || exec /bin/cat "$@"'
#: As the app does: takes its own folder's bundle, leaves a report under the ordered name.
AM = """shift 2
while [ "$1" = -e ]; do eval "$2='$3'"; shift 3; done
test -f "$PHONE/app/files/$bundle" || { echo 'INSTRUMENTATION_CODE: 0'; exit 0; }
sed -e "s/IDENTITY/$identity/;s/APK/$apk_sha256/" "$PHONE/answer.json" > "$PHONE/app/files/report-$identity.json"
echo "$delegate $threads $mode" >> "$PHONE/ran"
echo 'INSTRUMENTATION_CODE: -1'"""
PM = """case $1 in
path) test -f "$PHONE/installed" && echo package:/data/app/x/base.apk;;
install) cp "$4" "$PHONE/installed" && echo Success;;
esac"""
RUN_AS = 'test -f "$PHONE/installed" || { echo "run-as: unknown package: $1"; exit 1; }\nshift; cd "$PHONE/app" && exec "$@"'


class Phone(SshLink):
    """A device that is this machine's shell with Android's programs in front."""

    def program_of(self, name: str, script: str) -> None:
        path = Path(self.folder).parent / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    @property
    def root(self) -> Path:
        return Path(self.folder).parent


@pytest.fixture
def phone(tmp_path: Path) -> Phone:
    root = tmp_path / "phone"
    (root / "bin").mkdir(parents=True)
    (root / "app").mkdir()
    program = tmp_path / "ssh"
    program.write_text(
        f'#!/bin/sh\nshift\nexport PHONE={root} PATH={root}/bin:$PATH\nexec sh -c "$1"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    made = Phone("fake", folder=str(root / "tmp"), program=(str(program),))
    for name, script in (
        ("getprop", GETPROP),
        ("dumpsys", f'test "$1" = battery && {BATTERY}'),
        ("settings", "echo 0"),
        ("cat", CAT),
        ("am", AM),
        ("pm", PM),
        ("run-as", RUN_AS),
    ):
        made.program_of(name, script)
    return made


def apk(content: bytes = b"x") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("AndroidManifest.xml", content)
    return out.getvalue()


@pytest.fixture
def run_request(agreed: Any) -> RunRequest:
    return RunRequest(bundle=agreed.bundle, data=agreed.data)


@pytest.fixture
def answering(agreed: Any, phone: Phone) -> Phone:
    text = agreed.text(identity="IDENTITY", backend__sha256="APK")
    (phone.root / "answer.json").write_text(text)
    return phone


def put_back(phone: Phone, report: Report) -> None:
    place = phone.root / f"app/files/report-{report.identity}.json"
    place.write_bytes(device_report.text(report))


@pytest.mark.tools
def test_the_app_is_installed_once_runs_and_its_report_is_taken(
    answering: Phone, run_request: RunRequest, agreed: Any
) -> None:
    app = App(apk=apk())
    assert app.install(answering).endswith("installed")
    assert app.install(answering).endswith("was there")
    assert App(apk=apk(b"newer")).install(answering).endswith("installed")
    app.install(answering)
    report = app.run(answering, run_request)
    expected = expected_of(
        run_request.bundle,
        run_request.bundle_sha256,
        identity=run_request.identity(app),
        backend_sha256=app.sha256,
    )
    found = device.judge(report, agreed.profile, expected)
    assert {f.gate for f in found.findings if f.verdict != "pass"} == set()
    assert (
        app.reports_left(answering, app.package, run_request.bundle_sha256) == ()
    )  # it was taken off
    put_back(answering, report)
    assert app.reports_left(answering, app.package, run_request.bundle_sha256) == (report,)
    assert app.reports_left(answering, app.package, "0" * 64) == ()


@pytest.mark.tools
def test_a_run_that_ended_after_the_plug_was_pulled_is_not_made_again(
    answering: Phone, run_request: RunRequest
) -> None:
    app = App(apk=apk())
    app.install(answering)
    first = app.run(answering, run_request)
    put_back(answering, first)
    assert app.run(answering, run_request) == first
    assert (answering.root / "ran").read_text() == "cpu 1 full\n"
    app.run(answering, replace(run_request, threads=4))
    app.run(answering, run_request)  # ordered again, made again
    assert (answering.root / "ran").read_text() == "cpu 1 full\ncpu 4 full\ncpu 1 full\n"


@pytest.mark.tools
def test_an_order_that_the_app_refuses_is_no_crash(
    answering: Phone, run_request: RunRequest
) -> None:
    app = App(apk=apk())
    app.install(answering)
    said = "INSTRUMENTATION_RESULT: error=affinity: an app cannot bind itself"
    answering.program_of("am", f"echo '{said}'; echo 'INSTRUMENTATION_CODE: 0'")
    report = app.run(answering, run_request)
    assert (report.ending, report.says) == (
        "error",
        "no report (code 0): affinity: an app cannot bind itself",
    )


@pytest.mark.tools
def test_an_app_that_crashes_is_a_report_that_says_so(
    answering: Phone, run_request: RunRequest
) -> None:
    app = App(apk=apk())
    app.install(answering)
    said = "INSTRUMENTATION_RESULT: shortMsg=Process crashed."
    answering.program_of("am", f"echo '{said}'; echo 'INSTRUMENTATION_CODE: 0'")
    report = app.run(answering, run_request)
    assert (report.ending, report.run) == ("crash", None)
    assert report.says == "no report (code 0): Process crashed."
    assert report.device.model == "SM-T285"
    jsonschema.validate(json.loads(device_report.text(report)), device_report.schema())


@pytest.mark.tools
@pytest.mark.parametrize(
    ("out", "error", "says"),
    [
        ("Failure [INSTALL_FAILED_OLDER_SDK: x]", RuntimeFailure, "take legacy"),
        ("Failure [INSTALL_FAILED_INSUFFICIENT_STORAGE]", OutputError, "free some storage"),
        ("Failure [INSTALL_FAILED_UPDATE_INCOMPATIBLE: y]", RuntimeFailure, "uninstall"),
        ("Error: something new", RuntimeFailure, "something new"),
    ],
)
def test_a_refused_installation_says_what_to_do(
    phone: Phone, out: str, error: type[Exception], says: str
) -> None:
    phone.program_of("pm", f"echo '{out}'; exit 1")
    with pytest.raises(error, match=says):
        App(apk=apk()).install(phone)


@pytest.mark.tools
def test_an_app_that_is_not_there_says_how_to_install_it(
    phone: Phone, run_request: RunRequest
) -> None:
    with pytest.raises(RuntimeFailure, match="edgepack android install"):
        App(apk=apk()).run(phone, run_request)


def test_what_is_no_apk_and_no_binary_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InputError, match="wanted an APK"):
        App(apk=b"PK")
    with pytest.raises(UsageError, match="ELF"):
        BenchmarkModel(binary=b"#!/bin/sh")


@pytest.fixture
def benchmark(phone: Phone, monkeypatch: pytest.MonkeyPatch) -> BenchmarkModel:
    """Return a back end whose binary is a script that prints what the tool prints."""
    monkeypatch.setattr(BenchmarkModel, "__post_init__", lambda self: None)
    script = """#!/bin/sh
echo "$*" > "$PHONE/flags"
echo 'INFO: count=16 first=7000 curr=5 min=4900 max=7000 avg=5200 std=4'
echo 'INFO: count=12000 first=5 curr=5 min=4870 max=9000 avg=5061 std=2 p5=4 median=5001 p95=5402'
echo 'INFO: Inference timings in us: Init: 12034, First inference: 7000, Warmup (avg): 5200, Inference (avg): 5061'
"""
    ran = RuntimeRef(name="tflite", version="2.16.1")
    return BenchmarkModel(binary=script.encode(), runtime=ran)


@pytest.mark.tools
def test_benchmark_model_gives_times_but_no_proof_of_the_model(
    phone: Phone, run_request: RunRequest, agreed: Any, benchmark: BenchmarkModel
) -> None:
    benchmark.install(phone)
    report = benchmark.run(phone, replace(run_request, threads=2))
    flags = (phone.root / "flags").read_text()
    assert "--num_threads=2" in flags
    assert "--num_runs=1024 --min_secs=60" in flags
    jsonschema.validate(json.loads(device_report.text(report)), device_report.schema())
    expected = expected_of(run_request.bundle, run_request.bundle_sha256)
    found = device.judge(report, agreed.profile, expected)
    gates = {each.gate: each for each in found.findings}
    assert gates["device_goldens"].verdict == "inconclusive"
    assert (gates["latency"].verdict, gates["latency"].value) == ("pass", 5.402)
    with pytest.raises(InputError, match="device_goldens"):
        as_toml(calibration_point(report, found))


@pytest.mark.tools
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("count=12000|count=0", "queries"),
        ("count=12000|count=99999999999", "queries"),
        ("Init: 12034|Init: 1e+99", "init_ms"),
        ("First inference: 7000|First inference: -5", "first_ms"),
    ],
)
def test_a_benchmark_that_tells_what_no_run_can_is_an_ending(
    phone: Phone, run_request: RunRequest, benchmark: BenchmarkModel, change: str, says: str
) -> None:
    told, lie = change.encode().split(b"|")
    lying = replace(benchmark, binary=benchmark.binary.replace(told, lie))
    lying.install(phone)
    report = lying.run(phone, run_request)
    assert (report.ending, report.run, report.memory) == ("error", None, None)
    assert says in report.says


@pytest.mark.parametrize(
    "wrong",
    [
        {"affinity": ""},
        {"affinity": "0"},
        {"affinity": "f" * 17},
        {"affinity": "f0; reboot"},
        {"affinity": "F0"},
        {"threads": 0},
        {"threads": 65},
        {"warmup": 0},
    ],
)
def test_what_no_report_could_tell_is_not_ordered(
    run_request: RunRequest, wrong: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="Received"):
        replace(run_request, **wrong)


@pytest.mark.parametrize("pause", [-1.0, float("nan"), float("inf"), 86_401.0])
def test_a_pause_that_never_ends_is_refused_at_once(tmp_path: Path, pause: float) -> None:
    with pytest.raises(UsageError, match="cool-down"):
        Session(folder=tmp_path, cool_down_s=pause)


@pytest.mark.tools
def test_a_benchmark_that_fails_is_an_ending(
    phone: Phone, run_request: RunRequest, benchmark: BenchmarkModel
) -> None:
    broken = replace(benchmark, binary=b"#!/bin/sh\necho 'ERROR: no such op'; exit 1\n")
    broken.install(phone)
    report = broken.run(phone, run_request)
    assert (report.ending, report.run) == ("error", None)
    assert "no such op" in report.says


@pytest.mark.tools
def test_what_android_says_of_itself_is_read(phone: Phone) -> None:
    told = description.read_device(phone)
    assert (told.model, told.sdk, told.abi) == ("SM-T285", 27, "armeabi-v7a")
    state = description.read_conditions(phone)
    assert (state.battery_c, state.battery_percent, state.plugged) == (30.5, 81, True)
    assert state.power_save is False


def test_strange_answers_about_heat_are_left_out() -> None:
    zones = "@zones\n-40000\n45678\n999999999\nNaN\n37\n@thermal\nThermal Status: 9\n@end\n"
    found = description.parse_conditions(zones)
    assert (found.temperature_c, found.thermal_status) == (45.678, None)
    assert description.parse_conditions("") == Conditions()


class Told:
    """A back end that gives prepared endings and counts its runs."""

    name = "app"
    sha256 = "2" * 64

    def __init__(self, agreed: Any, endings: list[str]) -> None:
        self.agreed, self.endings, self.ran = agreed, endings, 0

    def install(self, link: Any) -> str:
        return ""

    def run(self, link: Any, run_request: RunRequest) -> Report:
        self.ran += 1
        ending = self.endings.pop(0) if self.endings else "ok"
        changes: dict[str, Any] = {"identity": run_request.identity(self)}
        if ending != "ok":
            changes |= {"ending": ending, "run": None}
        report: Report = self.agreed.report(**changes)
        return report


@pytest.mark.tools
def test_a_session_goes_on_where_it_was_broken_off(
    phone: Phone, run_request: RunRequest, agreed: Any, tmp_path: Path
) -> None:
    slept: list[float] = []
    session = Session(folder=tmp_path / "out", cool_down_s=7, sleep=slept.append)
    requests = [
        run_request,
        replace(run_request, threads=2),
        replace(run_request, delegate="gpu"),
    ]
    backend = Told(agreed, ["ok", "crash", "ok"])
    assert [r.ending for r in session.run(phone, backend, requests)] == ["ok", "crash", "ok"]
    assert slept == [7, 7]
    again = list(session.run(phone, backend, requests))
    assert [r.ending for r in again] == ["ok", "ok", "ok"]
    assert backend.ran == 4  # only the crashed one ran again
    assert len(reports_in(tmp_path / "out")) == 3


@pytest.mark.tools
def test_a_damaged_report_is_made_again(
    phone: Phone, run_request: RunRequest, agreed: Any, tmp_path: Path
) -> None:
    session = Session(folder=tmp_path, sleep=lambda seconds: None)
    backend = Told(agreed, [])
    list(session.run(phone, backend, [run_request]))
    session.path(run_request.identity(backend)).write_bytes(b'{"half')
    list(session.run(phone, backend, [run_request]))
    assert backend.ran == 2


@pytest.mark.tools
def test_a_warm_device_is_waited_for_but_not_for_ever(
    phone: Phone, run_request: RunRequest, agreed: Any, tmp_path: Path
) -> None:
    phone.program_of("dumpsys", "echo '  Thermal Status: 3'")
    slept: list[float] = []
    session = Session(folder=tmp_path, patience_s=30, sleep=slept.append)
    list(session.run(phone, Told(agreed, []), [run_request]))
    assert slept == [10, 10, 10]


@pytest.mark.parametrize(
    ("status", "battery", "coolest", "expected"),
    [
        (1, None, None, False),
        (2, None, None, True),
        (None, 33.0, 30.0, False),
        (None, 33.1, 30.0, True),
        (None, 60.0, None, False),
    ],
)
def test_what_counts_as_warm(
    status: int | None, battery: float | None, coolest: float | None, expected: bool
) -> None:
    assert is_warm(Conditions(thermal_status=status, battery_c=battery), coolest) is expected


def test_a_measured_report_becomes_a_calibration_point(agreed: Any) -> None:
    import tomllib

    report = agreed.report()
    found = device.judge(report, agreed.profile, agreed.expected)
    text = as_toml(calibration_point(report, found))
    (point,) = tomllib.loads(text)["calibration"]
    assert point["ms"] == report.run.summary.p50_ms
    assert point["source"].startswith("measured: median of 1024 queries by app on samsung")
    from edgepack.profiles.profile import CalibrationPoint

    assert CalibrationPoint.model_validate(point).threads == 1


@pytest.mark.parametrize(
    "changes", [{"bundle__sha256": "0" * 64}, {"device__emulated": True}, {"goldens": None}]
)
def test_a_refused_or_emulated_report_becomes_none(
    agreed: Any, changes: dict[str, Any]
) -> None:
    report = agreed.report(**changes)
    found = device.judge(report, agreed.profile, agreed.expected)
    with pytest.raises(InputError, match="no calibration point"):
        as_toml(calibration_point(report, found))


def test_the_identity_tells_every_difference_apart(run_request: RunRequest) -> None:
    app: Callable[[bytes], App] = lambda data: App(apk=apk(data))  # noqa: E731
    requests = [
        run_request,
        replace(run_request, mode="quick"),
        replace(run_request, delegate="gpu"),
        replace(run_request, threads=2),
        replace(run_request, affinity="f0"),
        replace(run_request, warmup=1),
    ]
    found = {each.identity(app(b"a")) for each in requests} | {run_request.identity(app(b"b"))}
    assert len(found) == 7
