"""How a model must be converted for the runtime that a device carries."""

from __future__ import annotations

from typing import Any

from edgepack.compat.measured_support import kernel_status, measured_release
from edgepack.profiles.profile import CarriedRuntime


def options_for(runtime: CarriedRuntime) -> dict[str, Any]:
    """Return the settings of ``converters.quantized.int8.Int8`` that the runtime dictates.

    Old releases compute per-channel fully-connected weights wrongly or not at all, and the
    converter writes those unless told otherwise.
    """
    release = measured_release(runtime.name, runtime.version)
    status = release and kernel_status(
        "FULLY_CONNECTED", "int8/per-channel", 1, runtime.name, release
    )
    return {"per_channel_dense": status == "ok"}
