"""Published and measured latencies as figures of the rate model; reads the built-in profiles.

A point counts only with the work of exactly its code: instruction set, precision, kernels.
The others are refused, each with its reason (``refused``). A point whose model was never
counted still speaks for threads where the same source gives several thread counts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from edgepack.cost.rate_model import OWN, Observation
from edgepack.cost.work import Work, arithmetic, counted, instruction_set, plain_name, typical
from edgepack.profiles import catalogue
from edgepack.profiles.hardware import Cpu
from edgepack.profiles.profile import CalibrationPoint, Profile

_NOWHERE = Path("/nonexistent")  # no folder of a user's profiles


class Microarchitecture(NamedTuple):
    """The Arm core behind a marketing name, and the family it belongs to."""

    core: str
    family: str


_IN_ORDER, _WIDE = "in-order", "out-of-order with dot products"
_OUT_OF_ORDER = "out-of-order"
#: Arm's cores by their technical reference manuals; Kryo 2xx to 4xx are Arm's cores under
#: "Built on Arm Cortex Technology" (https://en.wikipedia.org/wiki/Kryo).
CORES: Mapping[str, Microarchitecture] = {
    "cortex-a7": Microarchitecture("Cortex-A7", _IN_ORDER),
    "cortex-a53": Microarchitecture("Cortex-A53", _IN_ORDER),
    "mt8168 core": Microarchitecture("Cortex-A53", _IN_ORDER),
    "cortex-a55": Microarchitecture("Cortex-A55", _IN_ORDER),
    "cortex-a9": Microarchitecture("Cortex-A9", _OUT_OF_ORDER),
    "cortex-a15": Microarchitecture("Cortex-A15", _OUT_OF_ORDER),
    "cortex-a57": Microarchitecture("Cortex-A57", _OUT_OF_ORDER),
    "cortex-a73": Microarchitecture("Cortex-A73", _OUT_OF_ORDER),
    "kryo 2xx gold": Microarchitecture("Cortex-A73", _OUT_OF_ORDER),
    "kryo 3xx gold": Microarchitecture("Cortex-A75", _OUT_OF_ORDER),
    "kryo 4xx gold": Microarchitecture("Cortex-A76", _WIDE),
    "cortex-a72": Microarchitecture("Cortex-A72", _OUT_OF_ORDER),
    "kryo": Microarchitecture("Kryo", _OUT_OF_ORDER),
    "kryo 280": Microarchitecture("Cortex-A73", _OUT_OF_ORDER),
    "kryo 360 gold": Microarchitecture("Cortex-A75", _OUT_OF_ORDER),
    "kryo 385": Microarchitecture("Cortex-A75", _OUT_OF_ORDER),
    "cortex-a75": Microarchitecture("Cortex-A75", _OUT_OF_ORDER),
    "exynos m1": Microarchitecture("Exynos M1", _OUT_OF_ORDER),
    "exynos m3": Microarchitecture("Exynos M3", _OUT_OF_ORDER),
    "kryo 470": Microarchitecture("Cortex-A76", _WIDE),
    "kryo 475": Microarchitecture("Cortex-A76", _WIDE),
    "kryo 485": Microarchitecture("Cortex-A76", _WIDE),
    "cortex-a76": Microarchitecture("Cortex-A76", _WIDE),
    "cortex-x1": Microarchitecture("Cortex-X1", _WIDE),
    "cortex-x3": Microarchitecture("Cortex-X3", _WIDE),
}


def microarchitecture(core: str) -> Microarchitecture:
    """Return the core and family of a profile's first core; unknown cores stand alone."""
    return CORES.get(core.lower(), Microarchitecture(core, ""))


def kernels_of(point: CalibrationPoint) -> str:
    """Return the kernels a figure was published with."""
    if point.kernels is not None:
        return point.kernels
    return "xnnpack" if "xnnpack" in point.runtime.lower() else "builtin"


def work_of_point(point: CalibrationPoint, cpu: Cpu) -> Work | None:
    """Return the work behind a figure, None where exactly that was never counted."""
    isa, kernels = instruction_set(cpu), kernels_of(point)
    if arithmetic(point.precision) is None or not isa:
        return None
    if point.instructions is not None:
        return typical(point.instructions, point.precision, isa, kernels)
    return counted(point.model, point.precision, isa, kernels)


