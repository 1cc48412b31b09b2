"""Laws of what a bench may be asked."""

import pytest

from edgepack.emulation.bench import BenchOptions
from edgepack.errors import UsageError


@pytest.mark.parametrize(
    "wrong",
    [
        {"soak_minutes": float("nan")},
        {"soak_minutes": float("inf")},
        {"soak_minutes": -1.0},
        {"soak_minutes": 24 * 60 + 0.1},
        {"seconds": float("nan")},
        {"timeout_s": float("inf")},
    ],
)
def test_a_time_that_never_ends_is_refused_before_anything_starts(
    wrong: dict[str, float],
) -> None:
    with pytest.raises(UsageError, match="wanted 0 to"):
        BenchOptions(**wrong)  # type: ignore[arg-type]


def test_a_soak_may_last_a_day() -> None:
    assert BenchOptions(soak_minutes=24 * 60).soak_minutes == 1440
