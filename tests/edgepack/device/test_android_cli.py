"""``edgepack android`` from its words to its exit code, on a device behind a pretended ssh."""

from __future__ import annotations

import json
import os
import re
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgepack.cli import android
from edgepack.errors import EdgepackError, InputError, UsageError

# ssh's options and target are thrown away; the board's folder lies below $PHONE
SSH = """#!/bin/sh
shift 7
export PATH=$PHONE/bin:$PATH
exec sh -c "$(printf %s "$1" | sed "s#/var/tmp/edgepack#$PHONE/tmp#g")"
"""
AM = """shift 2
while [ "$1" = -e ]; do eval "$2='$3'"; shift 3; done
sed -e "s/IDENTITY/$identity/;s/APK/$apk_sha256/" $PHONE/answer.json > $PHONE/app/files/report-$identity.json
echo ran >> $PHONE/ran"""  # noqa: E501


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agreed: Any) -> Path:
    """Return the folder of a device on which the app is installed and answers truly."""
    root = tmp_path / "phone"
    (root / "bin").mkdir(parents=True)
    (root / "app/files").mkdir(parents=True)
    (tmp_path / "host").mkdir()
    programs = {
        tmp_path / "host/ssh": SSH,
        root / "bin/am": f"#!/bin/sh\n{AM}\n",
        root / "bin/pm": '#!/bin/sh\necho "Success package:x"\n',
        root / "bin/run-as": '#!/bin/sh\nshift; cd $PHONE/app && exec "$@"\n',
    }
    for path, text in programs.items():
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PHONE", str(root))
    monkeypatch.setenv("PATH", f"{tmp_path / 'host'}:{os.environ['PATH']}")
    (root / "answer.json").write_text(agreed.text(identity="IDENTITY", backend__sha256="APK"))
    (tmp_path / "m.edgepack").write_bytes(agreed.data)
    with zipfile.ZipFile(tmp_path / "app.apk", "w") as archive:
        archive.writestr("AndroidManifest.xml", b"x")
    return root


def called(*words: str) -> int:
    code: int = android.app(list(words), standalone_mode=False) or 0
    return code


def words(tmp_path: Path, *more: str) -> list[str]:
    return [
        *("run", str(tmp_path / "m.edgepack"), "--ssh", "pi@board"),
        *("--apk", str(tmp_path / "app.apk"), "--out", str(tmp_path / "out"), *more),
    ]


@pytest.mark.tools
def test_a_bundle_runs_is_judged_and_is_kept(
    phone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(*words(tmp_path, "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["verdict"]) == ("edgepack.android-run/1", "pass")
    latency = [f for f in found["findings"] if f["gate"] == "latency"]
    assert [f["how"] for f in latency] == ["measured"]
    assert called(*words(tmp_path)) == 0
    assert "SM-T285: app cpu, 1 thread(s)" in capsys.readouterr().out
    assert (phone / "ran").read_text() == "ran\n"  # the second time nothing ran


@pytest.mark.tools
def test_reports_are_judged_again_without_a_device(
    phone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(*words(tmp_path))
    point = tmp_path / "point.toml"
    again = ["pull", str(tmp_path / "m.edgepack"), "--offline", "--out", str(tmp_path / "out")]
    assert called(*again, "--calibration", str(point)) == 0
    assert len(tomllib.loads(point.read_text())["calibration"]) == 1
    refused = tmp_path / "refused.toml"
    capsys.readouterr()
    assert called(*again, "--profile", "pixel-3", "--calibration", str(refused)) == 3
    shown = capsys.readouterr()
    assert re.search(r"FAIL +device_profile", shown.out)
    assert not re.search(r"pass +storage", shown.out)  # found for another device
    assert "no calibration point from SM-T285: device_profile" in shown.err
    assert not refused.exists()
    assert called(*again, "--apk", str(tmp_path / "m.edgepack")) == 3  # another APK


@pytest.mark.tools
def test_a_refused_report_is_exit_code_3(
    phone: Path, tmp_path: Path, agreed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    hot = agreed.text(identity="IDENTITY", backend__sha256="APK", after__thermal_status=3)
    (phone / "answer.json").write_text(hot)
    assert called(*words(tmp_path, "--json")) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "fail"
    latency = [f["how"] for f in found["findings"] if f["gate"] == "latency"]
    assert latency == ["estimated"]  # the measured one was not let in
    (phone / "answer.json").write_text(agreed.text(identity="IDENTITY", backend__sha256="APK"))
    assert called(*words(tmp_path)) == 0  # the same command, on a device that cooled down


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        (["--delegate", "dsp"], UsageError, "wanted cpu, xnnpack, gpu, nnapi"),
        (["--affinity", "xyz"], UsageError, "wanted a mask"),
        (["--serial", "x"], UsageError, "two devices"),
        (["--backend", "benchmark_model"], UsageError, "needs --binary"),
    ],
)
def test_wrong_words_are_one_clear_error(
    phone: Path, tmp_path: Path, more: list[str], error: type[EdgepackError], says: str
) -> None:
    with pytest.raises(error, match=says):
        called(*words(tmp_path, *more))


def test_an_empty_folder_of_reports_says_what_makes_one(phone: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="edgepack android run"):
        called("pull", str(tmp_path / "m.edgepack"), "--offline", "--out", str(tmp_path))
