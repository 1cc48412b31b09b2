"""Time of one inference from physical rates, shared between devices; pure, numpy only.

The model. One inference on one thread takes

    cycles = sum over k of exp(beta[k]) * work[k],        ms = cycles / clock

where ``work`` holds instructions by class, operators and bytes of weights (``FEATURES``), so
that every rate is positive. A device's log rate is a sum of deviations with a normal prior:
all cores, the family of its core, its core, the device. Points thus speak for their own
device most, for other devices of the core less, and for the rest least, by as much as devices
were seen to differ. On top stand deviations of the precision and kernels, of the runtime that
a figure was published with, and of threads:

    ms(n threads) = operators' part + the rest * exp(psi * log2(n)**2) / n

(operators start on one thread; the quadratic term, memory bandwidth that saturates, is fitted
on published 1 to 4 threads of one model; see docs/latency.md). A figure whose model was never
counted here, but which was published with several thread counts, speaks for psi alone.

Everything is linear around the current rates: maximum a posteriori by Gauss-Newton, variance
by Laplace's approximation, which for a linear model is kriging (Rasmussen and Williams,
Gaussian Processes for Machine Learning, 2006, section 2.2). The residual is log(ms): errors
are relative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: What a unit of work is of, and the prior middle of its cost in cycles a unit.
FEATURES: Mapping[str, float] = {
    "simd": 1.0,
    "memory": 1.0,
    "scalar": 0.5,
    "operator": 10_000.0,
    "weight_byte": 0.2,
}
#: The runtime of questions, and of figures that were measured with this project.
OWN = "edgepack"
#: A figure that misses by more deviations than this is believed less: its deviation grows to
#: that many of its misses (iteratively reweighted least squares; Huber, Robust Statistics,
#: 1981, chapter 7, with a weight of 1/score**2 where his is 1/score: chosen by leaving out).
#: Some published networks ran operators that their description lacks.
_FAR = 2.0
_REWEIGHED = 4
_STEPS = 60
_STILL = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A figure, or the question for one.

    Attributes:
        work: units by feature; None where the model was never counted.
        clock_mhz: of the core; it need not be true if all figures of the device use it.
        device, core, family: from the most to the least special.
        runtime: what a figure was published with; ``OWN`` is this project's.
        kernels: ``builtin`` or ``xnnpack``; with the precision they choose the code.
        ms: the figure; a question has none.
        rounding: half of the figure's last digit over the figure.
    """

    work: Mapping[str, float] | None
    clock_mhz: float
    device: str
    core: str
    family: str
    runtime: str
    kernels: str
    precision: str
    model: str
    threads: int = 1
    ms: float = math.nan
    rounding: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How much rates differ: standard deviations of the natural logarithm.

    Attributes:
        rate: of a feature's rate around its prior middle, all cores.
        family, core, device: of the common scale at that level.
        mix: of each feature's rate, by core and by device.
        code: of a precision and its kernels, over all cores; ``core_code`` on one core.
        runtime: of a published figure's runtime and its way of measuring.
        psi, psi_device: of the thread term, over all and by device and precision.
        noise: of one figure.
        noise_threads: of one figure more, times log2 of its threads.
    """

    rate: float = 1.0
    family: float = 0.3
    core: float = 0.2
    device: float = 0.1
    mix_core: float = 0.2
    mix_device: float = 0.1
    code: float = 0.2
    core_code: float = 0.1
    runtime: float = 0.1
    psi_middle: float = 0.1
    psi: float = 0.05
    psi_device: float = 0.05
    noise: float = 0.08
    noise_threads: float = 0.03


@dataclass(frozen=True, slots=True)
class Prediction:
    """A normal distribution of log(ms) of one new figure."""

    log_ms: float
    deviation: float

    @property
    def ms(self) -> float:
        """The median, in milliseconds."""
        return math.exp(self.log_ms)


Key = tuple[str, ...]


@dataclass(slots=True)
class _Parameters:
    """Parameters of a model, and those that a question brings."""

    _index: dict[Key, int]
    _theta: NDArray[np.float64]
    _variance: NDArray[np.float64]


class _Design:
    """What figures and parameters have to do with each other, as arrays.

    Attributes:
        rates: ``(N, K, P)``, one where a parameter is part of a feature's log rate.
        units: ``(N, K)`` of work.
        shifts, psi: ``(N, P)``, one where a parameter is part of log(ms), or of psi.
    """

    def __init__(self, observations: Sequence[Observation], keys: Sequence[Sequence[Key]],
                 index: Mapping[Key, int]) -> None:  # fmt: skip
        shape = (len(observations), len(FEATURES), len(index))
        self.rates = np.zeros(shape)
        self.shifts, self.psi = np.zeros(shape[::2]), np.zeros(shape[::2])
        place = {name: column for column, name in enumerate(FEATURES)}
        for row, own in enumerate(keys):
            for key in own:
                if key[0] in ("rate", "mix"):
                    self.rates[row, place[key[-1]], index[key]] = 1.0
                elif key[0] == "psi":
                    self.psi[row, index[key]] = 1.0
                else:
                    self.shifts[row, index[key]] = 1.0
        self.units = np.array(
            [[(each.work or {}).get(n, 0.0) for n in FEATURES] for each in observations]
        ).reshape(shape[:2])
        self.free = np.array([each.work is None for each in observations])
        self.threads = np.array([float(each.threads) for each in observations])
        self.khz = np.array([each.clock_mhz * 1e3 for each in observations])
        self.serial = np.array([name == "operator" for name in FEATURES])

    def evaluate(
        self, theta: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return log(ms) and its derivative ``(N, P)`` at these parameters."""
        curve = np.log2(self.threads) ** 2
        shared = np.exp(curve * (self.psi @ theta)) / self.threads
        costs = np.exp(self.rates @ theta) * self.units
        costs = costs * np.where(self.serial, 1.0, shared[:, None])
        whole = np.where(self.free, 1.0, costs.sum(1))
        shares = costs / whole[:, None]
        parallel = np.where(self.free, 1.0, 1 - shares[:, self.serial].sum(1))
        log_ms = np.where(self.free, np.log(shared), np.log(whole / self.khz))
        jacobian = self.shifts + (curve * parallel)[:, None] * self.psi
        jacobian += np.einsum("nk,nkp->np", shares, self.rates)
        return log_ms + self.shifts @ theta, jacobian


