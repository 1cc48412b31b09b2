"""A microcontroller's files in a bundle, and the bench that proves them in an emulator.

``firmware_files`` makes the files, ``bench_firmware`` proves them again. C from a bundle is
never compiled: it is made anew from the bundle's model, compared byte for byte, and run.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from edgepack.errors import EdgepackError, InputError
from edgepack.firmware import goldens, tflm_arena, vela
from edgepack.firmware.compiler import c99
from edgepack.firmware.compiler.lower.program import Program
from edgepack.firmware.emulator import run as emulate
from edgepack.firmware.emulator import toolchain
from edgepack.firmware.emulator.targets import EmulatedTarget, target_for
from edgepack.firmware.goldens import GoldenVectors
from edgepack.firmware.package.c_sources import c_bundle
from edgepack.firmware.package.tflm_sources import tflm_bundle
from edgepack.gates import firmware
from edgepack.gates.expected import (
    FIRMWARE,
    FIRMWARE_FOLDER,
    Route,
    complete,
    dynamic_gates,
    route_of,
)
from edgepack.gates.finding import Finding, Outcome, Verdict, inconclusive, unanswered
from edgepack.measurements.firmware_figures import VelaResult
from edgepack.npy import NotPlainError, read_npy
from edgepack.profiles.profile import Profile
from edgepack.tflite.liveness import busiest_operator

GOLDEN_INPUTS, GOLDEN_OUTPUTS = "golden/inputs.npy", "golden/outputs.npy"
EMULATED_ROWS = 4
_VELA_FOLDER = "vela/"
_COUNTED_IN_C = "counted for C only (--micro c); measure it on the board"


def identifier(name: str) -> str:
    """Return a model's name as it may stand in C: ``kws-v2.1`` gives ``kws_v2_1``."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40] or "model"
    return plain if plain[0].isalpha() else f"model_{plain}"


def firmware_files(
    model: bytes, profile: Profile, name: str, files: Mapping[str, bytes], *, route: Route
) -> dict[str, bytes]:
    """Return the files under ``firmware/`` for a device: C or TFLM sources, an NPU's model.

    Args:
        files: the bundle's other files; its golden inputs are answered by TFLM.

    Raises:
        UnsupportedModel: an operator, dtype or shape the route does not take.
        EnvironmentMissing: tflite-micro or ethos-u-vela is not installed.
        RuntimeFailure: TFLM or Vela refused the model, crashed or hung.
    """
    plain = identifier(name)
    vectors = _answered(model, files.get(GOLDEN_INPUTS, b""))
    made: dict[str, bytes] = {}
    if profile.npu is not None:
        compiled = _vela(model, profile)
        made[_vela_path(plain, compiled)] = compiled.model
    if route == "c":  # a board that follows another is given the same files
        made |= _c_sources(model, plain, vectors)
    else:
        made |= _sources(model, profile, plain, vectors, route)
    return {f"{FIRMWARE_FOLDER}{path}": content for path, content in made.items()}


@lru_cache(maxsize=2)
def _answered(model: bytes, inputs_npy: bytes) -> GoldenVectors:
    """Return TFLM's answers to golden inputs, which are the same for every board."""
    return goldens.golden_vectors(model, _array({GOLDEN_INPUTS: inputs_npy}, GOLDEN_INPUTS))


@lru_cache(maxsize=2)
def _c_sources(model: bytes, plain: str, vectors: GoldenVectors) -> Mapping[str, bytes]:
    """Return the C of a model: it depends on no device, only on what is given here.

    For making a bundle only: ``bench_firmware`` proves one by making the sources anew.
    """
    made = c_bundle(c99.compile_model(model), plain, vectors)
    return {f"c/{path}": content for path, content in made.items()}


def _vela_path(plain: str, compiled: VelaResult) -> str:
    return f"{_VELA_FOLDER}{plain}_{compiled.accelerator.replace('-', '_')}.tflite"


