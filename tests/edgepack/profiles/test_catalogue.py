"""The built-in devices, and how profiles are found and inherited."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import device_profiles
from edgepack.errors import InputError, UsageError
from edgepack.profiles import catalogue
from edgepack.profiles.profile import Profile

NAMES = catalogue.names(Path("/nowhere"))
#: What the catalogue was asked to hold, by the part of the name that says it.
ASKED = [
    "galaxy-tab-a-7-2016",
    "galaxy-tab-e",
    "galaxy-tab-a-8-2019",
    "lenovo-tab-m7",
    "lenovo-tab-m8",
    "fire-7-2017",
    "fire-7-2019",
    "fire-7-2022",
    "infinix-smart-7",
    "infinix-smart-8",
    "tecno-spark-go",
    "sc7731e",
    "pixel-1",
    "pixel-2",
    "pixel-3",
    "pixel-4",
    "pixel-5",
    "pixel-6",
    "galaxy-s7",
    "galaxy-s9",
    "galaxy-s23",
    "raspberry-pi-2",
    "raspberry-pi-3",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "raspberry-pi-zero-2-w",
    "nucleo-l4r5zi",
    "nucleo-u575zi-q",
    "nucleo-h7a3zi-q",
    "f746ng",
    "nucleo-g0b1re",
    "nrf5340",
    "ek-ra8d1",
    "nano-33-ble",
    "raspberry-pi-pico",
    "raspberry-pi-pico-2",
    "esp32",
    "esp32-s3",
    "esp32-c3",
    "alif-ensemble",
    "grove-vision-ai-v2",
    "corstone-300",
]
CHILD = """\
schema = 1
title = "Child"
kind = "phone"
extends = "pixel-3"
"""


@pytest.fixture(scope="module")
def built_in() -> dict[str, Profile]:
    return {name: catalogue.load(name, Path("/nowhere")) for name in NAMES}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "families").mkdir()
    return tmp_path


def sourceless(value: Any, path: str = "", sourced: bool = False) -> Iterator[str]:
    """Yield the path of every number that stands in no table with a source."""
    if isinstance(value, dict):
        for key, item in value.items():
            own = sourced or "source" in value or f"{key}_source" in value
            yield from sourceless(item, f"{path}.{key}", own)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from sourceless(item, f"{path}.{index}", sourced)
    elif isinstance(value, int | float) and not isinstance(value, bool) and not sourced:
        yield path


def sources(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (v for k, v in value.items() if k.endswith("source"))
        for item in value.values():
            yield from sources(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from sources(item)


def test_the_catalogue_holds_what_was_asked_for() -> None:
    missing = [part for part in ASKED if not any(part in name for name in NAMES)]
    assert not missing
    assert len(NAMES) >= 46


@pytest.mark.parametrize("name", NAMES)
def test_every_built_in_loads_and_each_number_has_a_source(name: str) -> None:
    profile = catalogue.load(name, Path("/nowhere"))
    plain = profile.model_dump(by_alias=True)
    assert plain.pop("schema") == 1
    assert list(sourceless(plain)) == []
    known = re.compile(r"https://|^policy: |^measured: |Product Specification|Vela")
    assert [source for source in sources(plain) if not known.search(source)] == []


def test_the_walk_over_numbers_can_fail() -> None:
    plain = {"ram": {"total": {"value": 5}}, "b": {"value": 1, "source": "x"}, "c": [2]}
    assert list(sourceless(plain)) == [".ram.total.value", ".c.0"]
    assert list(sourceless({"a": 0.9, "a_source": "x"})) == []


def test_every_budget_is_a_policy_and_says_its_rule(built_in: dict[str, Profile]) -> None:
    for profile in built_in.values():
        parts = (profile.ram.budget, profile.storage.budget, profile.storage.download_budget)
        for budget in filter(None, parts):
            assert budget.source.startswith("policy: "), profile.name


def test_ram_budgets_follow_their_rule(built_in: dict[str, Profile]) -> None:
    for profile in built_in.values():
        ram = profile.ram
        assert ram.total is not None
        assert ram.budget is not None
        block = (ram.contiguous or ram.total).value
        wanted = {"phone": block / 32, "tablet": block / 32, "sbc": block / 8}.get(
            profile.kind, block * 3 / 4
        )
        if "half of SRAM" in ram.budget.source:
            wanted = block / 2
        assert ram.budget.value == wanted, profile.name


def test_flash_budgets_follow_their_rule(built_in: dict[str, Profile]) -> None:
    for profile in built_in.values():
        storage = profile.storage
        if profile.kind in {"mcu", "npu"} and storage.total is not None:
            assert storage.budget is not None
            assert storage.budget.value == storage.total.value * 3 / 4, profile.name


def test_a_32_bit_android_is_judged_with_a_runtime_that_has_a_32_bit_wheel(
    built_in: dict[str, Profile],
) -> None:
    for profile in built_in.values():
        if profile.cpu.isa == "armv7":
            assert (profile.runtime.name, profile.runtime.version) == ("tflite", "2.14.0")


def test_a_neural_unit_is_expected_to_take_the_model_whole(
    built_in: dict[str, Profile],
) -> None:
    for profile in built_in.values():
        assert (profile.kind == "npu") == (profile.npu is not None)
        if profile.npu is not None:
            assert [(d.name, d.required) for d in profile.delegates] == [
                (profile.npu.accelerator, True)
            ]


def test_calibration_points_are_the_published_ones(
    built_in: dict[str, Profile], shared_data: Callable[[str], Path]
) -> None:
    with shared_data("mlperf_tiny_latency/handed_L4R5ZI_F746NG.csv").open() as rows:
        known = {
            (row["task"], f"{float(row['latency_ms']):.4g}", row["energy_uJ"] or None)
            for row in csv.DictReader(rows)
        }
    for name in ("nucleo-l4r5zi", "disco-f746ng"):
        for point in built_in[name].calibration:
            task, ms = point.model.removeprefix("mlperf_tiny/"), f"{point.ms:.4g}"
            energies = {energy for t, m, energy in known if (t, m) == (task, ms)}
            assert energies, f"{name}: {point.model} {point.ms} ms is published nowhere"
            if point.energy_uj is not None:
                near = [float(e) for e in energies if e]
                assert any(abs(e - point.energy_uj) <= 0.1 for e in near), point


@pytest.mark.parametrize("name", sorted(catalogue.families(Path("/nowhere"))))
def test_every_family_is_sound_and_is_no_device(name: str) -> None:
    path = device_profiles.folder() / "families" / f"{name}.toml"
    assert catalogue.problems(path) == ()
    assert name not in NAMES
    assert any(
        f'extends = "{name}"' in other.read_text()
        for other in device_profiles.folder().rglob("*.toml")
    ), "nobody extends it"


def test_an_unknown_name_says_the_nearest(folder: Path) -> None:
    with pytest.raises(UsageError, match="'pixel-3a'") as caught:
        catalogue.load("pixle-3a", folder)
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="'clinic-tablet-1gb-armv7'"):
        catalogue.load("clinic-tablet", folder)
    with pytest.raises(UsageError, match=rf"{len(catalogue.names(folder))} are known"):
        catalogue.load("", folder)


def test_a_users_profile_wins_and_may_extend_the_one_it_hides(folder: Path) -> None:
    (folder / "pixel-3.toml").write_text(
        CHILD + '[ram.budget]\nvalue = "7 MiB"\nsource = "policy: mine"\n'
    )
    mine, built_in = catalogue.load("pixel-3", folder), catalogue.load("pixel-3", folder / "no")
    assert mine.ram.budget is not None
    assert mine.ram.budget.value == 7 * 2**20
    assert mine.ram.total == built_in.ram.total
    assert mine.title == "Child"
    assert catalogue.names(folder) == NAMES


def test_the_users_folder_comes_from_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "mine.toml").write_text(CHILD)
    monkeypatch.setenv("EDGEPACK_PROFILES", str(folder))
    assert "mine" in catalogue.names()
    assert catalogue.load("mine").name == "mine"
    where = catalogue.user_folder_of
    assert where({"XDG_CONFIG_HOME": "/x"}) == Path("/x/edgepack/profiles")
    assert where({"HOME": "/h"}) == Path("/h/.config/edgepack/profiles")


def test_a_family_of_the_user_is_found_and_wins(folder: Path) -> None:
    (folder / "families" / "android.toml").write_text(
        '[accuracy.max_drop]\nvalue = 0.5\nsource = "policy: anything goes"\n'
    )
    assert catalogue.load("pixel-3", folder).accuracy.max_drop.value == 0.5
    assert "android" in catalogue.families(folder)
    assert "android" not in catalogue.names(folder)


def test_tables_merge_and_lists_are_replaced(folder: Path) -> None:
    (folder / "child.toml").write_text(
        CHILD + '[[delegates]]\nname = "nnapi"\nsource = "page"\n[cpu]\nfeatures = ["vfp"]\n'
    )
    child, parent = catalogue.load("child", folder), catalogue.load("pixel-3", folder)
    assert [d.name for d in child.delegates] == ["nnapi"]
    assert child.cpu.features == ("vfp",)
    assert child.cpu.cores == parent.cpu.cores
    assert child.calibration == parent.calibration


def test_a_value_never_stands_beside_its_parents_source(folder: Path) -> None:
    path = folder / "child.toml"
    path.write_text(CHILD + '[ram.total]\nvalue = "8 GiB"\n')
    (problem,) = catalogue.problems(path, folder)
    assert (problem.key, problem.line) == ("ram.total.source", 5)
    (folder / "families" / "f.toml").write_text(
        '[accuracy]\nconfidence = 0.9\nconfidence_source = "policy: theirs"\n'
    )
    (folder / "families" / "android.toml").write_text(
        'extends = "f"\n[accuracy]\nconfidence = 0.99\n'
        '[accuracy.max_drop]\nvalue = 0.5\nsource = "policy: any"\n'
    )
    with pytest.raises(
        InputError, match=r"android\.toml:2: accuracy: wanted confidence_source"
    ):
        catalogue.load("pixel-3", folder)


@pytest.mark.parametrize("length", [7, 8])
def test_a_chain_is_as_long_as_it_may_be(folder: Path, length: int) -> None:
    (folder / "families" / "f0.toml").write_text('extends = "pixel-3"\n')
    extra = length - 4  # pixel-3, android-arm64, android are three; the child is one more
    for n in range(1, extra):
        (folder / "families" / f"f{n}.toml").write_text(f'extends = "f{n - 1}"\n')
    (folder / "c.toml").write_text(CHILD.replace("pixel-3", f"f{extra - 1}"))
    assert catalogue.load("c", folder).kind == "phone"
    (folder / "d.toml").write_text(CHILD.replace("pixel-3", "c"))
    if length == 7:
        catalogue.load("d", folder)
    else:
        with pytest.raises(InputError, match="at most 8 files"):
            catalogue.load("d", folder)


def test_a_circle_is_refused_and_shown(folder: Path) -> None:
    (folder / "a.toml").write_text(CHILD.replace("pixel-3", "b"))
    (folder / "b.toml").write_text(CHILD.replace("pixel-3", "a"))
    (folder / "self.toml").write_text(CHILD.replace("pixel-3", "self"))
    with pytest.raises(InputError, match=r"b\.toml:4: extends: .*Received: a -> b -> a"):
        catalogue.load("a", folder)
    with pytest.raises(InputError, match="self -> self"):
        catalogue.load("self", folder)


def test_only_the_file_asked_for_and_its_parents_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = catalogue.read_profile_file
    monkeypatch.setattr(
        catalogue, "read_profile_file", lambda path: read.append(path.stem) or real(path)
    )
    catalogue.load("pixel-3", folder)
    assert read == ["pixel-3", "android-arm64", "android"]
    read.clear()
    catalogue.names(folder)
    assert read == []


def test_loading_one_profile_is_quick(folder: Path) -> None:
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        catalogue.load("pixel-3", folder)
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.05, "a profile is a few kB of TOML"


@pytest.mark.tools
def test_the_catalogue_needs_neither_tensorflow_nor_numpy() -> None:
    code = (
        "import sys; "
        "from edgepack.profiles import catalogue, probe; catalogue.load('pixel-3');"
        "print([m for m in ('tensorflow', 'numpy', 'docker', 'ai_edge_litert')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_devices_are_names_files_and_profiles_or_one_of_those(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(CHILD)
    loaded = catalogue.load("raspberry-pi-3")
    assert catalogue.load_all("raspberry-pi-3") == [loaded] == catalogue.load_all(loaded)
    several = catalogue.load_all(["raspberry-pi-3", mine, loaded, str(mine)])
    assert [profile.name for profile in several] == ["raspberry-pi-3", "mine"]
    with pytest.raises(UsageError, match=r"wanted one device or more\. Received: none"):
        catalogue.load_all([])


def test_a_wrong_file_names_the_command_that_lists_all_its_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "my board.toml"
    path.write_text("schema = 2\nknd = 1\n")
    with pytest.raises(InputError) as caught:
        catalogue.load(str(path))
    assert f"more: edgepack profiles check '{path}')" in str(caught.value)
