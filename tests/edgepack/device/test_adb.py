"""The real adb server and client against a daemon in every mood of a real device."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import socket
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgepack.device.backends.app import App
from edgepack.device.backends.backend import RunRequest, expected_of
from edgepack.device.links import adb
from edgepack.device.links.adb import Attached
from edgepack.device.links.link import DeviceDisconnected, DeviceFull, push_once
from edgepack.errors import EnvironmentMissing, RuntimeFailure, UsageError
from edgepack.gates.device import judge
from edgepack.profiles import probe

_SPEC = importlib.util.spec_from_file_location(
    "fake_adbd", Path(__file__).with_name("fake_adbd.py")
)
assert _SPEC is not None and _SPEC.loader is not None
fake = importlib.util.module_from_spec(_SPEC)
import sys  # noqa: E402

pytestmark = pytest.mark.tools

sys.modules["fake_adbd"] = fake
_SPEC.loader.exec_module(fake)

PLACE = "/data/local/tmp/edgepack"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe_socket:
        return int(probe_socket.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield a client of a private adb server that adbutils bundles, ended by its process."""
    from adbutils._utils import adb_path

    port = _free_port()
    home = tmp_path_factory.mktemp("adb-home")
    env = {**os.environ, "HOME": str(home), "ADB_MDNS": "0", "ADB_LIBUSB": "0"}
    env["ADB_MDNS_AUTO_CONNECT"] = "0"
    process = subprocess.Popen(
        [adb_path(), "-L", f"tcp:{port}", "nodaemon", "server"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            with socket.socket() as wire:
                if wire.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            pytest.fail("the adb server did not start")
        yield adb.client(port=port)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:  # seen: adb hangs on its way out now and then
            process.kill()
            process.wait(10)


@pytest.fixture
def phone(server: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Yield a function that attaches a device of some mood."""
    made: list[Any] = []

    def attach(**mood: Any) -> Any:
        one = fake.Phone(tmp_path / f"phone{len(made)}", fake.Mood(**mood))
        one.start()
        made.append(one)
        server.connect(one.serial, timeout=20)
        server.close_all()
        wanted = "device" if one.mood.authorized else "unauthorized"
        for _ in range(50):
            if Attached(one.serial, wanted) in adb.list_devices(server):
                break
            time.sleep(0.1)
        return one

    yield attach
    for one in made:
        server.disconnect(one.serial)
        one.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adb, "_SETTLE_S", 0.2)


def wait_until_back(server: Any, serial: str) -> None:
    for _ in range(10):
        server.connect(serial, timeout=20)
        if Attached(serial, "device") in adb.list_devices(server):
            return
        time.sleep(0.3)
    pytest.fail(f"{serial} did not come back: {adb.list_devices(server)}")


@pytest.mark.parametrize("old", [False, True], ids=["shell_v2", "android-5"])
def test_exit_codes_are_true_on_new_and_old_devices(phone: Any, server: Any, old: bool) -> None:
    shell = adb.AdbLink(server, phone(old=old).serial)
    assert shell.has_exit_codes is not old
    for command, code, out in (
        ("echo one; echo two", 0, "one\ntwo\n"),
        ("exit 7", 7, ""),
        ("echo last; false", 1, "last\n"),
        ("printf 'no newline'; exit 3", 3, "no newline"),
        ("true", 0, ""),
    ):
        answer = shell.run(command)
        assert (answer.code, answer.out) == (code, out), command


@pytest.mark.parametrize("old", [False, True], ids=["shell_v2", "android-5"])
def test_what_is_pushed_comes_back_byte_for_byte(phone: Any, server: Any, old: bool) -> None:
    shell = adb.AdbLink(server, phone(old=old).serial)
    for size in (0, 1, 4095, 4096, 65536, 300_001):
        data = hashlib.shake_256(str(size).encode()).digest(size)
        shell.push(data, f"{PLACE}/file")
        assert shell.pull(f"{PLACE}/file", size + 1) == data


def test_a_file_that_is_there_is_not_sent_twice(phone: Any, server: Any) -> None:
    one = phone()
    shell = adb.AdbLink(server, one.serial)
    assert push_once(shell, b"x" * 100, f"{PLACE}/abc.bin")
    assert not push_once(shell, b"x" * 100, f"{PLACE}/abc.bin")
    assert push_once(shell, b"x" * 101, f"{PLACE}/abc.bin")
    assert sum("send" in word for word in one.mood.seen) == 2


def test_an_absent_or_too_large_file_is_one_clear_error(phone: Any, server: Any) -> None:
    shell = adb.AdbLink(server, phone().serial)
    with pytest.raises(RuntimeFailure, match="No such file"):
        shell.pull(f"{PLACE}/none", 100)
    shell.push(b"x" * 101, f"{PLACE}/large")
    with pytest.raises(RuntimeFailure, match="more than 100 B"):
        shell.pull(f"{PLACE}/large", 100)


@pytest.mark.parametrize("old", [False, True], ids=["shell_v2", "android-5"])
def test_a_full_device_says_so_and_keeps_nothing_half(
    phone: Any, server: Any, old: bool
) -> None:
    one = phone(old=old, room_bytes=100_000)
    shell = adb.AdbLink(server, one.serial)
    with pytest.raises(DeviceFull, match="no room for 900,000 B"):
        shell.push(b"x" * 900_000, f"{PLACE}/big")
    assert shell.run(f"ls {PLACE}").out == ""
    shell.push(b"small", f"{PLACE}/small")
    assert shell.pull(f"{PLACE}/small", 10) == b"small"


@pytest.mark.parametrize("moment", ["data 655360", "echo slow", "send"])
def test_an_unplugged_device_is_told_and_the_same_command_goes_on(
    phone: Any, server: Any, moment: str
) -> None:
    one = phone(unplug_on=moment)
    shell = adb.AdbLink(server, one.serial)
    data = b"y" * 1_000_000

    def work() -> str:
        push_once(shell, data, f"{PLACE}/{hashlib.sha256(data).hexdigest()}")
        return shell.run("echo slow").out

    with pytest.raises(DeviceDisconnected, match="went away"):
        work()
    wait_until_back(server, one.serial)
    assert work() == "slow\n"
    assert shell.pull(f"{PLACE}/{hashlib.sha256(data).hexdigest()}", 10**6) == data


def test_a_device_that_stays_away_is_unplugged(phone: Any, server: Any) -> None:
    one = phone()
    shell = adb.AdbLink(server, one.serial)
    assert shell.run("true").code == 0
    one.close()
    server.disconnect(one.serial)
    with pytest.raises(DeviceDisconnected, match="plug it in again"):
        shell.run("true")


def test_an_unauthorized_device_says_what_to_touch(phone: Any, server: Any) -> None:
    one = phone(authorized=False)
    with pytest.raises(EnvironmentMissing, match="allow USB debugging"):
        adb.choose(adb.list_devices(server), one.serial)
    with pytest.raises(EnvironmentMissing, match="allow USB debugging"):
        adb.AdbLink(server, one.serial).run("true")


def test_several_devices_are_told_apart(phone: Any, server: Any) -> None:
    first, second = phone(), phone(old=True)
    found = adb.list_devices(server)
    with pytest.raises(UsageError, match="name one with --serial"):
        adb.choose(found, None)
    for one in (first, second):
        shell = adb.AdbLink(server, adb.choose(found, one.serial))
        assert shell.run("pwd").out.strip() == str(one.root)


@pytest.mark.parametrize(
    ("found", "serial", "error", "says"),
    [
        ((), None, EnvironmentMissing, "no device"),
        ((Attached("a", "device"),), "b", UsageError, "Attached: a"),
        ((Attached("a", "offline"),), None, EnvironmentMissing, "plug it in again"),
        ((Attached("a", "no permissions (user)"),), None, EnvironmentMissing, "udev"),
        ((Attached("a", "sideload"),), "a", EnvironmentMissing, "'sideload'"),
    ],
)
def test_a_device_that_cannot_be_used_is_explained(
    found: tuple[Attached, ...], serial: str | None, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        adb.choose(found, serial)


def test_the_one_usable_device_is_taken_beside_unusable_ones() -> None:
    found = (Attached("a", "offline"), Attached("b", "device"))
    assert adb.choose(found, None) == "b"


@pytest.mark.parametrize("old", [False, True], ids=["shell_v2", "android-5"])
def test_a_profile_can_be_probed_through_it(phone: Any, server: Any, old: bool) -> None:
    one = phone(old=old)
    one.install(
        "getprop",
        "echo '[ro.product.cpu.abi]: [armeabi-v7a]'; echo '[ro.product.model]: [Fake 5]';"
        " echo '[ro.build.version.sdk]: [21]'; echo '[ro.build.version.release]: [5.0]'",
    )
    text = probe.attached_phone(adb.AdbLink(server, one.serial), "2026-11-22")
    assert 'isa = "armv7"' in text
    assert "api_level = 21" in text


AM = """shift 2
while [ "$1" = -e ]; do eval "$2='$3'"; shift 3; done
sed -e "s/IDENTITY/$identity/;s/APK/$apk_sha256/" $PHONE/answer.json > $PHONE/app/files/report-$identity.json
echo ran >> $PHONE/ran
echo 'INSTRUMENTATION_CODE: -1'"""  # noqa: E501


def harnessed(one: Any, agreed: Any) -> App:
    """Return the app, on a device on which it answers truly."""
    (one.root / "app").mkdir()
    answer = agreed.text(identity="IDENTITY", backend__sha256="APK")
    (one.root / "answer.json").write_text(answer.replace(", ", ",\n"))  # CR LF on old ones
    one.install("am", AM)
    one.install("pm", "echo Success package:x")
    one.install("run-as", 'shift; cd $PHONE/app && exec "$@"')
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("AndroidManifest.xml", b"x" * 10_000)
    return App(apk=out.getvalue())


@pytest.mark.parametrize("old", [False, True], ids=["shell_v2", "android-5"])
def test_the_app_runs_and_answers_over_adb(
    phone: Any, server: Any, agreed: Any, old: bool
) -> None:
    one = phone(old=old)
    app, shell = harnessed(one, agreed), adb.AdbLink(server, one.serial)
    run_request = RunRequest(bundle=agreed.bundle, data=agreed.data)
    app.install(shell)
    report = app.run(shell, run_request)
    expected = expected_of(
        run_request.bundle,
        run_request.bundle_sha256,
        identity=run_request.identity(app),
        backend_sha256=app.sha256,
    )
    found = judge(report, agreed.profile, expected)
    assert {f.gate for f in found.findings if f.verdict != "pass"} == set()
    pushed = one.root / "app/files" / f"{run_request.bundle_sha256}.edgepack"
    assert pushed.read_bytes() == agreed.data


def test_a_run_broken_off_by_the_plug_is_taken_up_again(
    phone: Any, server: Any, agreed: Any
) -> None:
    one = phone(unplug_on="am instrument")
    app, shell = harnessed(one, agreed), adb.AdbLink(server, one.serial)
    run_request = RunRequest(bundle=agreed.bundle, data=agreed.data)
    app.install(shell)
    with pytest.raises(DeviceDisconnected, match="went away"):
        app.run(shell, run_request)
    wait_until_back(server, one.serial)
    assert app.run(shell, run_request).ending == "ok"
    assert (one.root / "ran").read_text() == "ran\n"


def test_the_command_lists_every_device_and_probes_one(
    phone: Any, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from edgepack.cli import android, profiles

    one, locked = phone(), phone(authorized=False)
    one.install(
        "getprop",
        "echo '[ro.product.cpu.abi]: [arm64-v8a]'; echo '[ro.product.model]: [Fake 9]';"
        " echo '[ro.build.version.sdk]: [28]'; echo '[ro.build.fingerprint]: [f/k/1]'",
    )
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
    assert not android.app(["devices", "--json"], standalone_mode=False)
    listed = {row["serial"]: row for row in json.loads(capsys.readouterr().out)["devices"]}
    assert (
        listed[one.serial] | {"model": "Fake 9", "abi": "arm64-v8a", "sdk": 28}
        == (listed[one.serial])
    )
    assert listed[locked.serial] == {"serial": locked.serial, "state": "unauthorized"}
    out = tmp_path / "fake.toml"
    words = ["probe", "--adb", "--serial", one.serial, "--out", str(out)]
    assert not profiles.app(words, standalone_mode=False)
    assert 'title = "Fake 9"' in out.read_text()
    with pytest.raises(EnvironmentMissing, match="allow USB debugging"):
        profiles.app(["probe", "--adb", "--serial", locked.serial], standalone_mode=False)
