"""A probed profile loads, says where each number was measured, and trusts no text."""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.errors import EdgepackError, EnvironmentMissing, InputError
from edgepack.profiles import catalogue, probe, probe_parse
from edgepack.profiles.profile import Profile
from edgepack.toml_file import document, one_line

DAY = "2026-11-22"
#: /proc/cpuinfo of a tablet (github.com/yurnam/lenovo-TB-8505F), two of its four cores.
A53 = """\
Processor\t: AArch64 Processor rev 4 (aarch64)
processor\t: 0
BogoMIPS\t: 26.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd03
CPU revision\t: 4

processor\t: 1
BogoMIPS\t: 26.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd03
CPU revision\t: 4

Hardware\t: MT8166B
"""
#: An old 32-bit kernel: the processors in one paragraph, what they share in the next.
A7 = """\
Processor\t: ARMv7 Processor rev 3 (v7l)
processor\t: 0
BogoMIPS\t: 26.00

processor\t: 1
BogoMIPS\t: 26.00

Features\t: swp half thumb fastmult vfp edsp neon vfpv3 tls vfpv4
CPU implementer\t: 0x41
CPU architecture: 7
CPU part\t: 0xc07
"""
GETPROP = """\
[ro.build.characteristics]: [tablet]
[ro.build.version.release]: [10]
[ro.build.version.sdk]: [29]
[ro.board.platform]: [mt6761]
[ro.product.cpu.abi]: [arm64-v8a]
[ro.product.manufacturer]: [LENOVO]
[ro.product.model]: [Lenovo TB-8505F]
"""
ANSWERS = {
    "getprop": GETPROP,
    "cat /proc/cpuinfo": A53,
    "for c in": "0 2001000\n1 2001000\n",
    "cat /proc/meminfo": "MemTotal:        1973384 kB\nMemFree:  88436 kB\n",
    "getconf PAGE_SIZE": "4096\n",
    "df -k /data": "Filesystem 1K-blocks Used Available Use% Mounted on\n"
    "/dev/block/dm-2 24372344 4091532 20264428 17% /data\n",
}


class Phone:
    """A phone that answers from a table, by the beginning of the command."""

    def __init__(self, other: dict[str, str] | None = None) -> None:
        self.answers = ANSWERS | (other or {})

    def shell(self, command: str) -> str:
        found = [text for start, text in self.answers.items() if command.startswith(start)]
        assert len(found) == 1, command
        return found[0]


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[[str], Profile]:
    """Return a function that loads a profile text, which must have no mistake."""

    def load(text: str) -> Profile:
        path = tmp_path / f"{tomllib.loads(text)['name']}.toml"
        path.write_text(text, encoding="utf-8")
        assert catalogue.problems(path, tmp_path) == ()
        return catalogue.load(str(path), tmp_path)

    return load


def test_this_machine_has_a_sound_profile(loaded: Callable[[str], Profile]) -> None:
    profile = loaded(probe.this_machine(DAY, name="here"))
    assert profile.name == "here"
    assert profile.cpu.isa == probe_parse.instruction_set(platform.machine())
    assert profile.ram.total is not None
    (line,) = (x for x in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in x)
    assert profile.ram.total.value == int(line.split()[1]) * 1024
    assert profile.ram.budget is not None
    assert profile.ram.total.value / 8 - 2**20 < profile.ram.budget.value
    assert profile.ram.total.source == f"measured: MemTotal of /proc/meminfo on {DAY}"
    assert profile.runtime.version == metadata.version("ai-edge-litert")
    cores = sum(core.count for core in profile.cpu.cores)
    assert cores == Path("/proc/cpuinfo").read_text().count("processor\t:")


def test_the_host_is_not_named_after_its_network_name() -> None:
    assert platform.node() not in probe.this_machine(DAY)


def test_a_machine_without_a_runtime_is_told_how_to_get_one() -> None:
    def none(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    with pytest.raises(EnvironmentMissing, match="pip install ai-edge-litert"):
        probe.this_machine(DAY, installed=none)


def test_a_machine_that_says_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 kinds of core"):
        probe.this_machine(DAY, root=tmp_path)


def test_a_board_is_named_by_its_device_tree(
    tmp_path: Path, loaded: Callable[[str], Profile]
) -> None:
    for name, text in (
        ("proc/cpuinfo", A53),
        ("proc/meminfo", "MemTotal: 999424 kB\n"),
        ("proc/device-tree/model", "Raspberry Pi 3 Model B Rev 1.2\0"),
        ("etc/os-release", 'ID=raspbian\nVERSION_ID="12"\n'),
        ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "1200000\n"),
        ("sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq", "1200000\n"),
    ):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    profile = loaded(probe.this_machine(DAY, root=tmp_path / "root"))
    assert (profile.name, profile.kind) == ("raspberry-pi-3-model-b-rev-1.2", "sbc")
    assert [(c.name, c.count, c.clock_mhz) for c in profile.cpu.cores] == [
        ("Cortex-A53", 2, 1200)
    ]
    assert profile.system is not None
    assert (profile.system.name, profile.system.version) == ("raspbian", "12")


