"""What ``edgepack profiles check`` says: every mistake, its line, what was meant; no crash."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import device_profiles
from edgepack.errors import InputError
from edgepack.profiles import catalogue
from edgepack.profiles.validation import MOST_EXPLAINED, quantity_meant
from edgepack.toml_file import LARGEST_FILE_BYTES

WRONG = """\
schema = 1
name = "other"
title = "Wrong everywhere"
extends = "android-go-armv7"
kind = "tablt"

[cpu]
qemu_cpu = "cortex a7"
faetures = ["neon"]

[[cpu.cores]]
name = "Cortex-A7"
count = "four"
source = "page"

[[cpu.cores]]
nam = "Cortex-A7"
count = 2
source = "page"

[ram]
total = { value = 512, source = "page" }
budget = { value = "64 KB" }
page = "4 KiB"

[storage]
total = { valeu = "64 mib", source = "page" }
budget = { value = "64 XB", source = "page" }

[system]
name = "android"
version = 8.1
source = "page"

[[runtimes]]
name = "tflm-lite"
version = "2.14.0"
source = "page"

[[delegates]]
name = "xnnpak"
required = "yes"
source = "page"
"""
#: line, key, part of what was wanted, part of what was got, what was meant
EXPECTED = [
    (2, "name", "'wrong'", "'other'", "'wrong'"),
    (5, "kind", "tablet", "'tablt'", "tablet"),
    (8, "cpu.qemu_cpu", "one word", "'cortex a7'", None),
    (9, "cpu.faetures", "features", "unknown key 'faetures'", "features"),
    (13, "cpu.cores.0.count", "a whole number", "'four'", None),
    (17, "cpu.cores.1.nam", "name", "unknown key 'nam'", "name"),
    (22, "ram.total.value", "KiB", "'512'", "'512 KiB' (1024) or '512 kB' (1000)"),
    (23, "ram.budget.source", "'source'", "none", None),
    (
        23,
        "ram.budget.value",
        "KiB",
        "'64 KB'",
        "'64 kB' (powers of 1000) or '64 KiB' (of 1024)",
    ),
    (24, "ram.page", "value and source", "'4 KiB'", '{ value = "4 KiB", source = "…" }'),
    (27, "storage.total.valeu", "value", "unknown key 'valeu'", "value"),
    (27, "storage.total.valeu", "MiB", "'64 mib'", "'64 MiB'"),
    (28, "storage.budget.value", "MB", "'64 XB'", None),
    (32, "system.version", "text", "8.1", '"8.1"'),
    (36, "runtimes.0.name", "tflm", "'tflm-lite'", "tflite"),
    (41, "delegates.0.name", "xnnpack", "'xnnpak'", "xnnpack"),
    (42, "delegates.0.required", "true or false", "'yes'", None),
]


def test_every_mistake_is_explained_at_once_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(WRONG)
    found = {(p.line, p.key, p.got): p for p in catalogue.problems(path)}
    for line, key, wanted, got, meant in EXPECTED:
        near = [p for (at, k, g), p in found.items() if (at, k) == (line, key) and got in g]
        assert len(near) == 1, f"line {line}: {key}"
        assert wanted in near[0].wanted
        assert near[0].nearest == meant
    assert len(found) == len(EXPECTED)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("64", "'64 KiB' (1024) or '64 kB' (1000)"),
        ("64 KB", "'64 kB' (powers of 1000) or '64 KiB' (of 1024)"),
        ("64m", "'64 MB' (powers of 1000) or '64 MiB' (of 1024)"),
        ("1.5 gbytes", "'1.5 GB' (powers of 1000) or '1.5 GiB' (of 1024)"),
        ("64 kib", "'64 KiB'"),
        ("64 bytes", "'64 B'"),
        ("64 KiB", None),
        ("64 XB", None),
        ("much", None),
    ],
)
def test_a_unit_is_offered_never_guessed(written: str, meant: str | None) -> None:
    assert quantity_meant(written) == meant


def test_the_mistakes_are_in_the_order_of_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(WRONG)
    at = [problem.line or 0 for problem in catalogue.problems(path)]
    assert at == sorted(at)


def test_loading_a_wrong_file_says_the_first_and_how_many_more(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(WRONG)
    with pytest.raises(InputError, match=r"wrong\.toml:2: name: .*\(and 16 more: ") as caught:
        catalogue.load(str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_mistake_of_a_parent_names_the_parents_file(tmp_path: Path) -> None:
    (tmp_path / "families").mkdir()
    (tmp_path / "families" / "android.toml").write_text("\n[accuracy.max_drop]\nvalue = 0.5\n")
    (problem,) = catalogue.problems(device_profiles.folder() / "pixel-3.toml", tmp_path)
    assert problem.file == str(tmp_path / "families" / "android.toml")
    assert (problem.line, problem.key) == (2, "accuracy.max_drop.source")


def test_a_family_may_be_incomplete_but_not_wrong(tmp_path: Path) -> None:
    family = tmp_path / "families" / "mine.toml"
    family.parent.mkdir()
    family.write_text('[latency.p90_ms]\nvalue = 5\nsource = "policy: fast"\n')
    assert catalogue.problems(family) == ()
    family.write_text("[latency.p90_ms]\nvalue = 5\n")
    assert [p.key for p in catalogue.problems(family)] == ["latency.p90_ms.source"]


def test_a_bad_parent_does_not_hide_the_files_own_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text('extends = "androit-arm64"\nkind = "fone"\n')
    extends, kind = catalogue.problems(path)
    assert (extends.line, extends.key, extends.nearest) == (1, "extends", "android-arm64")
    assert (kind.line, kind.nearest) == (2, "phone")


@pytest.mark.parametrize(
    "parent", ['"../../etc/passwd"', '"/etc/passwd"', '"a/b"', '"A"', '""', "1", "[]", '".."']
)
def test_extends_is_a_name_and_never_a_path(tmp_path: Path, parent: str) -> None:
    path = tmp_path / "one.toml"
    path.write_text(f"extends = {parent}\n")
    problem = catalogue.problems(path)[0]
    assert (problem.line, problem.key) == (1, "extends")
    assert "bare name" in problem.wanted


def test_a_broken_toml_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text('schema = 1\ntitle = "x\nkind = "phone"\n')
    (problem,) = catalogue.problems(path)
    assert (problem.line, problem.wanted) == (2, "TOML")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"\x00" * 100, "TOML"),
        (b"title = '\xff\xfe'", "UTF-8"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested"),
        (b"a" + b".a" * 5000 + b" = 1", "nested"),
        (b"[" + b".".join([b"a"] * 20) + b"]", "nested"),
        (b"a = " + b"9" * 5000, "TOML"),
        (b"#" * (LARGEST_FILE_BYTES + 1), "at most"),
        (b"\x7fELF\x02\x01", "TOML"),
    ],
)
def test_hostile_bytes_are_one_problem(tmp_path: Path, content: bytes, wanted: str) -> None:
    path = tmp_path / "one.toml"
    path.write_bytes(content)
    (problem,) = catalogue.problems(path)
    assert wanted in problem.wanted


def test_the_largest_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pixel.toml"
    text = b'schema=1\ntitle="t"\nkind="phone"\nextends="pixel-3"\n'
    path.write_bytes(text + b"#" * (LARGEST_FILE_BYTES - len(text)))
    assert catalogue.problems(path) == ()


def test_a_byte_order_mark_and_crlf_are_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_bytes(
        b'\xef\xbb\xbfschema=1\r\ntitle="t"\r\nkind="fone"\r\nextends="pixel-3"\r\n'
    )
    (problem,) = catalogue.problems(path)
    assert (problem.line, problem.nearest) == (3, "phone")


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    link, fifo = tmp_path / "link.toml", tmp_path / "fifo.toml"
    link.symlink_to("/etc/passwd")
    os.mkfifo(fifo)
    for path, got in (
        (link, "symbolic link"),
        (fifo, "no regular file"),
        (tmp_path, "no regular file"),
        (Path("/dev/zero"), "no regular file"),
        (tmp_path / "absent.toml", "No such file"),
        (Path("nul\0l.toml"), "null"),
    ):
        (problem,) = catalogue.problems(path)
        assert got in problem.got


def test_a_link_in_the_users_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("password = 1")
    (tmp_path / "mine.toml").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="symbolic link") as caught:
        catalogue.load("mine", tmp_path)
    assert "password" not in str(caught.value)


def test_text_of_the_file_cannot_command_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text('"a\\u001b[31m" = 1\nkind = "\\u001b[31m"\nextends = "pixel-3"\n')
    found = catalogue.problems(path)
    assert [problem.line for problem in found] == [1, 2]
    assert all(problem.says.isprintable() for problem in found)


def test_very_many_mistakes_are_counted_not_all_explained(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text('extends = "pixel-3"\n' + "".join(f"k{n} = 1\n" for n in range(20_000)))
    start = time.perf_counter()
    found = catalogue.problems(path)
    assert time.perf_counter() - start < 5
    assert len(found) == MOST_EXPLAINED + 1
    assert any("20000 mistakes" in problem.got for problem in found)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_no_bytes_crash_the_check(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "one.toml"
    path.write_bytes(content)
    for problem in catalogue.problems(path):
        assert problem.says


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(
        ["ram", "cpu", "runtimes", "kind", "accuracy", "calibration", "notes", "npu"]
    ),
    st.sampled_from(
        ["1", "[]", "[1]", "{}", '"x"', "true", "[[1]]", "{ value = 1 }", "1979-05-27"]
    ),
)
def test_a_table_of_the_wrong_shape_is_explained(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "one.toml"
    path.write_text(f'schema = 1\ntitle = "t"\nextends = "pixel-3"\n{key} = {value}\n')
    for problem in catalogue.problems(path):
        assert problem.line == 4
        assert problem.key.startswith(key)
