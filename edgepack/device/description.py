"""A device and its state, read by shell commands; what it does not answer stays absent."""

from __future__ import annotations

import re

from edgepack.device.links.link import Link
from edgepack.measurements.report_model import Conditions, Device
from edgepack.profiles import probe_parse
from edgepack.toml_file import one_line

_BATTERY = re.compile(
    r"^\s*(level|temperature|AC powered|USB powered|Wireless powered): (\S+)", re.M
)
#: dumpsys thermalservice, API 29 and later.
_THERMAL = re.compile(r"^\s*Thermal Status: ([0-6])\s*$", re.M)
_EMULATORS = ("generic", "sdk_gphone", "emulator", "vbox", "ranchu", "goldfish")

_CONDITIONS_COMMAND = (
    "echo @battery; dumpsys battery 2>/dev/null;"
    " echo @thermal; dumpsys thermalservice 2>/dev/null | grep 'Thermal Status';"
    " echo @zones; cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null;"
    " echo @governor; cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null;"
    " echo @clocks; cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq 2>/dev/null;"
    " echo @saver; settings get global low_power 2>/dev/null; echo @end"
)


def read_conditions(link: Link) -> Conditions:
    """Return the device's present state."""
    return parse_conditions(link.shell(_CONDITIONS_COMMAND))


def parse_conditions(text: str) -> Conditions:
    """Return the state in the output of ``_CONDITIONS_COMMAND``."""
    part = _parts(text)
    battery = dict(_BATTERY.findall(part.get("battery", "")))
    status = _THERMAL.search(part.get("thermal", ""))
    level, tenths = probe_parse.number(battery.get("level", "")), battery.get("temperature", "")
    power = [battery[key] for key in battery if key.endswith("powered")]
    governor = one_line(part.get("governor", ""))
    saver = part.get("saver", "").strip()
    clocks = [probe_parse.number(line) for line in part.get("clocks", "").splitlines()]
    return Conditions(
        thermal_status=int(status[1]) if status else None,
        temperature_c=_hottest(part.get("zones", "")),
        battery_c=_celsius(tenths, 10),
        battery_percent=level if level is not None and level <= 100 else None,
        plugged=("true" in power) if power else None,
        power_save={"1": True, "0": False}.get(saver),
        governor=governor or None,
        clocks_khz=tuple(clock for clock in clocks[:1024] if clock),
    )


def _parts(text: str) -> dict[str, str]:
    pieces = re.split(r"^@(\w+)\s*$", text, flags=re.M)
    return dict(zip(pieces[1::2], pieces[2::2], strict=False))


def _celsius(text: str, divisor: int) -> float | None:
    if not re.fullmatch(r"-?\d{1,7}", text.strip()):
        return None
    value = int(text) / divisor
    return value if -60 <= value <= 250 else None


def _hottest(zones: str) -> float | None:
    found = [
        # most kernels say thousandths; some vendors say whole degrees
        _celsius(line, 1000 if len(line.strip().lstrip("-")) > 3 else 1)
        for line in zones.splitlines()
    ]
    plausible = [each for each in found if each is not None and 0 < each < 150]
    return max(plausible, default=None)


def read_device(link: Link) -> Device:
    """Return what the device reports of itself: Android's properties, or Linux's uname."""
    known = probe_parse.properties(link.shell("getprop 2>/dev/null"))
    machine = one_line(link.shell("uname -m")) or "unknown"
    cpus = _plausible(
        probe_parse.number(link.shell("nproc 2>/dev/null || grep -c ^processor /proc/cpuinfo")),
        1024,
    )
    ram = _plausible(probe_parse.memory_bytes(link.shell("cat /proc/meminfo")), 2**50)
    if known.get("ro.build.fingerprint"):
        return _android(known, cpus or 1, ram)
    release = probe_parse.os_release(link.shell("cat /etc/os-release 2>/dev/null"))
    board = link.shell("cat /proc/device-tree/model 2>/dev/null").strip("\0\n ")
    return Device(
        manufacturer="not stated",
        model=one_line(board) or f"{machine} machine",
        fingerprint=one_line(link.shell("uname -srv")) or "unknown",
        release=one_line(f"{release.get('ID', 'linux')} {release.get('VERSION_ID', '')}"),
        abi=machine,
        cpus=cpus or 1,
        ram_bytes=ram,
        emulated=False,
    )


def _plausible(value: int | None, most: int) -> int | None:
    """Return a number that a device may have; None where the answer cannot be true."""
    return value if value is not None and value <= most else None


def _android(known: dict[str, str], cpus: int, ram: int | None) -> Device:
    def text(key: str) -> str:
        return one_line(known.get(key, "")) or "not stated"

    fingerprint = text("ro.build.fingerprint")
    words = f"{fingerprint} {known.get('ro.hardware', '')}".lower()
    return Device(
        manufacturer=text("ro.product.manufacturer"),
        model=text("ro.product.model"),
        fingerprint=fingerprint,
        # a build between two releases says 10000
        sdk=_plausible(probe_parse.number(known.get("ro.build.version.sdk", "")), 100),
        release=text("ro.build.version.release"),
        abi=text("ro.product.cpu.abi"),
        cpus=cpus,
        ram_bytes=ram,
        emulated=known.get("ro.kernel.qemu") == "1" or any(w in words for w in _EMULATORS),
    )