def rounding(ms: float) -> float:
    """Return half of a figure's last digit over the figure."""
    digits = repr(float(ms)).partition(".")[2].rstrip("0")
    return 0.5 * 10.0 ** -len(digits) / ms


def observation(
    point: CalibrationPoint, cpu: Cpu, device: str, clock_mhz: float
) -> Observation | None:
    """Return a point as a figure, None where ``refused`` says why."""
    if arithmetic(point.precision) is None:
        return None
    found = microarchitecture(cpu.cores[0].name)
    measured = point.source.startswith("measured")
    work = work_of_point(point, cpu)
    return Observation(
        work=None if work is None else work.units(),
        clock_mhz=clock_mhz,
        device=device,
        core=found.core,
        family=found.family,
        runtime=OWN if measured else point.runtime,
        kernels=kernels_of(point),
        precision=arithmetic(point.precision) or "",
        model=plain_name(point.model),
        threads=point.threads,
        ms=float(point.ms),
        rounding=rounding(point.ms),
    )


def of_profile(profile: Profile) -> tuple[Observation, ...]:
    """Return the figures of a device's own calibration points that can be used."""
    clock_mhz = profile.cpu.cores[0].clock_mhz
    if clock_mhz is None:
        clock_mhz = 1000.0  # the device's own points need no true one, others' are not used
    found = [
        observation(point, profile.cpu, profile.name, clock_mhz)
        for point in profile.calibration
    ]
    return usable(tuple(each for each in found if each is not None))


def usable(found: tuple[Observation, ...]) -> tuple[Observation, ...]:
    """Return what says something: counted models, or one model on several thread counts."""
    threads: dict[tuple[str, str, str], set[int]] = {}
    for each in found:
        key = (each.device, each.model, each.precision)
        threads.setdefault(key, set()).add(each.threads)
    return tuple(
        each
        for each in found
        if each.work is not None or len(threads[each.device, each.model, each.precision]) > 1
    )


def refused(point: CalibrationPoint, cpu: Cpu) -> str:
    """Return why a point is of no use alone, "" where it is of use."""
    if arithmetic(point.precision) is None:
        return f"{point.precision} arithmetic was never counted here"
    isa = instruction_set(cpu)
    if not isa:
        return f"code of {cpu.isa} is not counted here"
    if work_of_point(point, cpu) is None:
        what = f"{point.model} {point.precision} with {kernels_of(point)} kernels on {isa}"
        return f"{what} was never counted here; give the point its instructions"
    return ""


@cache
def _published() -> tuple[tuple[Observation, str], ...]:
    found: list[tuple[Observation, str]] = []
    for name in catalogue.names(_NOWHERE):
        profile = catalogue.load(name, _NOWHERE)
        clock_mhz = profile.cpu.cores[0].clock_mhz
        if not profile.calibration or clock_mhz is None or profile.kind in ("mcu", "npu"):
            continue
        for point in profile.calibration:
            each = observation(point, profile.cpu, name, clock_mhz)
            if each is not None:
                found.append((each, point.source))
    text = resources.files("edgepack.cost").joinpath("points.toml").read_text()
    for row in tomllib.loads(text)["point"]:
        fields = {name: row[name] for name in _POINT_FIELDS}
        cpu = Cpu.model_validate(
            {
                "isa": "armv7" if row["cpu"] in ("cortex-a7", "cortex-a15") else "arm64",
                "qemu_cpu": row["cpu"],
                "cores": [{"name": row["core"], "count": 1, "source": row["source"]}],
            }
        )
        point = CalibrationPoint.model_validate(fields)
        each = observation(point, cpu, row["device"], float(row["clock_mhz"]))
        if each is not None:
            found.append((each, point.source))
    kept = set(map(id, usable(tuple(each for each, _ in found))))
    return tuple((each, source) for each, source in found if id(each) in kept)


_POINT_FIELDS = ("model", "runtime", "kernels", "precision", "threads", "ms", "source")


def published(besides: Profile | None = None) -> tuple[Observation, ...]:
    """Return the figures of all built-in devices, without those of a profile."""
    if besides is None:
        return tuple(each for each, _ in _published())
    own = {point.source for point in besides.calibration}
    return tuple(
        each
        for each, source in _published()
        if each.device != besides.name and source not in own
    )
