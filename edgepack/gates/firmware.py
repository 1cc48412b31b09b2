"""The firmware gates: what the figures of a microcontroller's model mean on a device; pure."""

from __future__ import annotations

from dataclasses import replace

from edgepack.cost.cortex_m import grounds, milliseconds
from edgepack.gates.finding import Finding, How, Outcome, inconclusive
from edgepack.gates.limits import (
    at_most,
    latency_limit,
    ram_limit,
    range_at_most,
    storage_limit,
)
from edgepack.measurements.firmware_figures import EmulatedRun, TflmArena, VelaResult
from edgepack.profiles.profile import Profile

# Code that TFLM brings besides the model: its documentation names 16 KB for the core on a
# Cortex-M3. No ceiling is published; twice the largest we know of stands for it.
TFLM_CODE_LOW_BYTES = 16_000
TFLM_CODE_HIGH_BYTES = 160_000
# For cores without a compiler here: several times what any model took on a Cortex-M.
STACK_ALLOWANCE_BYTES = 2_048
CODE_ALLOWANCE_BYTES = 32_768
_SMALLER = "a smaller model or a device with more memory"
_CROSS_COMPILER = "a machine with a cross compiler (gcc-arm-none-eabi) decides"


def _remedy(busiest: str) -> str:
    return f"{busiest}; {_SMALLER}" if busiest else _SMALLER


def goldens_c(wrong: int, rows: int, where: str) -> Finding:
    """The C gives TFLM's bits."""
    says = f"{rows} golden rows bit for bit as TFLM answers them, on {where}"
    if wrong:
        says = f"{wrong} values of {rows} golden rows differ from TFLM's, on {where};"
        says += (
            " build it for TFLM (edgepack build MODEL.keras --data DATA --profile P"
            " --micro tflm), and report this"
        )
    return _no_value_wrong("goldens_c", wrong, says)


def goldens_tflm(wrong: int, rows: int) -> Finding:
    """TFLM's reference kernels give the golden answers, bit for bit."""
    says = f"{rows} golden rows bit for bit under TFLM's reference kernels on this machine"
    if wrong:
        says = f"{wrong} values of {rows} golden rows differ under TFLM's reference kernels;"
        says += " this is not what was tested: build it again where tflite-micro is installed"
    return _no_value_wrong("goldens_tflm", wrong, says)


def goldens_npu(accelerator: str) -> Finding:
    """The compiled model gives the golden answers: not known, for nothing here runs it."""
    return inconclusive(
        "goldens_npu",
        f"no {accelerator} on this machine, so the model that Vela compiled was not run: run"
        " firmware/vela/ on the board, or on Arm's Corstone FVP, with golden/inputs.npy and"
        " compare with golden/outputs.npy",
    )


def _no_value_wrong(gate: str, wrong: int, says: str) -> Finding:
    return Finding(
        gate=gate, verdict=Outcome.FAIL if wrong else Outcome.PASS, how=How.EMULATED,
        value=wrong, limit=0, unit="values", says=says,
    )  # fmt: skip


def tflm_memory(model_bytes: int, arena: TflmArena, profile: Profile) -> tuple[Finding, ...]:
    """Return ``arena`` and ``flash`` of a model under TFLM."""
    low, high = model_bytes + TFLM_CODE_LOW_BYTES, model_bytes + TFLM_CODE_HIGH_BYTES
    return (
        at_most(
            "arena", arena.needed_bytes, ram_limit(profile), "B",
            how=How.ESTIMATED if arena.estimated else How.EMULATED,
            what=f"TFLM arena ({arena.basis})", remedy=_remedy(arena.busiest),
        ),
        range_at_most(
            "flash", low, high, storage_limit(profile), "B", how=How.ESTIMATED, value=low,
            says=f"model array {model_bytes:,} B and an interpreter of 16 to 160 kB:"
            f" {low:,} to {high:,} B",
            decide="the size of your firmware decides", remedy=_SMALLER,
        ),
    )  # fmt: skip


def c_memory(run: EmulatedRun, profile: Profile, busiest: str = "") -> tuple[Finding, ...]:
    """Return ``arena``, ``flash`` and ``stack`` of a compiled model, from what was run."""
    ram = run.sizes.ram_bytes + run.stack_bytes
    return (
        at_most(
            "arena", ram, ram_limit(profile), "B", how=How.EMULATED,
            what=f"arena {run.sizes.ram_bytes:,} B and stack {run.stack_bytes:,} B,",
            remedy=_remedy(busiest),
        ),
        at_most(
            "flash", run.flash_bytes, storage_limit(profile), "B", how=How.EMULATED,
            what=f"code and constants ({run.compiler})", remedy=_SMALLER,
        ),
        Finding(
            gate="stack", verdict=Outcome.PASS, how=How.EMULATED, value=run.stack_bytes,
            unit="B", says=f"{run.stack_bytes:,} B at most in one inference on {run.target}",
        ),
    )  # fmt: skip


