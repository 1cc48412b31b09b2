"""The device gates are asked about the same bundle, profile and report as the device room."""

from tests.edgepack.device.conftest import agreed, hexed_goldens

__all__ = ["agreed", "hexed_goldens"]
