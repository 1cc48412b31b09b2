"""Milliseconds of one inference from its count, always as a range with its grounds; pure.

An instruction count is exact and no time. ``rate_model`` has the rates that published
latencies imply, ``conformal`` what it errs by on figures it never saw; the range is a 90 %
interval of that error. Points of the device itself shrink it, most of all measured ones.
``latency_fit.toml`` holds what was fitted; ``benchmarks/latency.py fit`` makes it again.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

from edgepack.cost.conformal import (
    COVERAGE,
    LARGER,
    LEVELS,
    UNLIKE,
    Interval,
    level_of,
    quantile,
    size,
)
from edgepack.cost.points import microarchitecture, of_profile, published, refused
from edgepack.cost.rate_model import OWN, Observation, RateModel, Spread
from edgepack.cost.work import Work, arithmetic, counted_kinds
from edgepack.profiles.profile import Profile

#: From this many measured figures of the device on, their own errors make the interval.
OWN_FIGURES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A 90 % interval of the milliseconds of one inference on the device's first core.

    Attributes:
        middle_ms: the median.
        level: ``runtime`` (of this device with this runtime), ``device``, ``core``,
            ``family`` or ``none``: whose figures it rests on.
        figures: figures of that level.
        grounds: level, figures, coverage and noise floor, for a person.
    """

    low_ms: float
    high_ms: float
    middle_ms: float
    level: str
    figures: int
    grounds: str


@dataclass(frozen=True, slots=True)
class Fit:
    """What was fitted on the published figures.

    Attributes:
        digest: of the figures; others need another fit.
    """

    spread: Spread
    intervals: Mapping[str, Interval]
    digest: str


def digest(figures: Sequence[Observation]) -> str:
    """Return a short digest of figures and the work behind them."""
    return hashlib.sha256(repr(sorted(map(repr, figures))).encode()).hexdigest()[:16]


@cache
def fitted() -> Fit:
    """Return what ``latency_fit.toml`` holds."""
    text = resources.files("edgepack.cost").joinpath("latency_fit.toml").read_text()
    read: dict[str, Any] = tomllib.loads(text)
    found = {level: Interval(**row) for level, row in read["interval"].items()}
    return Fit(Spread(**read["spread"]), found, read["digest"])


def fit_toml(fit: Fit) -> str:
    """Return the text of ``latency_fit.toml``."""
    lines = [
        "# Fitted on the published figures of profiles and points.toml; see docs/latency.md.",
        "# benchmarks/latency.py fit makes this file again.",
        "",
        f'digest = "{fit.digest}"',
        "",
        "[spread]",
        *(f"{name} = {value:.4g}" for name, value in asdict(fit.spread).items()),
    ]
    for level, row in fit.intervals.items():
        lines += ["", f"[interval.{level}]"]
        lines += [f"{name} = {value:.4g}" for name, value in asdict(row).items()]
    return "\n".join(lines) + "\n"


def estimate(
    profile: Profile,
    work: Work,
    precision: str,
    *,
    kernels: str,
    threads: int = 1,
    runtime: str = OWN,
) -> Estimate | None:
    """Return the interval, None where the core's clock is not known and no point of it is.

    Args:
        precision: of the model's weights; float16 ones are computed in float32.
        kernels: ``builtin`` or ``xnnpack``: what the count was made with.
        runtime: as points name it; this project's own unless said.
    """
    own = of_profile(profile)
    clock_mhz = profile.cpu.cores[0].clock_mhz
    others = published(profile)
    if clock_mhz is None:
        if not any(each.work for each in own):
            return None
        clock_mhz, others = 1000.0, ()
    core = microarchitecture(profile.cpu.cores[0].name)
    question = Observation(
        work=work.units(),
        clock_mhz=clock_mhz,
        device=profile.name,
        core=core.core,
        family=core.family,
        runtime=runtime,
        kernels=kernels,
        precision=arithmetic(precision) or "float32",
        model="",
        threads=threads,
    )
    known = (*own, *others)
    fit = fitted()
    model = RateModel(known, fit.spread)
    predicted = model.predict(question)
    level = level_of(question, known)
    like = _like(question, known, level)
    remarks = unlike(work, question, like or known)
    deviations, basis = _deviations(question, model, level, fit, bool(remarks))
    half = deviations * predicted.deviation
    says = [_whose(question, level, len(like)), basis]
    unused = [why for point in profile.calibration if (why := refused(point, profile.cpu))]
    if unused and level not in ("runtime", "device"):
        says.append(f"{len(unused)} of the device's points unused: {unused[0]}")
    says += [f"a figure's own noise {fit.spread.noise:.0%}", *remarks]
    if work.assumed:
        says.append(work.assumed)
    if threads > 1:
        says.append(f"{threads} threads")
    return Estimate(
        low_ms=math.exp(predicted.log_ms - half),
        high_ms=math.exp(predicted.log_ms + half),
        middle_ms=predicted.ms,
        level=level,
        figures=len(like),
        grounds="; ".join(says),
    )


def _like(
    question: Observation, known: Sequence[Observation], level: str
) -> tuple[Observation, ...]:
    """Return the figures that the level of a question rests on."""
    same = tuple(o for o in known if o.work is not None and o.precision == question.precision)
    if level == "none":
        return same
    if level == "runtime":
        same, level = tuple(o for o in same if o.runtime == question.runtime), "device"
    return tuple(o for o in same if getattr(o, level) == getattr(question, level))


def _whose(question: Observation, level: str, count: int) -> str:
    whose = {
        "runtime": f"{question.device} with this runtime",
        "device": f"{question.device} with other runtimes",
        "core": f"other devices with {question.core}",
        "family": f"other {question.family} cores",
        "none": "other kinds of cores",
    }[level]
    return f"{count} figure{'' if count == 1 else 's'} of {whose}"


def _deviations(
    question: Observation, model: RateModel, level: str, fit: Fit, strange: bool
) -> tuple[float, str]:
    """Return how many deviations make the interval, and what says so."""
    own = [
        index
        for index, each in enumerate(model.observations)
        if each.work is not None
        and each.runtime == question.runtime
        and (each.device, each.kernels, each.precision, each.threads)
        == (question.device, question.kernels, question.precision, question.threads)
    ]
    if len(own) >= OWN_FIGURES and not strange:
        scores = model.scores()[own]
        says = f"90 % interval of {len(own)} measured figures, each predicted from the others"
        return quantile([float(score) for score in scores]), says
    # a level that no figure speaks for is no better than the next one that has some
    names = [name for name in LEVELS[LEVELS.index(level) :] if name in fit.intervals]
    used = fit.intervals[names[0] if names else LEVELS[0]]
    says = (
        f"{COVERAGE:.0%} interval, held {used.coverage:.0%} of {used.figures} figures left out"
        f" at level {level}"
    )
    if strange and UNLIKE in fit.intervals:
        return max(used.quantile, fit.intervals[UNLIKE].quantile), says
    return used.quantile, says


def unlike(work: Work, question: Observation, like: Sequence[Observation]) -> tuple[str, ...]:
    """Return in which ways a model is unlike all calibration points."""
    found = []
    strange = sorted(work.kinds - counted_kinds())
    if strange:
        found.append(f"no calibration point has {', '.join(strange)}")
    sizes = [size(each) for each in like if each.work is not None]
    if sizes and size(question) > LARGER * max(sizes):
        found.append(f"over {LARGER:g} times as large as any calibration point")
    if sizes and size(question) * LARGER < min(sizes):
        found.append(f"under a {LARGER:g}th of any calibration point")
    return tuple(found)
