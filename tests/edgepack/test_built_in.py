"""Everything that is shipped as data loads: each device profile, family and recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

import device_profiles
from edgepack.pipeline import recipe
from edgepack.profiles import catalogue

PROFILES = sorted(device_profiles.folder().glob("*.toml"))
FAMILIES = sorted(device_profiles.folder().glob("families/*.toml"))
RECIPES = sorted(Path(recipe.__file__).parent.glob("recipes/*.toml"))


@pytest.mark.parametrize(
    "path", [*PROFILES, *FAMILIES, *RECIPES], ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_built_in_file_loads(path: Path, tmp_path: Path) -> None:
    nobody = tmp_path / "no-profiles-of-the-user"
    if path in RECIPES:
        loaded = recipe.load(path.stem)
        assert (loaded.name, loaded) == (path.stem, recipe.load(str(path)))
        return
    assert catalogue.problems(path, nobody) == ()
    if path in PROFILES:
        assert catalogue.load(path.stem, nobody) == catalogue.load(str(path), nobody)


def test_what_is_listed_is_what_is_there(tmp_path: Path) -> None:
    assert catalogue.names(tmp_path) == tuple(sorted(path.stem for path in PROFILES))
    assert catalogue.families(tmp_path) == tuple(sorted(path.stem for path in FAMILIES))
    assert recipe.names() == tuple(sorted(path.stem for path in RECIPES))