def _sources(
    model: bytes, profile: Profile, plain: str, vectors: GoldenVectors, route: Route
) -> dict[str, bytes]:
    if route == "c":
        made = c_bundle(c99.compile_model(model), plain, vectors)
    else:
        made = tflm_bundle(model, plain, vectors, tflm_arena.arena_for(model, profile))
    return {f"{route}/{path}": content for path, content in made.items()}


def bench_firmware(
    model: bytes, files: Mapping[str, bytes], profile: Profile
) -> tuple[Finding, ...]:
    """Return the dynamic findings of a model and the firmware in its bundle, on a device.

    It raises nothing about the model or the tools: what a tool refuses fails the gates that
    need it, and what is absent or hangs leaves them inconclusive.

    Args:
        files: the bundle's other files: its goldens and what lies under ``firmware/``.
    """
    route = route_of(files)
    kind = "npu" if profile.npu is not None else route or "tflm"
    asked = dynamic_gates(profile, route or "tflm")
    oracle = "goldens_c" if kind == "c" else "goldens_tflm"
    answers: list[GoldenVectors] = []

    def answered() -> tuple[Finding, ...]:
        answers.append(goldens.golden_vectors(model, _array(files, GOLDEN_INPUTS)))
        if kind == "c":
            return ()  # its goldens are asked of the C itself
        wrong = _differing(answers[0].outputs[0], _array(files, GOLDEN_OUTPUTS))
        return (firmware.goldens_tflm(wrong, answers[0].rows),)

    found = _answers(answered, (oracle,))
    if profile.npu is not None:
        found += (firmware.goldens_npu(profile.npu.accelerator),)
    if not answers:
        says = f"needs TFLM's answers to the goldens, which are not there ({oracle})"
        return complete(Verdict(found), asked, says).findings
    vectors = answers[0]
    compiled: list[VelaResult] = []

    def on_the_npu() -> tuple[Finding, ...]:
        compiled.append(_vela(model, profile))
        return firmware.npu(compiled[0], profile)

    if kind == "npu":
        found += _answers(on_the_npu, ("arena", "flash", "cpu_fallback", "latency"))
    elif kind == "c":
        rest = tuple(gate for gate in asked if gate != "sources")
        found += _answers(lambda: bench_c(c99.compile_model(model), vectors, profile), rest)
    else:
        found += _answers(lambda: _tflm_memory(model, profile), ("arena", "flash"))
        found += (inconclusive("latency", _COUNTED_IN_C),)
    found += _answers(
        lambda: _same_sources(model, files, profile, vectors, *compiled), ("sources",)
    )
    order = {gate: place for place, gate in enumerate(asked)}
    return tuple(sorted(found, key=lambda finding: order.get(finding.gate, len(order))))


def _answers(
    question: Callable[[], tuple[Finding, ...]], asked: tuple[str, ...]
) -> tuple[Finding, ...]:
    """Return what a question finds, or why the gates it answers are not (``unanswered``)."""
    try:
        return question()
    except (EdgepackError, OSError, MemoryError) as error:
        return tuple(unanswered(gate, error) for gate in asked)


def bench_c(program: Program, vectors: GoldenVectors, profile: Profile) -> tuple[Finding, ...]:
    """Return ``goldens_c``, ``arena``, ``flash``, ``stack``, ``instructions``, ``latency``.

    Where a tool is missing or fails the gates that need it are not answered, in one line each.
    """
    files = c99.sources(program, "model")
    target = target_for(profile.cpu)
    absent = toolchain.missing((toolchain.ARM_GCC, toolchain.QEMU))
    constants = sum(a.bytes for a in c99.constants(program))
    if target is not None and not absent:
        on_core = tuple(gate for gate in FIRMWARE["c"] if gate != "sources")
        return _answers(lambda: _on_core(program, files, vectors, profile, target), on_core)
    core = profile.cpu.qemu_cpu or profile.cpu.isa
    why = absent or (
        f"{core} has no emulated board, its golden rows ran on this machine;"
        " measure it on the board"
    )
    return (
        *_answers(lambda: (_on_host(program, files, vectors),), ("goldens_c",)),
        *firmware.c_planned(
            program.arena_bytes, constants, profile, busiest_operator(program.facts)
        ),
        *(inconclusive(gate, why) for gate in ("stack", "instructions", "latency")),
    )


