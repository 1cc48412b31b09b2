"""Which ways of storing weights a device gains from, and why the others are refused.

What counts is measured: ``measured_support`` holds which kernels read a form at all,
``benchmarks/forms.py`` what they cost in instructions, and docs/adr/0015 keeps the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgepack.compat.measured_support import (
    first_correct_release,
    highest_version,
    kernel_status,
    measured_release,
)
from edgepack.profiles.profile import CarriedRuntime, Profile

_NEEDS_XNNPACK = "its XNNPACK is required whole and leaves {what} to slower kernels"


@dataclass(frozen=True, slots=True)
class Gain:
    """Whether a form of storage pays on a device, and what it buys or why it does not."""

    pays: bool
    says: str


def gain(form: str, profile: Profile, route: str = "c") -> Gain:
    """Return what one of ``FORMS`` brings to a device.

    ``route`` is what a microcontroller's bundle is made of: ``c`` or ``tflm``.

    Raises:
        KeyError: no such form.
    """
    return FORMS[form](profile, route)


def _int4(profile: Profile, route: str) -> Gain:
    if profile.kind == "npu":
        return Gain(False, "the Vela compiler reads weights of 8 bits only")
    if profile.kind == "mcu":
        if route == "c":
            return Gain(False, "the plain C route has no int4 kernels; build with --micro tflm")
        return _read_by(profile.runtime, "up to half the flash of the weights")
    if _whole_xnnpack(profile):
        return Gain(False, _NEEDS_XNNPACK.format(what="int4 convolutions"))
    return _read_by(
        profile.runtime,
        "up to half the storage of the weights for 2 to 16 % more instructions; they are "
        "unpacked to int8 when the model is loaded",
    )


def _read_by(runtime: CarriedRuntime, buys: str) -> Gain:
    release = measured_release(runtime.name, runtime.version)
    if runtime.name == "tflite":
        return Gain(
            False, "its reference kernels read no int4 (2.14.0), so nothing could be proven"
        )
    status = release and kernel_status("CONV_2D", "int8+int4", 7, runtime.name, release)
    if status != "ok":
        first = first_correct_release("CONV_2D", "int8+int4", 7, runtime.name)
        since = f"; from {runtime.name} {first} on" if first else ""
        return Gain(False, f"{runtime.name} {runtime.version} has no int4 kernels{since}")
    return Gain(True, buys)


def _blocks(profile: Profile, route: str) -> Gain:
    if profile.kind == "npu":
        return Gain(
            False, "the Vela compiler reads no sparse weights; it compresses zeros itself"
        )
    if profile.kind == "mcu":
        return Gain(
            False, "TFLM reads sparse weights as if they were dense, and plain C has none"
        )
    if _whole_xnnpack(profile):
        return Gain(False, _NEEDS_XNNPACK.format(what="sparse weights"))
    runtime = profile.runtime
    release = measured_release(runtime.name, runtime.version)
    if not release or highest_version("FULLY_CONNECTED", runtime.name, release) < 8:
        return Gain(False, f"{runtime.name} {runtime.version} takes no sparse dense kernels")
    speed = (
        "fewer instructions from half the blocks empty on"
        if profile.cpu.isa == "arm64" and runtime.name == "tflite"
        else "more instructions than dense"
    )
    return Gain(True, f"the storage of the empty blocks of dense layers; {speed}")


def _nowhere(form: str) -> Callable[[Profile, str], Gain]:
    return lambda profile, route: Gain(False, NOWHERE[form])


def _int16(profile: Profile, route: str) -> Gain:
    if profile.kind in ("mcu", "npu"):
        return Gain(
            False, "int16 activations double its RAM; recipe qat regains the accuracy in int8"
        )
    return Gain(
        False, "its int16 kernels take 12 to 27 times the instructions of int8; use recipe qat"
    )


def _whole_xnnpack(profile: Profile) -> bool:
    return any(each.name == "xnnpack" and each.required for each in profile.delegates)


#: Form of storage that pays on no device -> why. A recipe that asks for one is refused.
NOWHERE = {
    "1x4": "no int8 kernel reads blocks of 1x4: tflite 2.14 and LiteRT 1.4 stop at the first "
    "dense operator with 'Unsupported sparse fully-connected weight format'",
    "2:4": "no kernel of any runtime here skips 2:4 zeros, and the file would grow",
}
#: Form of storage -> its question. ``int4`` and ``blocks`` are made by [narrow] and [blocks].
FORMS: dict[str, Callable[[Profile, str], Gain]] = {
    "int4": _int4,
    "blocks": _blocks,
    **{form: _nowhere(form) for form in NOWHERE},
    "int16": _int16,
}
