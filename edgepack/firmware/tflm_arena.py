"""How much RAM TFLM needs: the smallest arena that works, and what other kernels add.

The arena is found by trying sizes on this 64-bit machine. A 32-bit core's structures are
smaller, so its reference kernels need no more; optimised kernels take scratch besides.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgepack.errors import RuntimeFailure, TimedOut
from edgepack.firmware.compiler.graph import Graph, busiest
from edgepack.firmware.compiler.reading import read
from edgepack.gates.finding import How
from edgepack.inference.tflm import run_worker

_SECONDS = 300.0
_ALIGNMENT = 16
_HELIUM_SHARE = 0.15  # one of six models needed 12.5 % more with CMSIS-NN on an M55
_HALF_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaFigures:
    """What was found out about a model's arena.

    Attributes:
        host_bytes: smallest arena that gave the right answer here, reference kernels.
        probes: how many sizes were tried.
        cmsis_nn_scratch_bytes: most that CMSIS-NN takes for one layer with DSP instructions.
        esp_nn_scratch_bytes: most that ESP-NN takes for one layer on an ESP32-S3.
        busiest: the operator that needs most memory, in words.
    """

    host_bytes: int
    probes: int
    cmsis_nn_scratch_bytes: int
    esp_nn_scratch_bytes: int
    busiest: str = ""

    def needed(self, kernels: str, features: tuple[str, ...] = ()) -> tuple[int, How, str]:
        """Return the arena to reserve, how it was obtained and what was added.

        Args:
            kernels: the profile's ``builtin``, ``cmsis-nn`` or ``esp-nn``.
            features: of the core; ``helium`` and ``simd`` ask for more scratch.
        """
        if kernels == "cmsis-nn" and "helium" in features:
            extra = int(self.host_bytes * _HELIUM_SHARE)
            return self._plus(extra), How.ESTIMATED, "15 % for CMSIS-NN with Helium"
        if kernels == "cmsis-nn" and "dsp" in features:
            extra = self.cmsis_nn_scratch_bytes
            return self._plus(extra), How.ESTIMATED, f"{extra} B of CMSIS-NN scratch"
        if kernels == "esp-nn" and "simd" in features:
            extra = self.esp_nn_scratch_bytes
            return self._plus(extra), How.ESTIMATED, f"{extra} B of ESP-NN scratch"
        return self.host_bytes, How.EMULATED, "reference kernels, 64-bit structures"

    def _plus(self, extra: int) -> int:
        return -(-(self.host_bytes + extra) // _ALIGNMENT) * _ALIGNMENT


def minimum(model: bytes) -> ArenaFigures:
    """Return the figures of a model's arena.

    Raises:
        EnvironmentMissing: tflite-micro is not installed.
        RuntimeFailure: TFLM does not run the model in any arena.
    """
    with tempfile.NamedTemporaryFile(prefix="edgepack-arena-", suffix=".tflite") as file:
        file.write(model)
        file.flush()
        ended = run_worker("arena", str(Path(file.name)), timeout_s=_SECONDS)
    if ended.timed_out:
        raise TimedOut(f"TFLM: no arena found in {_SECONDS:g} s")
    try:
        found = json.loads(ended.stdout)
        host, probes = int(found["arena_bytes"]), int(found["probes"])
    except (ValueError, KeyError, TypeError) as error:
        tail = " ".join(ended.stderr.decode("utf-8", "replace").split())[-200:]
        raise RuntimeFailure(f"TFLM does not run the model: {tail or ended.code}") from error
    graph = read(model)
    return ArenaFigures(
        host_bytes=host,
        probes=probes,
        cmsis_nn_scratch_bytes=_cmsis_nn(graph),
        esp_nn_scratch_bytes=_esp_nn(graph),
        busiest=busiest(graph),
    )


def _cmsis_nn(graph: Graph) -> int:
    """Two columns of halves (arm_convolve_s8_get_buffer_size of CMSIS-NN, DSP)."""
    columns = [
        2 * _HALF_BYTES * op.input(1).size // op.input(1).shape[0]
        for op in graph.ops
        if op.name == "CONV_2D" and op.input(1).shape
    ]
    return max(columns, default=0)


def _esp_nn(graph: Graph) -> int:
    """Picture and weights as halves (esp_nn_get_conv_scratch_size_esp32s3, 2022 release)."""
    layers = [
        2 * (op.input(0).size + op.input(1).size + 8 * op.input(0).shape[-1]) + 32
        for op in graph.ops
        if op.name in {"CONV_2D", "DEPTHWISE_CONV_2D"} and op.input(0).shape
    ]
    return max(layers, default=0)
