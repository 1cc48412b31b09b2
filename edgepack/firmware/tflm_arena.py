"""How much RAM TFLM needs for a model on a device: what is planned, and what was tried.

The arena is planned from the file for the device's kernels. Besides, the smallest one that
works is found by trying sizes on this 64-bit machine, with reference kernels: what firmware
ships is below neither.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgepack.errors import RuntimeFailure, TimedOut
from edgepack.inference.tflm import run_worker
from edgepack.measurements.firmware_figures import TflmArena
from edgepack.planning.arena import align
from edgepack.planning.peak import plan_memory
from edgepack.planning.tflm import ALIGNMENT
from edgepack.profiles.profile import Profile
from edgepack.tflite.flatbuffer import read
from edgepack.tflite.liveness import busiest_operator

_SECONDS = 300.0
_VENDORS = {"cmsis-nn": "CMSIS-NN", "esp-nn": "ESP-NN"}


@dataclass(frozen=True, slots=True)
class HostMinimum:
    """The smallest arena that gave the right answer on this machine, reference kernels.

    Attributes:
        probes: how many sizes were tried.
    """

    arena_bytes: int
    probes: int


def minimum(model: bytes) -> HostMinimum:
    """Return the smallest arena in which TFLM runs a model here.

    Raises:
        EnvironmentMissing: tflite-micro is not installed.
        RuntimeFailure: TFLM does not run the model in any arena.
        TimedOut: the search took too long.
    """
    with tempfile.NamedTemporaryFile(prefix="edgepack-arena-", suffix=".tflite") as file:
        file.write(model)
        file.flush()
        ended = run_worker("arena", str(Path(file.name)), timeout_s=_SECONDS)
    if ended.timed_out:
        raise TimedOut(f"TFLM: no arena found for the model in {_SECONDS:g} s")
    try:
        found = json.loads(ended.stdout)
        return HostMinimum(int(found["arena_bytes"]), int(found["probes"]))
    except (ValueError, KeyError, TypeError) as error:
        tail = " ".join(ended.stderr.decode("utf-8", "replace").split())[-200:]
        raise RuntimeFailure(f"TFLM does not run the model: {tail or ended.code}") from error


def arena_for(model: bytes, profile: Profile) -> TflmArena:
    """Return the arena to reserve for a model with a device's kernels.

    Raises:
        As ``minimum``.
    """
    return reserved(model, profile, minimum(model))


def reserved(model: bytes, profile: Profile, tried: HostMinimum) -> TflmArena:
    """Return the larger of what is planned for a device and what was needed here."""
    facts = read(model)
    planned = plan_memory(facts, profile).total
    needed = align(max(planned, tried.arena_bytes), ALIGNMENT)
    kernels = _VENDORS.get(profile.runtime.kernels, "reference")
    basis = (
        f"smallest of {tried.probes} sizes tried on a 64-bit host with reference kernels:"
        f" {tried.arena_bytes:,} B"
    )
    if planned > tried.arena_bytes:
        basis = f"planned for {kernels} kernels; {basis}"
    return TflmArena(
        needed_bytes=needed,
        estimated=planned > tried.arena_bytes,
        basis=basis,
        busiest=busiest_operator(facts),
    )
