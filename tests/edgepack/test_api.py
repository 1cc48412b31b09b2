"""What a program may call: the names are pinned, cheap to import, and answer with values."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import edgepack
from edgepack.errors import InputError, UsageError
from edgepack.pipeline.prebuilt import BundleRequest
from edgepack.pipeline.request import BuildRequest
from tests.edgepack.tinymodels import Net

ROOT = Path(__file__).resolve().parents[2]

PUBLIC = {
    "BenchOptions": ("repeats", "warmup", "seconds", "full", "soak_minutes"),
    "BenchResult": ("findings", "figures"),
    "Bundle": ("manifest", "files"),
    "Finding": ("gate", "verdict", "says", "how", "value", "limit", "unit"),
    "Outcome": (),
    "Product": ("result", "verdict", "data"),
    "Profile": (),
    "Verdict": ("findings",),
    "bench": (),
    "build": (),
    "bundle_tflite": (),
    "check": (),
    "load_bundle": (),
    "load_profile": (),
    "validate": (),
}


def model() -> bytes:
    net = Net()
    x = net.tensor((1, 4), "int8", scale=0.5)
    y = net.tensor((1, 4), "int8", scale=0.5)
    net.op("RELU", [x], [y])
    return net.done([x], [y])


def test_the_public_names_are_these_and_no_more() -> None:
    assert set(edgepack.__all__) - {"__version__"} == set(PUBLIC)
    for name, fields in PUBLIC.items():
        value = getattr(edgepack, name)
        assert value.__doc__, f"{name} has no docstring"
        annotated = getattr(value, "__annotations__", {})
        assert set(fields) <= set(annotated), f"{name} lost {set(fields) - set(annotated)}"


def test_the_options_of_build_are_those_of_a_request() -> None:
    given = set(edgepack.build.__annotations__) - {"progress", "return"}
    assert given | {"out"} == set(BuildRequest.__dataclass_fields__)
    given = set(edgepack.bundle_tflite.__annotations__) - {"progress", "return"}
    assert given | {"out"} == set(BundleRequest.__dataclass_fields__)


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert edgepack.__version__ == project["version"]


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'compile'"):
        _ = edgepack.compile  # type: ignore[attr-defined]


@pytest.mark.tools
def test_importing_edgepack_imports_nothing_heavy() -> None:
    code = "import edgepack, sys; print({'numpy', 'pydantic', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "set()"


def test_check_takes_bytes_or_a_path_and_a_name_or_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "m.tflite"
    file.write_bytes(model())
    device = edgepack.load_profile("raspberry-pi-3")
    verdict = edgepack.check(model(), device)
    assert verdict == edgepack.check(file, "raspberry-pi-3")
    assert {"storage", "operators"} <= {finding.gate for finding in verdict.findings}


def test_what_cannot_be_answered_is_an_exception(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean"):
        edgepack.load_profile("raspberry-pi-33")
    with pytest.raises(InputError, match=r"not a \.tflite"):
        edgepack.check(b"no model at all", "raspberry-pi-3")
    wrong = tmp_path / "m.edgepack"
    wrong.write_bytes(model())
    with pytest.raises(InputError, match="edgepack check"):
        edgepack.load_bundle(wrong)


def test_data_and_recipe_may_be_paths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.npz: cannot read data"):
        edgepack.build("m.keras", tmp_path / "absent.npz", ["esp32"])
    recipe = tmp_path / "mine.toml"
    recipe.write_text("schema = 7")
    with pytest.raises(InputError, match=r"mine\.toml:1: .*wanted schema = 1"):
        edgepack.build("m.keras", tmp_path / "absent.npz", ["esp32"], recipe=recipe)
