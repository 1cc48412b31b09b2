"""A measured report makes the estimates of its device better, and only of its device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import device_profiles
from edgepack.cost import latency
from edgepack.cost.work import typical
from edgepack.device.calibration_export import as_toml, calibration_point, proven_instructions
from edgepack.errors import InputError
from edgepack.gates import device
from edgepack.gates.finding import Finding, How, Outcome, Verdict
from edgepack.profiles import catalogue
from edgepack.profiles.profile import Profile

COUNT = 40_000_000


def point_of(agreed: Any, **more: Any) -> str:
    report = agreed.report()
    found = device.judge(report, agreed.profile, agreed.expected)
    return as_toml(calibration_point(report, found, **more))


@pytest.fixture
def grown(agreed: Any, tmp_path: Path) -> Path:
    """Return the profile's own file with the measured point appended to it."""
    (folder,) = device_profiles.__path__
    text = (Path(folder) / f"{agreed.profile.name}.toml").read_text("utf-8")
    path = tmp_path / f"{agreed.profile.name}.toml"
    path.write_text(text + point_of(agreed, instructions=COUNT))
    return path


def test_an_appended_point_loads_and_leads_the_estimate(agreed: Any, grown: Path) -> None:
    assert catalogue.problems(grown) == ()
    profile = catalogue.load(str(grown))
    assert len(profile.calibration) == len(agreed.profile.calibration) + 1
    middle = agreed.report().run.summary.p50_ms
    found, before = estimated(profile, COUNT, "int8"), estimated(agreed.profile, COUNT, "int8")
    assert found.level == "runtime"
    assert "1 figure of clinic-tablet" in found.grounds
    assert found.low_ms < middle < found.high_ms
    assert before.level not in ("runtime", "device")
    assert found.high_ms / found.low_ms < before.high_ms / before.low_ms


def test_a_point_without_a_count_and_of_another_precision_estimates_nothing(
    agreed: Any, grown: Path
) -> None:
    profile = catalogue.load(str(grown))
    assert estimated(profile, COUNT, "float32").level not in ("runtime", "device")
    bare = profile.calibration[-1].model_copy(update={"instructions": None})
    profile = profile.model_copy(update={"calibration": (bare,)})
    found = estimated(profile, COUNT, "int8")
    assert found.level not in ("runtime", "device")
    assert "give the point its instructions" in found.grounds


def estimated(profile: Profile, total: int, precision: str) -> latency.Estimate:
    """Return the estimate of a model with builtin kernels of which only the total is known."""
    work = typical(total, "int8", "armv7-a", "builtin")
    assert work is not None
    found = latency.estimate(profile, work, precision, kernels="builtin")
    assert found is not None
    return found


@pytest.mark.parametrize("delegate", ["gpu", "nnapi"])
def test_no_accelerator_calibrates_the_cpu(agreed: Any, delegate: str) -> None:
    report = agreed.report(run__delegate=delegate)
    expected = replace(agreed.expected, identity=None, backend_sha256=None)
    found = device.judge(report, agreed.profile, expected)
    with pytest.raises(InputError, match="take a run on the CPU"):
        as_toml(calibration_point(report, found))


@pytest.mark.parametrize(
    ("value", "verdict", "wanted"),
    [
        (COUNT, Outcome.PASS, COUNT),
        (float(COUNT), Outcome.PASS, COUNT),
        (COUNT, Outcome.INCONCLUSIVE, None),
        (None, Outcome.PASS, None),
        ("timeout", Outcome.PASS, None),
    ],
)
def test_only_a_proven_count_is_taken(value: Any, verdict: Outcome, wanted: int | None) -> None:
    count = Finding(
        gate="instructions", verdict=verdict, value=value, how=How.EMULATED, says="x"
    )
    assert proven_instructions(Verdict((count,))) == wanted
    assert proven_instructions(Verdict(())) is None
