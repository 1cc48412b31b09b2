"""What a bench is asked, and what a profile and a model say about how to ask it; pure."""

from __future__ import annotations

from dataclasses import dataclass

from edgepack.errors import UsageError
from edgepack.profiles.profile import Profile
from edgepack.tflite import flatbuffer

_DAY_S = 86_400
GATES = ("goldens_device", "goldens_kernels", "peak_ram_sandbox", "instructions", "latency")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a bench shall do.

    Attributes:
        repeats: timed inferences at least, after ``warmup`` untimed ones.
        seconds: of timed inferences at least.
        full: MLPerf's single-stream minima, 1,024 queries and 60 s.
        soak_minutes: run this long and fail on memory growth; 0 does not.
        expected_instructions: the count the bundle was built with, to 0.1 %.
        timeout_s: of each container without a soak.
    """

    repeats: int = 20
    warmup: int = 3
    seconds: float = 1.0
    full: bool = False
    soak_minutes: float = 0.0
    expected_instructions: int | None = None
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        """Refuse times that are no numbers or last for days.

        Raises:
            UsageError: seconds, minutes or the timeout are not 0 to a day.
        """
        times = {
            "seconds": self.seconds,
            "soak minutes": self.soak_minutes * 60,
            "timeout": self.timeout_s,
        }
        for what, asked in times.items():
            if not 0 <= asked <= _DAY_S:  # also false for NaN
                raise UsageError(f"{what}: wanted 0 to {_DAY_S:,} s. Received: {asked} s")


def device_kernels(profile: Profile) -> str:
    """Return the kernels that the device would use: with XNNPACK where it carries that."""
    if profile.runtime.kernels == "reference":
        return "reference"
    return "default" if any(d.name == "xnnpack" for d in profile.delegates) else "builtin"


def precision(model: bytes) -> str:
    """Return int8 or float32: what most of the model's weights are stored as."""
    elements: dict[str, int] = {}
    for kernel in flatbuffer.read(model).kernels:
        elements[kernel.dtype] = elements.get(kernel.dtype, 0) + kernel.elements
    most = max(elements, key=lambda dtype: elements[dtype], default="float32")
    return most if most in ("int8", "uint8", "float16") else "float32"
