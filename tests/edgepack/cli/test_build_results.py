"""What a build writes: no failed bundle, with --strict no open one, and nothing in silence."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgepack.cli.build_results import write
from edgepack.gates.finding import Finding, Outcome, Verdict
from edgepack.pipeline.pack import Product, place
from tests.edgepack.commands import one_line, run


def product(outcome: Outcome) -> Product:
    """Return a product for pixel-3 of a model called m, with one gate of that outcome."""
    result: Any = SimpleNamespace(
        options=SimpleNamespace(name="m"), profile=SimpleNamespace(name="pixel-3")
    )
    return Product(
        result=result,
        verdict=Verdict((Finding(gate="g", verdict=outcome, says=""),)),
        data=None if outcome is Outcome.FAIL else b"new",
    )


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize(
    ("outcome", "strict", "written"),
    [
        (Outcome.PASS, False, True),
        (Outcome.PASS, True, True),
        (Outcome.INCONCLUSIVE, False, True),
        (Outcome.INCONCLUSIVE, True, False),
        (Outcome.FAIL, False, False),
        (Outcome.FAIL, True, False),
    ],
)
def test_what_may_be_shipped_is_written_and_an_older_bundle_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    outcome: Outcome,
    strict: bool,
    written: bool,
    earlier: bool,
) -> None:
    path = place(tmp_path, "m", "pixel-3")
    if earlier:
        path.write_bytes(b"old")
    paths = write([product(outcome)], tmp_path, strict=strict)
    assert paths == ({"pixel-3": path} if written else {})
    assert path.exists() is (written or earlier)
    if path.exists():
        assert path.read_bytes() == (b"new" if written else b"old")
    told = capsys.readouterr().err
    assert ("of an earlier build" in told) is (earlier and not written)


def test_a_folder_in_a_bundles_place_shows_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place(tmp_path, "m", "pixel-3").mkdir()
    words = ("build", "m.h5", "-d", "d.npz", "-p", "pixel-3", "-o", tmp_path)
    assert "a folder lies where" in one_line(run(capsys, *words), 1)
