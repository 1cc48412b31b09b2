"""What a build is taught with is refused on the command line where it can mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepack.pipeline.request import BuildRequest
from tests.edgepack.commands import one_line, run

Capture = pytest.CaptureFixture[str]
BUILD = ("build", "m.h5", "--data", "d.npz", "-p", "pixel-3")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("given", "near"), [("miror", "mirror"), ("shift ", "shift")])
def test_an_unknown_view_names_the_nearest(capsys: Capture, given: str, near: str) -> None:
    says = one_line(run(capsys, *BUILD, "--augment", "rotate90", "--augment", given), 2)
    assert "wanted hflip, vflip, rotate90, translate" in says
    assert f"{given!r}, did you mean {near!r}?" in says


@pytest.mark.parametrize("words", [("--augment", "hflip"), ("--teacher", "t.h5")])
def test_a_recipe_that_trains_nothing_takes_neither(
    capsys: Capture, words: tuple[str, str]
) -> None:
    says = one_line(run(capsys, *BUILD, "--recipe", "int8", *words), 2)
    assert f"{words[0]}: recipe int8 trains nothing" in says


def test_the_bundles_may_not_replace_the_teacher(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    says = one_line(run(capsys, *BUILD, "--teacher", "t", "--out", "t"), 2)
    assert "--out t: this is read as an input" in says


def test_both_reach_the_request_and_a_view_counts_once(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(Exception):  # noqa: N818 - no fault: it ends the command here
        pass

    seen: list[BuildRequest] = []

    def resolve(request: BuildRequest) -> None:
        seen.append(request)
        raise Asked

    monkeypatch.setattr("edgepack.pipeline.request.resolve", resolve)
    words = ("--augment", "shift", "--augment", "hflip", "--augment", "translate")
    run(capsys, *BUILD, *words, "--teacher", "big.keras")
    assert seen[0].augment == ("translate", "hflip")
    assert seen[0].teacher == Path("big.keras")
