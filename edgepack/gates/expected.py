"""Which gates a device must be asked, and what it means that one was not: no pass.

A verdict is proven by what was asked, so a gate that is missing counts as inconclusive:
a tool that was absent, a finding that a file leaves out, a part that a run skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from edgepack.gates import static
from edgepack.gates.finding import Verdict, inconclusive
from edgepack.profiles.profile import Profile

#: What a microcontroller's or an NPU's sources are made for.
Route = Literal["c", "tflm"]
#: What a bundle's model came from: ``build`` made it of a Keras model, or ``bundle`` took a
#: .tflite as it was.
Origin = Literal["keras", "tflite"]
#: Where a bundle holds them, each route in a folder of its own.
FIRMWARE_FOLDER = "firmware/"
#: Kinds of device that carry firmware instead of an operating system with a runtime.
MICRO_KINDS = frozenset({"mcu", "npu"})

STATIC = tuple(gate.__name__ for gate in static.GATES)
#: Asked where the test and calibration rows are.
DATA = ("accuracy_drop", "accuracy", "class_recall", "calibration")
#: Asked in the sandbox that stands in for an application processor, in this order.
SANDBOX = ("goldens_device", "goldens_kernels", "peak_ram_sandbox", "instructions", "latency")
#: Asked of the firmware in a bundle.
FIRMWARE: Mapping[str, tuple[str, ...]] = {
    "c": ("sources", "goldens_c", "arena", "flash", "stack", "instructions", "latency"),
    "tflm": ("sources", "goldens_tflm", "arena", "flash", "latency"),
    "npu": (
        "sources", "goldens_tflm", "goldens_npu", "arena", "flash", "cpu_fallback", "latency",
    ),
}  # fmt: skip
#: Asked of a bundle by whoever received it, besides all that its build was asked.
BUNDLE = ("integrity", "goldens")
#: Asked of the report that a device sent back.
REPORT = (
    "device_hashes", "device_run", "device_profile", "device_runtime", "device_goldens",
    "device_thermal", "device_queries",
)  # fmt: skip
#: Asked only on request, or told only where something went wrong.
OTHER = ("signature_of_maker", "soak", "firmware", "sandbox")

#: Tasks whose answers have classes, and so a recall of each.
_OF_CLASSES = frozenset({"classification", "multilabel"})
_NO_ROWS = (
    "the bundle holds no test rows to judge it by; edgepack build MODEL.keras --data DATA"
    " --profile P --evidence '8 MiB' packs some, and so does edgepack bundle MODEL.tflite"
    " --data DATA --profile P --evidence '8 MiB'"
)
_NOT_ASKED = {
    "accuracy_drop": _NO_ROWS,
    "accuracy": _NO_ROWS,
    "class_recall": _NO_ROWS,
    "calibration": "only a build has the calibration rows, and this bundle keeps no finding of"
    " it; ask its maker to build it again",
    "goldens_npu": "nothing here runs the compiled model; run it on the board",
}
_BY_RUNNING = frozenset(SANDBOX).union(*FIRMWARE.values())


def route_of(paths: Iterable[str]) -> Route | None:
    """Return what the sources in a bundle are made for; None where it holds none."""
    names = tuple(paths)
    routes: tuple[Route, ...] = ("c", "tflm")
    for route in routes:
        if any(name.startswith(f"{FIRMWARE_FOLDER}{route}/") for name in names):
            return route
    return None


def static_gates(profile: Profile) -> tuple[str, ...]:
    """Return the gates that a .tflite alone answers, in their order."""
    own = (gate.__name__ for gate in static.asked_gates(profile))
    return (*own, *(f"delegate:{each.name}" for each in profile.delegates))


def data_gates(
    profile: Profile,
    task: str = "classification",
    *,
    origin: Origin = "keras",
    compared: bool = True,
    floor: bool = False,
) -> tuple[str, ...]:
    """Return the gates that test and calibration rows answer; only classes have a recall.

    Of a model that came as it is nobody knows the calibration rows, so ``calibration`` is
    not asked.

    Args:
        compared: with a float model: a drop can be told.
        floor: the user named a least accuracy. Who has neither is asked for the drop.
    """
    floors = profile.accuracy.min_class_recall is not None and task in _OF_CLASSES
    asked = {
        "accuracy_drop": compared or not floor,
        "accuracy": floor,
        "class_recall": floors,
        "calibration": origin == "keras",
    }
    return tuple(gate for gate in DATA if asked[gate])


def dynamic_gates(profile: Profile, route: Route | None = None) -> tuple[str, ...]:
    """Return the gates that are answered by running the model as its device would.

    Args:
        route: of the firmware; C where none is told. Says nothing about other devices.
    """
    if profile.kind not in MICRO_KINDS:
        return SANDBOX
    return FIRMWARE["npu" if profile.npu is not None else route or "c"]


def expected_gates(
    profile: Profile,
    route: Route | None = None,
    *,
    task: str = "classification",
    origin: Origin = "keras",
    compared: bool = True,
    floor: bool = False,
) -> tuple[str, ...]:
    """Return every gate that a device must be asked before its model is proven there.

    Args:
        origin, compared, floor: as of ``data_gates``.
    """
    return (
        *static_gates(profile),
        *data_gates(profile, task, origin=origin, compared=compared, floor=floor),
        *dynamic_gates(profile, route),
    )


def complete(verdict: Verdict, expected: Iterable[str], why: str = "") -> Verdict:
    """Return the verdict with an inconclusive finding for each gate that was not asked.

    Args:
        why: the reason, where the caller knows it; ends in a remedy.
    """
    asked = {finding.gate for finding in verdict.findings}
    missing = [gate for gate in dict.fromkeys(expected) if gate not in asked]
    return verdict.plus(*(inconclusive(gate, _not_asked(gate, why)) for gate in missing))


def _not_asked(gate: str, why: str) -> str:
    if why:
        return why
    if gate in _NOT_ASKED:
        return f"not asked: {_NOT_ASKED[gate]}"
    if gate in _BY_RUNNING:
        return (
            "not asked: the model was not run as its device would run it;"
            " edgepack validate BUNDLE runs it"
        )
    return "not asked, so nothing is known about it; edgepack validate BUNDLE asks it"
