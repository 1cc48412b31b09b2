"""A file given to the wrong command names the right one; no output destroys an input."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.edgepack.commands import one_line, run, tiny_tflite, write_bundle


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "m.tflite").write_bytes(tiny_tflite())
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"x")
    write_bundle(tmp_path / "m.edgepack")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (("check", "m.h5", "-p", "pixel-3"), "edgepack build"),
        (("check", "saved", "-p", "pixel-3"), "edgepack build"),
        (("check", "m.edgepack", "-p", "pixel-3"), "edgepack validate"),
        (("profiles", "suggest", "m.edgepack"), "edgepack validate"),
        (("validate", "m.tflite"), "edgepack check"),
        (("bench", "m.h5"), "edgepack build"),
        (("report", "m.tflite"), "edgepack check"),
    ],
)
def test_a_file_for_another_command_names_it(
    capsys: pytest.CaptureFixture[str],
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    right: str,
) -> None:
    monkeypatch.chdir(files)
    assert right in one_line(run(capsys, *words), 1)


@pytest.mark.parametrize("name", ["m.edgepack", "link.html", "twin.html", "other.edgepack"])
def test_a_report_never_overwrites_a_bundle(
    capsys: pytest.CaptureFixture[str], files: Path, name: str
) -> None:
    bundle, out = files / "m.edgepack", files / name
    (files / "link.html").symlink_to(bundle)
    os.link(bundle, files / "twin.html")
    before = bundle.read_bytes()
    assert "--out" in one_line(run(capsys, "report", bundle, "-o", out), 2)
    assert bundle.read_bytes() == before


def test_a_report_names_the_folders_below_that_hold_bundles(
    capsys: pytest.CaptureFixture[str], files: Path, tmp_path: Path
) -> None:
    above = tmp_path / "above"
    (above / "demo").mkdir(parents=True)
    (above / "demo" / "m.edgepack").write_bytes((files / "m.edgepack").read_bytes())
    out = tmp_path / "page.html"
    says = one_line(run(capsys, "report", above, "-o", out), 1)
    assert f"its folders do: {above / 'demo'}" in says


def test_a_bundle_named_twice_is_shown_once(
    capsys: pytest.CaptureFixture[str], files: Path
) -> None:
    ended = run(capsys, "report", files / "m.edgepack", files, "-o", files / "page.html")
    assert (ended.code, ended.out) == (0, f"{files / 'page.html'}: 1 bundle\n")


@pytest.mark.parametrize("words", [("run",), ("pull", "--offline")])
def test_calibration_points_never_overwrite_what_is_read(
    capsys: pytest.CaptureFixture[str], files: Path, words: tuple[str, ...]
) -> None:
    apk = files / "m.h5"
    for out in (files / "m.edgepack", apk):
        before = out.read_bytes()
        given = (*words, files / "m.edgepack", "--apk", apk, "--calibration", out)
        assert "--calibration" in one_line(run(capsys, "android", *given), 2)
        assert out.read_bytes() == before


def test_a_build_never_writes_into_its_model(
    capsys: pytest.CaptureFixture[str], files: Path
) -> None:
    for out in (files / "saved", files / "saved" / "out"):
        words = ("build", files / "saved", "-d", "d.npz", "-p", "pixel-3", "-o", out)
        assert "--out" in one_line(run(capsys, *words), 2)
    assert [path.name for path in (files / "saved").iterdir()] == ["saved_model.pb"]


def test_check_has_one_shape_and_judges_a_device_once(
    capsys: pytest.CaptureFixture[str], files: Path
) -> None:
    model = files / "m.tflite"
    one = json.loads(run(capsys, "check", model, "-p", "pixel-3", "--json").out)
    twice = ("-p", "pixel-3", "-p", "pixel-3")
    assert json.loads(run(capsys, "check", model, *twice, "--json").out) == one
    two = json.loads(run(capsys, "check", model, *twice, "-p", "esp32-s3", "--json").out)
    assert one.keys() == two.keys() >= {"schema", "verdict", "findings"}
    assert set(two["verdicts"]) == {"pixel-3", "esp32-s3"}
    assert [f for f in two["findings"] if f["profile"] == "pixel-3"] == one["findings"]


def test_two_profiles_of_one_name_are_refused(
    capsys: pytest.CaptureFixture[str], files: Path
) -> None:
    mine = files / "pixel-3.toml"
    mine.write_text('schema = 1\nextends = "pixel-3"\ntitle = "Mine"\n')
    words = ("check", files / "m.tflite", "-p", "pixel-3", "-p", mine)
    assert "is named pixel-3 too" in one_line(run(capsys, *words), 2)
