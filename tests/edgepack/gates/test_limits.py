"""A number or a range against a limit: one comparison, with its boundaries."""

from __future__ import annotations

import math

import pytest

from edgepack.gates.finding import How, Outcome
from edgepack.gates.limits import (
    Limit,
    at_most,
    download_limit,
    latency_limit,
    outcome_at_least,
    outcome_at_most,
    ram_limit,
    range_at_most,
    storage_limit,
)
from edgepack.profiles import catalogue
from edgepack.profiles.hardware import Ram, SourcedBytes, Storage
from edgepack.profiles.profile import Latency, Profile

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (99, 99, PASS),
        (100, 100, PASS),  # inclusive
        (101, 101, FAIL),
        (0, 100, PASS),
        (0, 101, INCONCLUSIVE),
        (100, 101, INCONCLUSIVE),  # its low end is still allowed
        (101, 102, FAIL),
        (100, math.inf, INCONCLUSIVE),
        (101, math.inf, FAIL),
        (math.nan, math.nan, INCONCLUSIVE),  # never a pass
        (0, math.nan, INCONCLUSIVE),
    ],
)
def test_a_range_is_within_beyond_or_across_its_limit(
    low: float, high: float, outcome: Outcome
) -> None:
    assert outcome_at_most(low, high, 100) is outcome
    found = range_at_most("g", low, high, 100, "B", how=How.PLANNED, says="it takes")
    assert found.verdict is outcome
    assert (found.limit, found.unit, found.how) == (100, "B", How.PLANNED)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.5, 1, PASS), (0.49, 1, INCONCLUSIVE), (0.1, 0.5, INCONCLUSIVE), (0.1, 0.49, FAIL)],
)
def test_a_floor_is_the_same_upside_down(low: float, high: float, outcome: Outcome) -> None:
    assert outcome_at_least(low, high, 0.5) is outcome


@pytest.mark.parametrize(
    ("value", "outcome", "says"),
    [
        (1_023, PASS, "file 1,023 B of 1,024 B"),
        (1_024, PASS, "file 1,024 B of 1,024 B"),
        (1_025, FAIL, "file 1,025 B of 1,024 B: over by 1 B; shrink it"),
    ],
)
def test_one_number_is_a_range_of_no_width(value: int, outcome: Outcome, says: str) -> None:
    found = at_most(
        "storage", value, 1_024, "B", how=How.PLANNED, what="file", remedy="shrink it"
    )
    assert (found.verdict, found.says, found.value) == (outcome, says, value)


def test_what_lies_across_says_what_decides_and_a_failure_how_to_get_below() -> None:
    given = {"how": How.ESTIMATED, "remedy": "prune it", "decide": "measure it"}
    across = range_at_most("latency", 20.5, 30.0, 25.0, "ms", says="20.5 to 30 ms", **given)
    assert across.says == "20.5 to 30 ms of 25 ms, which lies within: measure it"
    over = range_at_most("latency", 26.0, 30.0, 25.0, "ms", says="26 to 30 ms", **given)
    assert over.says == "26 to 30 ms of 25 ms: over by 1 ms; prune it"
    assert (across.value, over.value) == (30.0, 30.0)


def test_the_value_kept_may_lie_within_the_range() -> None:
    found = range_at_most(
        "accuracy_drop", -0.01, 0.03, 0.02, "share", how=How.EMULATED, says="drop", value=0.01
    )
    assert (found.value, found.limit) == (0.01, 0.02)
    assert "of 0.0200, which lies within" in found.says


def test_without_a_limit_the_key_that_would_set_it_is_named() -> None:
    found = at_most("g", 5, None, "ms", how=How.PLANNED, what="it", key="latency.p90_ms")
    assert found.verdict is INCONCLUSIVE
    assert found.limit is None
    assert found.says.endswith("names no limit: set [latency.p90_ms] in a profile of your own")


@pytest.mark.parametrize(("value", "outcome"), [(199, None), (200, None), (201, FAIL)])
def test_below_what_there_is_at_all_nothing_is_decided(
    value: int, outcome: Outcome | None
) -> None:
    limit = Limit(value=None, key="ram.budget", ceiling=200, ceiling_key="ram.total")
    found = at_most("arena", value, limit, "B", how=How.PLANNED, what="arena")
    assert found.verdict is (outcome or INCONCLUSIVE)
    assert ("ram.total" if outcome else "[ram.budget]") in found.says


def sourced(value: int) -> SourcedBytes:
    return SourcedBytes(value=value, source="policy: test")


def device(name: str, **changes: object) -> Profile:
    return catalogue.load(name).model_copy(update=changes)


def test_a_budget_is_the_limit_of_ram_and_the_largest_block_the_ceiling_of_an_arena() -> None:
    ram = Ram(total=sourced(400), contiguous=sourced(300), budget=sourced(200))
    micro = ram_limit(device("nucleo-l4r5zi", ram=ram))
    assert (micro.value, micro.key) == (200, "ram.budget")
    assert (micro.ceiling, micro.ceiling_key) == (300, "ram.contiguous")
    tablet = ram_limit(device("clinic-tablet-1gb-armv7", ram=ram))
    assert (tablet.ceiling, tablet.ceiling_key) == (400, "ram.total")


def test_limits_that_a_profile_leaves_out_still_have_their_key() -> None:
    bare = device("nucleo-l4r5zi", ram=Ram(), storage=Storage(), latency=Latency())
    limits = [f(bare) for f in (ram_limit, storage_limit, download_limit, latency_limit)]
    assert [limit.value for limit in limits] == [None] * 4
    assert [limit.ceiling for limit in limits] == [None] * 4
    assert [limit.key for limit in limits] == [
        "ram.budget", "storage.budget", "storage.download_budget", "latency.p90_ms",
    ]  # fmt: skip
