"""Suggestions: no refused device among them, the tightest gate and the tightest fit first."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepack.gates.finding import Finding, How, Outcome, Verdict
from edgepack.gates.limits import at_most
from edgepack.gates.static import suggest
from edgepack.profiles import catalogue
from edgepack.profiles.profile import Profile

NOWHERE = Path("/nowhere")
PROFILES = [catalogue.load(name, NOWHERE) for name in catalogue.names(NOWHERE)]


def judge(size: int, profile: Profile) -> Verdict:
    """Compare one size with the RAM and the storage a profile grants."""
    ram, file = profile.ram.budget, profile.storage.budget
    return Verdict(
        (
            at_most("ram", size, ram and ram.value, "B", how=How.PLANNED, what="peak"),
            at_most("storage", size, file and file.value, "B", how=How.PLANNED, what="file"),
            Finding(gate="operators", verdict=Outcome.PASS, says="all present"),
        )
    )


@pytest.mark.parametrize("size", [1, 108 * 1024, 108 * 1024 + 1, 10 * 10**6, 10**9])
def test_exactly_the_devices_that_no_gate_refuses_are_suggested(size: int) -> None:
    wanted = {
        profile.name
        for profile in PROFILES
        if (profile.ram.budget is None or size <= profile.ram.budget.value)
        and (profile.storage.budget is None or size <= profile.storage.budget.value)
    }
    assert {one.profile.name for one in suggest(size, PROFILES, judge)} == wanted


def test_the_tightest_fit_comes_first_and_each_names_its_tightest_gate() -> None:
    found = suggest(100 * 1024, PROFILES, judge)
    assert found[0].profile.name == "nucleo-g0b1re"
    assert found[0].tightest is not None
    assert found[0].tightest.gate == "ram"
    assert found[0].share == pytest.approx(100 / 108)
    shares = [one.share for one in found]
    assert shares == sorted(shares, reverse=True)
    for one in found:
        own = [share for share, _ in one.tightness]
        assert own == sorted(own, reverse=True)


def test_an_open_gate_is_told_and_is_no_pass() -> None:
    esp32 = next(one for one in suggest(1024, PROFILES, judge) if one.profile.name == "esp32")
    assert esp32.open_gates == ("storage",)
    assert esp32.verdict.outcome is Outcome.INCONCLUSIVE
    assert esp32.as_json()["verdict"] == "inconclusive"
    assert "inconclusive: storage" in esp32.says


def test_equal_fits_are_in_name_order() -> None:
    same = [p for p in PROFILES if p.name in {"pixel-5", "pixel-6", "galaxy-s23"}]
    found = suggest(1024, reversed(same), judge)
    assert [one.profile.name for one in found] == ["galaxy-s23", "pixel-5", "pixel-6"]


def test_a_judge_without_numbers_still_suggests() -> None:
    def yes(facts: None, profile: Profile) -> Verdict:
        return Verdict((Finding(gate="operators", verdict=Outcome.PASS, says="fine"),))

    found = suggest(None, PROFILES[:1], yes)
    assert (found[0].tightest, found[0].share) == (None, 0.0)
    assert found[0].as_json()["tightest"] is None


def test_no_device_at_all_is_an_empty_answer() -> None:
    assert suggest(1, [], judge) == ()
