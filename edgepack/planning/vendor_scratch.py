"""Scratch buffers that CMSIS-NN and ESP-NN kernels ask for, beside the reference's.

CMSIS-NN: arm_convolve_get_buffer_sizes_s8.c, arm_depthwise_conv_get_buffer_sizes_s8.c,
arm_avgpool_s8.c and arm_fully_connected_get_buffer_sizes_s8.c, 7.0.0. ESP-NN: an upper
bound of esp_nn_get_*_scratch_size_esp32s3; other ESP32 kernels ask for none.
"""

from __future__ import annotations

from edgepack.planning.arena import align
from edgepack.profiles.profile import Cpu
from edgepack.tflite.facts import Facts, Op

#: CH_IN_BLOCK_MVE (arm_nnsupportfunctions.h).
BLOCK = 124


def cmsis_nn(cpu: Cpu) -> CmsisNn:
    """Return the scratch rule of CMSIS-NN on a core: with Helium, or without."""
    return CmsisNn(helium="helium" in cpu.features)


class CmsisNn:
    """What CMSIS-NN asks for one int8 node."""

    def __init__(self, *, helium: bool) -> None:
        self.helium = helium

    def __call__(self, op: Op, facts: Facts) -> int:
        inputs, outputs = facts.feeds(op), facts.yields(op)
        data = inputs[0] if inputs else None
        if data is None or not data.shape or not outputs:
            return 0
        if outputs[0].dtype not in ("int8", "int16"):
            return 0
        weights = inputs[1] if len(inputs) > 1 else None
        if op.name == "AVERAGE_POOL_2D":
            return 0 if self.helium else 4 * data.shape[-1]
        if weights is None or not weights.shape:
            return 0
        if op.name == "FULLY_CONNECTED":
            return 4 * weights.shape[0] if self.helium else 0
        return self._windowed(op, weights.shape) if len(weights.shape) == 4 else 0

    def _windowed(self, op: Op, shape: tuple[int, ...]) -> int:
        _, height, width, depth = shape
        if op.name == "CONV_2D":
            return self._convolution(op, height, width, depth)
        if op.name == "DEPTHWISE_CONV_2D" and op.options["depth_multiplier"] <= 1:
            return (4 * BLOCK if self.helium else 2 * depth) * height * width
        return 0

    def _convolution(self, op: Op, height: int, width: int, depth: int) -> int:
        column = height * width * depth
        pointwise = height == width == 1 and op.options["stride_w"] == 1
        if pointwise and op.options["stride_h"] == 1:
            return 0
        return 4 * align(column, 16) if self.helium else 2 * 2 * align(column, 4)


def esp_nn(cpu: Cpu) -> EspNn:
    """Return the scratch rule of ESP-NN on a chip."""
    return EspNn(vector=any("LX7" in core.name for core in cpu.cores))


class EspNn:
    """What ESP-NN asks for one int8 node; only the ESP32-S3's vector kernels ask."""

    def __init__(self, *, vector: bool) -> None:
        self.vector = vector

    def __call__(self, op: Op, facts: Facts) -> int:
        inputs = facts.feeds(op)
        if not self.vector or op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            return 0
        data, weights = inputs[0], inputs[1]
        if data is None or weights is None or data.dtype != "int8" or len(data.shape) != 4:
            return 0
        _, height, width, _ = weights.shape
        padded = (data.shape[1] + height) * (data.shape[2] + width) * data.shape[3]
        return 2 * (weights.elements + padded) + 16 * align(data.shape[3], 8) + 64