def _on_core(
    program: Program,
    files: Mapping[str, bytes],
    vectors: GoldenVectors,
    profile: Profile,
    target: EmulatedTarget,
) -> tuple[Finding, ...]:
    few = vectors.first(EMULATED_ROWS)
    run = emulate.run(files, "model", program.facts, target, few.inputs)
    wrong, where = few.differing(run.outputs), run.target
    checked = few.rows
    if not toolchain.missing((toolchain.HOST_GCC,)):
        mine = emulate.run_on_host(files, "model", program.facts, vectors.inputs)
        wrong += vectors.differing(mine)
        where = f"this machine ({vectors.rows}) and {run.target} ({few.rows})"
        checked = vectors.rows
    return (
        firmware.goldens_c(wrong, checked, where),
        *firmware.c_memory(run, profile, busiest_operator(program.facts)),
        firmware.instructions(run),
        firmware.latency(run, profile),
    )


def _on_host(program: Program, files: Mapping[str, bytes], vectors: GoldenVectors) -> Finding:
    absent = toolchain.missing((toolchain.HOST_GCC,))
    if absent:
        return inconclusive("goldens_c", absent)
    mine = emulate.run_on_host(files, "model", program.facts, vectors.inputs)
    return firmware.goldens_c(vectors.differing(mine), vectors.rows, "this machine")


def _tflm_memory(model: bytes, profile: Profile) -> tuple[Finding, ...]:
    return firmware.tflm_memory(len(model), tflm_arena.arena_for(model, profile), profile)


def _same_sources(
    model: bytes,
    files: Mapping[str, bytes],
    profile: Profile,
    vectors: GoldenVectors,
    compiled: VelaResult | None = None,
) -> tuple[Finding, ...]:
    """Return whether the bundle's firmware is what its model gives, byte for byte.

    Args:
        compiled: what Vela makes of the model; None leaves the bundle's own uncompared.
    """
    route = route_of(files)
    if route is None:
        says = f"the bundle holds no {FIRMWARE_FOLDER}; make it again from its model"
        return (inconclusive("sources", says),)
    folders = (f"{route}/", *(() if compiled is None else (_VELA_FOLDER,)))
    ours = tuple(f"{FIRMWARE_FOLDER}{folder}" for folder in folders)
    mine = {path: data for path, data in files.items() if path.startswith(ours)}
    headers = [p for p in mine if p.endswith("_self_test.h")]
    plain = headers[0].rsplit("/", 1)[1].removesuffix("_self_test.h") if headers else "model"
    fresh = _sources(model, profile, plain, vectors, route)
    if compiled is not None:
        fresh[_vela_path(plain, compiled)] = compiled.model
    fresh = {f"{FIRMWARE_FOLDER}{path}": data for path, data in fresh.items()}
    strange = sorted(p for p in mine.keys() | fresh.keys() if mine.get(p) != fresh.get(p))
    says = f"{len(mine)} files are what the model gives"
    if strange:
        says = f"{strange[0]} is not what the model gives with this edgepack; build it again"
    verdict = Outcome.FAIL if strange else Outcome.PASS
    return (Finding(gate="sources", verdict=verdict, says=says),)


def _array(files: Mapping[str, bytes], name: str) -> NDArray[Any]:
    try:
        return read_npy(io.BytesIO(files[name]), len(files[name]))
    except (KeyError, NotPlainError) as error:
        raise InputError(f"the bundle holds no usable {name} ({error})") from error


def _differing(got: NDArray[Any], wanted: NDArray[Any]) -> int:
    """Return how many values differ; all of them where shape or dtype does."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return max(wanted.size, 1)
    return int((got != wanted).sum())


def _vela(model: bytes, profile: Profile) -> VelaResult:
    unit = profile.npu
    if unit is None:
        raise InputError(f"{profile.name} has no NPU")
    return vela.compile_model(model, unit.accelerator, unit.system_config, unit.memory_mode)
