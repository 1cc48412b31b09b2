"""All dynamic gates of one model on one device, run in containers that stand in for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from edgepack.emulation.options import GATES, Ask
from edgepack.emulation.session import Trial
from edgepack.errors import EnvironmentMissing, UsageError
from edgepack.gates.finding import Finding, Outcome
from edgepack.profiles.profile import Profile
from edgepack.sandbox.engine import Engine, NoEngine, available
from edgepack.sandbox.images.spec import ARCHES

__all__ = ["GATES", "Ask", "Benched", "bench"]

_SMALL = frozenset({"mcu", "npu"})


class Benched(NamedTuple):
    """Findings in the order of GATES, and JSON-ready figures."""

    findings: tuple[Finding, ...]
    figures: dict[str, Any]


def bench(
    model: bytes,
    profile: Profile,
    golden_inputs: NDArray[Any],
    golden_outputs: NDArray[Any],
    *,
    ask: Ask | None = None,
    engine: Engine | NoEngine | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Benched:
    """Return every dynamic gate's finding and the figures behind them.

    Args:
        golden_inputs: ``(N, *input_shape)`` in the model's input dtype.
        golden_outputs: what reference kernels make of them, in its output dtype.
        engine: ``engine.available()`` unless given.

    Without an engine or an image every gate is INCONCLUSIVE and says the remedy.
    """
    start = time.monotonic()
    if profile.kind in _SMALL or profile.cpu.isa not in ARCHES:
        return _open(f"{profile.name} is no application processor: the micro route runs it")
    engine = available() if engine is None else engine
    if isinstance(engine, NoEngine):
        return _open(engine.reason)
    try:
        trial = Trial.of(engine, profile, model, ask or Ask(), say)
        findings, figures = trial.run(golden_inputs, golden_outputs)
    except (EnvironmentMissing, UsageError) as error:
        return _open(str(error))
    figures["seconds"] = round(time.monotonic() - start, 2)
    return Benched(findings, figures)


def _open(reason: str) -> Benched:
    return Benched(
        tuple(Finding(gate=g, verdict=Outcome.INCONCLUSIVE, says=reason) for g in GATES), {}
    )
