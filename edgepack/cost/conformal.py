"""What the latency model errs by on figures it never saw, and the intervals that follow; pure.

Every figure is predicted by a model that was fitted without its architecture, and without
all figures that a less special level would lack too: for the level ``device`` without those
of its runtime on that device, for ``core`` without its device, for ``family`` without its
core, for ``none`` without its family. A residual over the
deviation that the model itself states is a score; the (n+1)*0.9-th smallest score of a level
widens the stated deviation so far that nine of ten unseen figures lie within (split conformal
prediction with normalised residuals: Lei et al., Distribution-Free Predictive Inference for
Regression, 2018, section 2; leaving out takes the place of the split).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgepack.cost.rate_model import Observation, RateModel, Spread

COVERAGE = 0.9
#: From the most to the least special; ``unlike`` are models unlike all that were fitted.
#: ``runtime`` is this device with this runtime, as figures measured with edgepack are.
LEVELS = ("runtime", "device", "core", "family", "none")
UNLIKE = "unlike"
#: A model of that many times the instructions of any calibration point is unlike them.
LARGER = 10.0


@dataclass(frozen=True, slots=True)
class Residual:
    """One figure, predicted without itself.

    Attributes:
        error: log of the figure over the prediction's middle.
        deviation: what the model stated.
    """

    level: str
    observation: Observation
    error: float
    deviation: float

    @property
    def score(self) -> float:
        """The error in stated deviations."""
        return abs(self.error) / self.deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What one level's residuals allow to claim.

    Attributes:
        figures: left-out figures it rests on.
        quantile: deviations either way that 90 % of unseen figures lie within.
        coverage: share of them within the quantile of the others, architecture by architecture.
        median_error: of the middle, relative.
        width: median high over low.
    """

    figures: int
    quantile: float
    coverage: float
    median_error: float
    width: float


def size(each: Observation) -> float:
    """Return the instructions of a figure's model; 0 where it was not counted."""
    return sum((each.work or {}).get(name, 0.0) for name in ("simd", "memory", "scalar"))


def architecture(model: str) -> str:
    """Return the family of a model's name: ``mobilenet_v2`` of ``mobilenet_v2_0.5_96``."""
    return "_".join(model.split("_")[:2])


def level_of(question: Observation, known: Sequence[Observation]) -> str:
    """Return the most special level with a counted figure of the question's precision."""
    like = [o for o in known if o.work is not None and o.precision == question.precision]
    own = [o for o in like if o.device == question.device]
    if any(o.runtime == question.runtime for o in own):
        return "runtime"
    if own:
        return "device"
    if any(o.core == question.core for o in like):
        return "core"
    if question.family and any(o.family == question.family for o in like):
        return "family"
    return "none"


def left_out(observations: Sequence[Observation], spread: Spread) -> tuple[Residual, ...]:
    """Return the residuals of every level that the figures can speak for."""
    found: list[Residual] = []
    models: dict[frozenset[int], RateModel] = {}
    for each in observations:
        if each.work is None:
            continue
        for level, dropped in _schemes(each):
            gone = frozenset(i for i, other in enumerate(observations) if dropped(other))
            rest = [other for i, other in enumerate(observations) if i not in gone]
            if level == UNLIKE:
                if level_of(each, rest) != "runtime":
                    continue  # what is asked is the model's strangeness, not the device's
            elif level_of(each, rest) != level:
                continue
            if gone not in models:
                models[gone] = RateModel(rest, spread)
            predicted = models[gone].predict(each)
            error = math.log(each.ms) - predicted.log_ms
            found.append(Residual(level, each, error, predicted.deviation))
    return tuple(found)


def _schemes(each: Observation) -> list[tuple[str, Callable[[Observation], bool]]]:
    def same(other: Observation) -> bool:
        return other.model == each.model

    kind, instructions = architecture(each.model), size(each)
    return [
        ("runtime", same),
        ("device", lambda o: same(o) or (o.device, o.runtime) == (each.device, each.runtime)),
        ("core", lambda o: same(o) or o.device == each.device),
        ("family", lambda o: same(o) or o.core == each.core),
        ("none", lambda o: same(o) or o.family == each.family),
        (UNLIKE, lambda o: architecture(o.model) == kind),
        (UNLIKE, lambda o: o.work is not None and size(o) * LARGER > instructions),
    ]


def quantile(scores: Sequence[float]) -> float:
    """Return the (n+1)*0.9-th smallest score; the largest where there are fewer than nine."""
    ordered = sorted(scores)
    return ordered[min(math.ceil((len(ordered) + 1) * COVERAGE), len(ordered)) - 1]


def intervals(residuals: Sequence[Residual]) -> dict[str, Interval]:
    """Return each level's interval; a level without residuals takes no part."""
    found: dict[str, Interval] = {}
    for level in (*LEVELS, UNLIKE):
        own = [each for each in residuals if each.level == level]
        if not own:
            continue
        whole = quantile([each.score for each in own])
        within = []
        for each in own:
            others = [o.score for o in own if o.observation.model != each.observation.model]
            if others:
                within.append(each.score <= quantile(others))
        found[level] = Interval(
            figures=len(own),
            quantile=whole,
            coverage=float(np.mean(within)) if within else 0.0,
            median_error=float(np.median([abs(math.expm1(-each.error)) for each in own])),
            width=float(np.median([math.exp(2 * whole * each.deviation) for each in own])),
        )
    return found
