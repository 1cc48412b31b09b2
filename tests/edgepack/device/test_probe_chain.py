"""From a device at hand to its profile, its report, and estimates made of its own times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgepack.cost import latency
from edgepack.cost.work import typical
from edgepack.device import description
from edgepack.device.calibration_export import as_toml, calibration_point
from edgepack.gates import device as judge
from edgepack.profiles import catalogue, probe

CPU = "\n".join(
    f"processor\t: {i}\nCPU implementer\t: 0x41\nCPU part\t: 0xc07\nFeatures\t: neon vfpv4\n"
    for i in range(4)
)
TABLET = {
    "getprop": "[ro.build.fingerprint]: [samsung/gtexslte/gtexslte:8.1/X/1:user/release-keys]\n"
    "[ro.product.manufacturer]: [samsung]\n[ro.product.model]: [SM-T285]\n"
    "[ro.build.version.sdk]: [27]\n[ro.build.version.release]: [8.1]\n"
    "[ro.product.cpu.abi]: [armeabi-v7a]\n[ro.build.characteristics]: [tablet]\n",
    "cpuinfo_max_freq": "0 1300000\n1 1300000\n2 1300000\n3 1300000\n",
    "nproc": "4",
    "uname -m": "armv7l",
    "/proc/cpuinfo": CPU,
    "/proc/meminfo": "MemTotal:        1400000 kB\n",
    "getconf": "4096",
    "df -k": "Filesystem 1K-blocks Used Available Use% Mounted\n/data 5000000 1 2 1% /data\n",
}


class Told:
    """A device that answers a question by the first word of it that is known."""

    name, folder = "told", "/x"

    def __init__(self, **changes: str) -> None:
        self.answers = TABLET | changes

    def shell(self, command: str) -> str:
        return next((text for key, text in self.answers.items() if key in command), "")


@pytest.fixture
def probed(tmp_path: Path) -> Path:
    device: Any = Told()
    path = tmp_path / "my-tablet.toml"
    path.write_text(probe.attached_phone(device, "2026-11-22", name="my-tablet"))
    return path


def report_of(agreed: Any, device: Any) -> Any:
    described = json.loads(description.read_device(device).model_dump_json())
    profile = catalogue.load("clinic-tablet-1gb-armv7")  # the family's runtime is its own
    assert agreed.plain["runtime"]["name"] == profile.runtime.name
    return agreed.report(device=described)


def verdicts(agreed: Any, report: Any, path: Path) -> dict[str, str]:
    found = judge.judge(report, catalogue.load(str(path)), agreed.expected)
    return {each.gate: each.verdict.value for each in found.findings}


def test_a_device_is_the_device_that_its_own_profile_tells_of(
    agreed: Any, probed: Path
) -> None:
    assert catalogue.problems(probed) == ()
    device: Any = Told()
    assert verdicts(agreed, report_of(agreed, device), probed)["device_profile"] == "pass"
    for key, other in (
        ("/proc/meminfo", "MemTotal: 3000000 kB"),
        ("nproc", "8"),
        ("getprop", TABLET["getprop"].replace("[27]", "[30]")),
        ("getprop", TABLET["getprop"].replace("armeabi-v7a", "arm64-v8a")),
    ):
        another: Any = Told(**{key: other})
        found = verdicts(agreed, report_of(agreed, another), probed)
        assert found["device_profile"] == "fail", key
        assert "latency" not in found


def test_its_own_times_then_lead_its_estimates(agreed: Any, probed: Path) -> None:
    device: Any = Told()
    report, profile = report_of(agreed, device), catalogue.load(str(probed))
    found = judge.judge(report, profile, agreed.expected)
    text = as_toml(calibration_point(report, found, instructions=30_000_000))
    probed.write_text(probed.read_text() + text)
    grown = catalogue.load(str(probed))
    work = typical(30_000_000, "int8", "armv7-a", "builtin")
    assert work is not None
    levels = [
        latency.estimate(each, work, "int8", kernels="builtin") for each in (profile, grown)
    ]
    assert [each.level if each else None for each in levels] == ["core", "runtime"]
    assert levels[1] is not None
    assert levels[1].low_ms < report.run.summary.p50_ms < levels[1].high_ms
