"""Runs one after another: finished ones are kept, a warm device is waited for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgepack.device import description
from edgepack.device.backends.backend import Backend, RunRequest
from edgepack.device.links.link import Link
from edgepack.errors import InputError, UsageError
from edgepack.files import read_whole, write_whole
from edgepack.gates.device import MODERATE
from edgepack.measurements import device_report
from edgepack.measurements.device_report import Report
from edgepack.measurements.report_model import Conditions

#: Policy: a battery that much above the coolest seen in this session is still warm.
_WARM_C = 3.0
_LOOK_EVERY_S = 10.0
_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A folder of reports and how patient to be.

    Attributes:
        folder: one JSON file a finished run, named by its identity.
        cool_down_s: pause before every run but the first.
        patience_s: how much longer a device that is still warm is waited for.
        accepts: whether a kept report counts; a refused one is worth another run.
    """

    folder: Path
    cool_down_s: float = 30.0
    patience_s: float = 600.0
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = lambda line: None
    accepts: Callable[[Report], bool] = lambda report: report.ending == "ok"

    def __post_init__(self) -> None:
        """Refuse a pause that never ends or is no number.

        Raises:
            UsageError: a pause is not 0 to a day.
        """
        for pause in (self.cool_down_s, self.patience_s):
            if not 0 <= pause <= _DAY_S:  # also false for NaN
                raise UsageError(f"cool-down: wanted 0 to {_DAY_S:,} s. Received: {pause}")

    def run(
        self, link: Link, backend: Backend, requests: Iterable[RunRequest]
    ) -> Iterator[Report]:
        """Yield one report for each request; those that are kept already are not run again.

        A run that ended badly or was refused is made again: it may have been the plug, or
        the heat.
        """
        coolest: float | None = None
        ran = False
        for request in requests:
            path = self.path(request.identity(backend))
            kept = self._kept(path)
            if kept is not None:
                self.say(f"{path.name}: kept from before")
                yield kept
                continue
            if ran:
                self.sleep(self.cool_down_s)
            state = self._state_when_cool(link, coolest)
            warmth = [each for each in (state.battery_c, coolest) if each is not None]
            coolest = min(warmth, default=None)
            self.say(
                f"{request.delegate}, {request.threads} thread(s), {request.mode}: running"
            )
            report = backend.run(link, request)
            write_whole(path, device_report.text(report))
            ran = True
            yield report

    def path(self, identity: str) -> Path:
        """Return where the report of that run is kept."""
        return self.folder / f"report-{identity[:32]}.json"

    def _kept(self, path: Path) -> Report | None:
        if not path.is_file():
            return None
        try:
            report = device_report.read(
                read_whole(path, device_report.CEILING_BYTES, "a device report"), str(path)
            )
        except InputError as error:
            self.say(f"{error}; running it again")
            return None
        return report if self.accepts(report) else None

    def _state_when_cool(self, link: Link, coolest: float | None) -> Conditions:
        """Return the device's state once it is cool, or after our patience has run out."""
        state = description.read_conditions(link)
        waited = 0.0
        while waited < self.patience_s and is_warm(state, coolest):
            self.say(f"still warm ({state.battery_c} degrees C): waiting")
            self.sleep(_LOOK_EVERY_S)
            waited += _LOOK_EVERY_S
            state = description.read_conditions(link)
        return state


def is_warm(state: Conditions, coolest: float | None) -> bool:
    """Return whether a run should not start yet; the report's own gate decides in the end."""
    if state.thermal_status is not None and state.thermal_status >= MODERATE:
        return True
    if coolest is None or state.battery_c is None:
        return False
    return state.battery_c > coolest + _WARM_C


def reports_in(folder: Path) -> tuple[Report, ...]:
    """Return every report that a session kept in ``folder``, by name."""
    paths = sorted(
        p for p in folder.glob("report-*.json") if re.search(r"-[0-9a-f]{32}", p.name)
    )
    return tuple(
        device_report.read(
            read_whole(p, device_report.CEILING_BYTES, "a device report"), str(p)
        )
        for p in paths
    )