class RateModel:
    """Rates fitted on figures."""

    def __init__(self, observations: Sequence[Observation], spread: Spread) -> None:
        """Fit; no figure is needed, the prior alone also answers."""
        self.spread = spread
        self.observations = tuple(observations)
        self._index: dict[Key, int] = {}
        self._theta, self._variance = np.zeros(0), np.zeros(0)
        keys = [self._grow(each, self) for each in self.observations]
        self._design = _Design(self.observations, keys, self._index)
        self._solve()

    def predict(self, question: Observation) -> Prediction:
        """Return the figure that one would measure for a question."""
        known = len(self._theta)
        grown = _Parameters(dict(self._index), self._theta, self._variance)
        keys = self._grow(question, grown)
        middle, row = _Design([question], [keys], grown._index).evaluate(grown._theta)
        total = float(row[0] @ (grown._variance * row[0]))
        if self.observations:
            cross = self._jacobian @ (self._variance * row[0][:known])
            total -= float(cross @ np.linalg.solve(self._gram, cross))
        return Prediction(
            float(middle[0]), math.sqrt(max(total, 1e-12) + self._noise(question))
        )

    def scores(self) -> NDArray[np.float64]:
        """Return each figure's error, predicted without it, over the deviation then stated.

        In closed form at the rates found with it (Rasmussen and Williams, section 5.4.2).
        """
        inverse = np.linalg.inv(self._gram)
        variance = 1 / np.diag(inverse)
        stated = variance - self._weighed + self._plain  # with the noise before reweighing
        scores: NDArray[np.float64] = np.abs(inverse @ self._residual) * variance
        found: NDArray[np.float64] = scores / np.sqrt(stated)
        return found

    def log_evidence(self) -> float:
        """Return the (Laplace) log marginal likelihood of the figures."""
        residual = self._residual
        sign, size = np.linalg.slogdet(self._gram)
        fit = float(residual @ np.linalg.solve(self._gram, residual))
        return -0.5 * (fit + float(size) * float(sign) + len(residual) * math.log(2 * math.pi))

    def _priors(self, each: Observation) -> list[tuple[Key, float]]:
        s = self.spread
        found: list[tuple[Key, float]] = []
        if each.work is None:
            # several thread counts of one model: its own time is free
            found.append((("free", each.device, each.model, each.precision), 10.0))
        else:
            for name in FEATURES:
                if each.work[name]:
                    found.append((("rate", name), s.rate))
                    found.append((("mix", "core", each.core, name), s.mix_core))
                    found.append((("mix", "device", each.device, name), s.mix_device))
            found.append((("family", each.family), s.family))
            found.append((("core", each.core), s.core))
            found.append((("device", each.device), s.device))
            code = f"{each.precision} {each.kernels}"
            found.append((("code", code), s.code))
            found.append((("core_code", each.core, code), s.core_code))
            found.append((("runtime", each.runtime), s.runtime))
        if each.threads > 1:
            found.append((("psi", each.precision), s.psi))
            found.append((("psi", each.precision, each.device), s.psi_device))
        return found

    def _grow(self, each: Observation, into: RateModel | _Parameters) -> list[Key]:
        """Return an observation's parameters; those that are new join with their prior."""
        priors = self._priors(each)
        new = [(key, deviation) for key, deviation in priors if key not in into._index]
        for key, _ in new:
            into._index[key] = len(into._index)
        into._theta = np.append(into._theta, [self._middle(key) for key, _ in new])
        into._variance = np.append(into._variance, [deviation**2 for _, deviation in new])
        return [key for key, _ in priors]

    def _middle(self, key: Key) -> float:
        if key[0] == "rate":
            return math.log(FEATURES[key[1]])
        return self.spread.psi_middle if key[0] == "psi" and len(key) == 2 else 0.0

    def _noise(self, each: Observation) -> float:
        more = self.spread.noise_threads * math.log2(each.threads)
        # a rounded figure lies anywhere within half its last digit: variance r**2 / 3
        return self.spread.noise**2 + more**2 + each.rounding**2 / 3

    def _solve(self) -> None:
        count = len(self.observations)
        self._jacobian = np.zeros((count, len(self._theta)))
        self._gram, self._residual = np.zeros((count, count)), np.zeros(count)
        self._plain = np.array([self._noise(each) for each in self.observations])
        self._weighed = self._plain.copy()
        if not count:
            return
        start = self._theta.copy()
        for _ in range(_REWEIGHED):
            self._settle(start)
            far = np.maximum(1.0, self.scores() / _FAR)
            self._weighed = self._plain * far**2
        self._settle(start)

    def _settle(self, start: NDArray[np.float64]) -> None:
        """Find the most probable parameters under the present noise."""
        wanted = np.array([math.log(each.ms) for each in self.observations])
        for step_number in range(_STEPS):
            predicted, self._jacobian = self._design.evaluate(self._theta)
            scaled = self._jacobian * self._variance
            self._gram = scaled @ self._jacobian.T + np.diag(self._weighed)
            shift = self._jacobian @ (self._theta - start)
            self._residual = wanted - predicted + shift
            goal = start + scaled.T @ np.linalg.solve(self._gram, self._residual)
            # far rates: a bounded step; and a damped one where full steps go round in circles
            step = np.clip(goal - self._theta, -1.0, 1.0) * (1.0 if step_number < 15 else 0.5)
            if float(np.max(np.abs(step))) < _STILL:
                break
            self._theta = self._theta + step
