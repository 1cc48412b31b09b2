"""A microcontroller's part of a bundle, and its trial: the composition of this package.

``extras`` makes the files, ``trial`` proves them again. C from a bundle is never compiled:
it is made anew from the bundle's model, compared byte for byte, and that is what runs.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Literal

import numpy as np

from edgepack.bundle.archive import Bundle
from edgepack.errors import EdgepackError, EnvironmentMissing, InputError
from edgepack.firmware import goldens, vela
from edgepack.firmware import tflm_arena as arena
from edgepack.firmware.compiler import c99
from edgepack.firmware.compiler.graph import busiest
from edgepack.firmware.compiler.lower.program import Program
from edgepack.firmware.emulator import run as emulate
from edgepack.firmware.emulator import toolchain
from edgepack.firmware.emulator.targets import Target, target_for
from edgepack.firmware.goldens import Goldens
from edgepack.firmware.package.c_sources import c_bundle
from edgepack.firmware.package.tflm_sources import tflm_bundle
from edgepack.gates import firmware as gates
from edgepack.gates.finding import Finding, Outcome
from edgepack.profiles.profile import Profile

FOLDER = "firmware/"
GOLDEN_INPUTS = "golden/inputs.npy"
EMULATED_ROWS = 4
Route = Literal["c", "tflm"]


def identifier(name: str) -> str:
    """Return a model's name as it may stand in C: ``kws-v2.1`` gives ``kws_v2_1``."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40] or "model"
    return plain if plain[0].isalpha() else f"model_{plain}"


def extras(
    model: bytes, profile: Profile, name: str, files: Mapping[str, bytes], *, route: Route
) -> dict[str, bytes]:
    """Return the files under ``firmware/`` for a device: C or TFLM sources, an NPU's model.

    Args:
        files: the bundle's other files; its golden inputs are answered by TFLM.

    Raises:
        UnsupportedModel: an operator, dtype or shape the route does not take.
        EnvironmentMissing: tflite-micro or ethos-u-vela is not installed.
    """
    plain = identifier(name)
    vectors = goldens.answered(model, _golden_inputs(files))
    made: dict[str, bytes] = {}
    if profile.npu is not None:
        compiled = _vela(model, profile)
        made[f"vela/{plain}_{compiled.accelerator.replace('-', '_')}.tflite"] = compiled.model
    made |= _sources(model, profile, plain, vectors, route)
    return {f"{FOLDER}{path}": content for path, content in made.items()}


def _sources(
    model: bytes, profile: Profile, plain: str, vectors: Goldens, route: Route
) -> dict[str, bytes]:
    if route == "c":
        made = c_bundle(c99.compile_model(model), plain, vectors)
    else:
        made = tflm_bundle(
            model,
            plain,
            vectors,
            arena.minimum(model),
            kernels=profile.runtime.kernels,
            features=profile.cpu.features,
        )
    return {f"{route}/{path}": content for path, content in made.items()}


def trial(bundle: Bundle, profile: Profile) -> tuple[Finding, ...]:
    """Return the dynamic findings of a microcontroller bundle on a device."""
    found: tuple[Finding, ...] = ()
    try:
        vectors = goldens.answered(bundle.model, _golden_inputs(bundle.files))
        found += _same_sources(bundle, profile, vectors)
        if profile.npu is not None:
            found += gates.npu(_vela(bundle.model, profile), profile)
        elif any(path.startswith(f"{FOLDER}c/") for path in bundle.files):
            found += trial_c(c99.compile_model(bundle.model), vectors, profile)
        else:
            figures = arena.minimum(bundle.model)
            found += gates.tflm_memory(len(bundle.model), figures, profile)
            found += (gates.open_gate("latency", "counted for C bundles only: --micro c"),)
    except EnvironmentMissing as missing:
        found += (gates.open_gate("firmware", str(missing)),)
    except EdgepackError as error:
        found += (Finding(gate="firmware", verdict=Outcome.FAIL, says=str(error)),)
    return found


