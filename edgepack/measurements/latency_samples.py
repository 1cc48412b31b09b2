"""What the raw times of a run say, by one definition on the device and here; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

#: Raw times that a report keeps; of more it keeps every 2nd, 4th … one.
KEPT = 16384

Mode = Literal["quick", "full"]


@dataclass(frozen=True, slots=True)
class Minimum:
    """The least a run must have done before its percentiles are believed; both hold."""

    queries: int
    seconds: float


#: Full: 1,024 queries and 60 s, the single-stream minimum of MLPerf Inference
#: (inference_policies, "Scenarios"); quick is for looking, its verdict stays open.
MINIMA: dict[Mode, Minimum] = {"full": Minimum(1024, 60.0), "quick": Minimum(128, 10.0)}


def percentile(times: Sequence[float], share: float) -> float:
    """Return the smallest time that at least ``share`` of all times do not exceed.

    The nearest rank, so always a time that was really seen; Java's side says the same.

    Raises:
        ValueError: no times, or a share outside (0, 1].
    """
    if not times or not 0 < share <= 1:
        raise ValueError(f"wanted times and a share in (0, 1]. Received: {len(times)}, {share}")
    # 0.9 * 10 is 9.000000000000002 on no machine, but 0.7 * 10 is 7.000000000000001 on all
    rank = math.ceil(round(share * len(times), 9))
    return sorted(times)[rank - 1]


def mean(times: Sequence[float]) -> float:
    """Return the arithmetic mean."""
    return fmean(times)


def drift(times: Sequence[float]) -> float:
    """Return how much slower the last quarter's median is than the first's, as a share.

    A throttling device gets slower while it runs; 0.10 is ten percent slower. Fewer than
    eight times show nothing and give 0.
    """
    quarter = len(times) // 4
    if quarter < 2:
        return 0.0
    first, last = median(times[:quarter]), median(times[-quarter:])
    return last / first - 1.0