def c_planned(
    arena_bytes: int, constant_bytes: int, profile: Profile, busiest: str = ""
) -> tuple[Finding, ...]:
    """Return ``arena`` and ``flash`` of a compiled model that no compiler here builds.

    The plan is exact for arena and constants; stack and code get a generous allowance.
    """
    return (
        range_at_most(
            "arena", arena_bytes, arena_bytes + STACK_ALLOWANCE_BYTES, ram_limit(profile), "B",
            how=How.PLANNED, value=arena_bytes, remedy=_remedy(busiest),
            says=f"{arena_bytes:,} B planned and up to {STACK_ALLOWANCE_BYTES:,} B of stack",
            decide=_CROSS_COMPILER,
        ),
        range_at_most(
            "flash", constant_bytes, constant_bytes + CODE_ALLOWANCE_BYTES,
            storage_limit(profile), "B", how=How.PLANNED, value=constant_bytes,
            says=f"{constant_bytes:,} B planned and up to {CODE_ALLOWANCE_BYTES:,} B of code",
            decide=_CROSS_COMPILER, remedy=_SMALLER,
        ),
    )  # fmt: skip


def instructions(run: EmulatedRun) -> Finding:
    """How many instructions an inference takes; a figure, not a limit."""
    most = max(run.instructions)
    return Finding(
        gate="instructions", verdict=Outcome.PASS, how=How.EMULATED, value=most,
        unit="instructions", says=f"{most:,} instructions an inference on {run.target}",
    )  # fmt: skip


def latency(run: EmulatedRun, profile: Profile) -> Finding:
    """The estimated milliseconds are within the profile's; INCONCLUSIVE across it."""
    most = max(run.instructions)
    found = milliseconds(most, run.kinds, profile)
    if isinstance(found, str):
        return inconclusive("latency", f"{found}; measure it on the board")
    says = (
        f"{found.low_ms:.3g} to {found.high_ms:.3g} ms"
        f" ({most:,} instructions {grounds(run.kinds, profile, run.target)})"
    )
    finding = _time(found.low_ms, found.high_ms, profile, says)
    if finding.verdict is Outcome.PASS and profile.cpu.flash_wait_states is None:
        # the most is not the most: nothing says how long the flash takes
        says = f"{finding.says}; set [cpu.flash_wait_states] in a profile of your own"
        return replace(finding, verdict=Outcome.INCONCLUSIVE, says=says)
    return finding


def _time(low_ms: float, high_ms: float, profile: Profile, says: str) -> Finding:
    return range_at_most(
        "latency", low_ms, high_ms, latency_limit(profile), "ms", how=How.ESTIMATED,
        value=round(high_ms, 3), says=says, decide="measure it on the board", remedy=_SMALLER,
    )  # fmt: skip


def npu(made: VelaResult, profile: Profile) -> tuple[Finding, ...]:
    """Return ``arena``, ``flash``, ``cpu_fallback`` and ``latency`` of a model for an NPU."""
    return (
        at_most(
            "arena", made.sram_bytes, ram_limit(profile), "B", how=How.PLANNED,
            what=f"feature maps in SRAM (Vela {made.version}, {made.memory_mode})",
            remedy=_SMALLER,
        ),
        at_most(
            "flash", len(made.model), storage_limit(profile), "B", how=How.PLANNED,
            what=f"compiled model (weights {made.weight_bytes:,} B encoded)", remedy=_SMALLER,
        ),
        _cpu_fallback(made, profile),
        _npu_latency(made, profile),
    )  # fmt: skip


def _cpu_fallback(made: VelaResult, profile: Profile) -> Finding:
    required = any(d.name == made.accelerator and d.required for d in profile.delegates)
    count = len(made.cpu_operators)
    verdict, says = Outcome.PASS, f"all {made.npu_operators} operators on {made.accelerator}"
    if count:
        verdict = Outcome.FAIL if required else Outcome.INCONCLUSIVE
        says = f"{count} operators stay on the CPU: {'; '.join(made.cpu_operators[:4])}"
        says += "; export with int8 input and output, or replace them"
    return Finding(
        gate="cpu_fallback", verdict=verdict, how=How.PLANNED, value=count,
        limit=0 if required else None, unit="operators", says=says,
    )  # fmt: skip


def _npu_latency(made: VelaResult, profile: Profile) -> Finding:
    if made.cpu_operators:
        says = "Vela counts nothing for operators on the CPU: replace them (cpu_fallback)"
        return inconclusive("latency", says)
    clock_mhz = made.core_clock_mhz
    if profile.npu is not None and profile.npu.clock_mhz is not None:
        clock_mhz = profile.npu.clock_mhz
    value = made.cycles / clock_mhz / 1e3
    says = f"{made.cycles:,} cycles, {value:.3f} ms at {clock_mhz:g} MHz by Vela's model"
    return _time(value, value, profile, says)