def trial_c(program: Program, vectors: Goldens, profile: Profile) -> tuple[Finding, ...]:
    """Return ``goldens_c``, ``arena``, ``flash``, ``stack``, ``instructions``, ``latency``.

    Where a tool is missing the gates that need it are inconclusive, in one line each.
    """
    files = c99.sources(program, "model")
    target = target_for(profile.cpu)
    absent = toolchain.missing((toolchain.ARM_GCC, toolchain.QEMU))
    constants = sum(a.bytes for a in c99.constants(program))
    planned = gates.c_planned(program.arena_bytes, constants, profile, busiest(program.graph))
    if target is None or absent:
        core = profile.cpu.qemu_cpu or profile.cpu.isa
        why = absent or f"{core} has no emulated board; its golden rows ran on this machine"
        return (
            _on_host(program, files, vectors),
            *planned,
            *(gates.open_gate(gate, why) for gate in ("stack", "instructions", "latency")),
        )
    return _on_core(program, files, vectors, profile, target)


def _on_core(
    program: Program,
    files: Mapping[str, bytes],
    vectors: Goldens,
    profile: Profile,
    target: Target,
) -> tuple[Finding, ...]:
    few = vectors.first(EMULATED_ROWS)
    run = emulate.run(files, "model", program.graph, target, few.inputs)
    wrong, where = few.differing(run.outputs), run.target
    checked = few.rows
    if not toolchain.missing((toolchain.HOST_GCC,)):
        mine = emulate.run_on_host(files, "model", program.graph, vectors.inputs)
        wrong += vectors.differing(mine)
        where = f"this machine ({vectors.rows}) and {run.target} ({few.rows})"
        checked = vectors.rows
    return (
        gates.goldens_c(wrong, checked, where),
        *gates.c_memory(run, profile, busiest(program.graph)),
        gates.instructions(run),
        gates.latency(max(run.instructions), profile, run.target),
    )


def _on_host(program: Program, files: Mapping[str, bytes], vectors: Goldens) -> Finding:
    absent = toolchain.missing((toolchain.HOST_GCC,))
    if absent:
        return gates.open_gate("goldens_c", absent)
    mine = emulate.run_on_host(files, "model", program.graph, vectors.inputs)
    return gates.goldens_c(vectors.differing(mine), vectors.rows, "this machine")


def _same_sources(bundle: Bundle, profile: Profile, vectors: Goldens) -> tuple[Finding, ...]:
    """Return whether the bundle's sources are what its model gives, byte for byte."""
    route: Route = "c" if any(p.startswith(f"{FOLDER}c/") for p in bundle.files) else "tflm"
    prefix = f"{FOLDER}{route}/"
    mine = {p: data for p, data in bundle.files.items() if p.startswith(prefix)}
    if not mine:
        return (gates.open_gate("sources", f"the bundle holds no {FOLDER}; build it again"),)
    headers = [p for p in mine if p.endswith("_self_test.h")]
    plain = headers[0].rsplit("/", 1)[1].removesuffix("_self_test.h") if headers else "model"
    fresh = _sources(bundle.model, profile, plain, vectors, route)
    fresh = {f"{FOLDER}{path}": data for path, data in fresh.items()}
    strange = sorted(p for p in mine.keys() | fresh.keys() if mine.get(p) != fresh.get(p))
    says = f"{len(mine)} files are what the model gives"
    if strange:
        says = f"{strange[0]} is not what the model gives with this edgepack; build it again"
    verdict = Outcome.FAIL if strange else Outcome.PASS
    return (Finding(gate="sources", verdict=verdict, says=says),)


def _golden_inputs(files: Mapping[str, bytes]) -> np.ndarray:
    try:
        found = np.load(io.BytesIO(files[GOLDEN_INPUTS]), allow_pickle=False)
        return np.asarray(found)
    except (KeyError, ValueError, EOFError, OSError, TypeError, SyntaxError) as error:
        raise InputError(f"the bundle holds no usable {GOLDEN_INPUTS}") from error


def _vela(model: bytes, profile: Profile) -> vela.Compiled:
    unit = profile.npu
    if unit is None:
        raise InputError(f"{profile.name} has no neural unit")
    return vela.compile_model(model, unit.accelerator, unit.system_config, unit.memory_mode)