def test_an_attached_phone_has_a_sound_profile(loaded: Callable[[str], Profile]) -> None:
    profile = loaded(probe.attached_phone(Phone(), DAY))
    assert (profile.name, profile.kind) == ("lenovo-lenovo-tb-8505f", "tablet")
    assert (profile.cpu.isa, profile.cpu.qemu_cpu) == ("arm64", "cortex-a53")
    assert profile.cpu.features == ("neon",)
    assert profile.ram.total is not None
    assert profile.ram.total.value == 1973384 * 1024
    assert profile.ram.budget is not None
    assert profile.ram.budget.value == 60 * 2**20
    assert profile.storage.total is not None
    assert profile.storage.total.value == 24372344 * 1024
    assert profile.storage.budget is not None
    assert profile.storage.budget.value == 10 * 10**6
    assert profile.page_bytes == 4096
    assert profile.system is not None
    assert profile.system.api_level == 29
    assert profile.soc is not None
    assert profile.soc.name == "mt6761"


@pytest.mark.parametrize(
    ("abi", "ram_kb", "budget"),
    [
        ("armeabi-v7a", 960_000, 10 * 10**6),
        ("arm64-v8a", 4 * 2**20, 10 * 10**6),
        ("arm64-v8a", 4 * 2**20 + 1, 50 * 10**6),
    ],
)
def test_a_phone_inherits_the_family_of_its_size(
    loaded: Callable[[str], Profile], abi: str, ram_kb: int, budget: int
) -> None:
    phone = Phone(
        {
            "getprop": GETPROP.replace("arm64-v8a", abi),
            "cat /proc/meminfo": f"MemTotal: {ram_kb} kB\n",
        }
    )
    profile = loaded(probe.attached_phone(phone, DAY))
    assert profile.storage.budget is not None
    assert profile.storage.budget.value == budget


def test_what_a_phone_does_not_say_is_absent(loaded: Callable[[str], Profile]) -> None:
    phone = Phone({"getconf PAGE_SIZE": "", "df -k /data": "df: no\n", "for c in": "0 \n1 \n"})
    profile = loaded(probe.attached_phone(phone, DAY))
    assert profile.storage.total is None
    assert [(c.count, c.clock_mhz) for c in profile.cpu.cores] == [(2, None)]


def test_old_kernels_state_the_core_once_for_all() -> None:
    (cluster,) = probe_parse.clusters(A7, {0: 1300.0, 1: 1300.0})
    assert cluster == probe_parse.CpuCluster("Cortex-A7", 2, 1300.0)
    assert probe_parse.features(A7) == ("neon",)


def test_clusters_are_told_apart_and_the_fastest_is_first() -> None:
    big = A53.replace("0xd03", "0xd0b").replace("processor\t: 0", "processor\t: 4")
    big = big.replace("processor\t: 1", "processor\t: 5").replace("asimd", "asimd asimddp")
    both = A53.replace("Hardware\t: MT8166B\n", "") + "\n" + big
    found = probe_parse.clusters(both, {0: 1800.0, 1: 1800.0, 4: 2200.0, 5: 2200.0})
    assert [(c.name, c.count) for c in found] == [("Cortex-A76", 2), ("Cortex-A53", 2)]
    assert probe_parse.features(both) == ("neon",), "only what every core has"
    assert probe_parse.qemu_cpu(found) == "cortex-a53"


def test_an_unknown_core_is_named_by_its_numbers() -> None:
    (cluster,) = probe_parse.clusters(A53.replace("0xd03", "0xfff"), {})
    assert cluster.name == "implementer 0x41 part 0xfff"


@pytest.mark.parametrize(
    ("text", "size"),
    [("MemTotal: 1 kB", 1024), ("MemTotal: x kB", None), ("", None), ("MemFree: 1 kB", None)],
)
def test_memory_is_read_or_absent(text: str, size: int | None) -> None:
    assert probe_parse.memory_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "²", "9" * 5000, "-1", "1.5", "4096x"])
def test_a_number_is_read_or_absent(text: str) -> None:
    assert probe_parse.number(text) is None


def test_text_of_a_device_cannot_become_toml(loaded: Callable[[str], Profile]) -> None:
    evil = 'X"\n[ram.budget]\nvalue = "9 GiB"\x1b[31m\u202e'
    profile = loaded(
        probe.attached_phone(
            Phone({"getprop": GETPROP.replace("Lenovo TB-8505F", evil.replace("\n", "\\n"))}),
            DAY,
        )
    )
    assert profile.ram.budget is not None
    assert profile.ram.budget.value == 60 * 2**20
    assert profile.title.isprintable()


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_written_as_one_string(text: str) -> None:
    written = document({"title": text}, {"a": [{"b": text, "n": 1}]})
    read = tomllib.loads(written)
    assert read.get("title", "") == one_line(text)
    assert read["a"][0]["n"] == 1


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200), st.sampled_from(sorted(ANSWERS)))
def test_a_lying_phone_is_refused_or_written_safely(one: str, two: str, command: str) -> None:
    phone = Phone({command: one + "\n" + two})
    try:
        text = probe.attached_phone(phone, DAY)
    except EdgepackError as error:
        assert str(error)
    else:
        assert tomllib.loads(text)["schema"] == 1
