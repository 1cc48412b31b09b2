"""What the figures of a microcontroller bundle mean on a device: pure findings."""

from __future__ import annotations

from edgepack.cost.microcontroller import Range, grounds, milliseconds
from edgepack.firmware.emulator.run import Emulation
from edgepack.firmware.tflm_arena import ArenaFigures
from edgepack.firmware.vela import Compiled
from edgepack.gates.finding import Finding, How, Outcome
from edgepack.gates.limits import at_most
from edgepack.profiles.profile import Profile

# Code that TFLM brings besides the model: its documentation names 16 KB for the core on a
# Cortex-M3. No ceiling is published; twice the largest we know of stands for it.
TFLM_CODE_LOW_BYTES = 16_000
TFLM_CODE_HIGH_BYTES = 160_000
# For cores without a compiler here: several times what any model took on a Cortex-M.
STACK_ALLOWANCE_BYTES = 2_048
CODE_ALLOWANCE_BYTES = 32_768
_SMALLER = "a smaller model or a device with more memory"


def ram_limit(profile: Profile) -> int | None:
    """Return what a model may take of the RAM, None where no source says."""
    budget = profile.ram.budget or profile.ram.total
    return None if budget is None else budget.value


def flash_limit(profile: Profile) -> int | None:
    """Return what a model may take of the flash, None where no source says."""
    budget = profile.storage.budget or profile.storage.total
    return None if budget is None else budget.value


def _remedy(busiest: str) -> str:
    return f"{busiest}; {_SMALLER}" if busiest else _SMALLER


def open_gate(gate: str, says: str) -> Finding:
    """Return a finding that answers nothing, and why."""
    return Finding(gate=gate, verdict=Outcome.INCONCLUSIVE, says=says)


def tflm_memory(model_bytes: int, arena: ArenaFigures, profile: Profile) -> tuple[Finding, ...]:
    """Return ``arena`` and ``flash`` of a model under TFLM."""
    needed, how, says = arena.needed(profile.runtime.kernels, profile.cpu.features)
    ram = at_most(
        "arena", needed, ram_limit(profile), "B",
        how=how, what=f"TFLM arena ({says})", remedy=_remedy(arena.busiest),
    )  # fmt: skip
    return ram, _tflm_flash(model_bytes, flash_limit(profile))


def _tflm_flash(model_bytes: int, limit: int | None) -> Finding:
    low, high = model_bytes + TFLM_CODE_LOW_BYTES, model_bytes + TFLM_CODE_HIGH_BYTES
    says = f"model array {model_bytes:,} B and an interpreter of 16 to 160 kB"
    if limit is None:
        says = f"{says}; the profile names no limit: set it in one of your own"
        verdict = Outcome.INCONCLUSIVE
    elif high <= limit:
        verdict, says = Outcome.PASS, f"{says}, of {limit:,} B"
    elif low > limit:
        verdict, says = Outcome.FAIL, f"{says}, of {limit:,} B; {_SMALLER}"
    else:
        verdict, says = Outcome.INCONCLUSIVE, f"{says}, of {limit:,} B: depends on the build"
    return Finding(
        gate="flash", verdict=verdict, how=How.ESTIMATED, value=low, limit=limit, unit="B",
        says=says,
    )  # fmt: skip


def c_memory(run: Emulation, profile: Profile, busiest: str = "") -> tuple[Finding, ...]:
    """Return ``arena``, ``flash`` and ``stack`` of a compiled model, from what was run."""
    ram = run.sizes.ram_bytes + run.stack_bytes
    return (
        at_most(
            "arena", ram, ram_limit(profile), "B", how=How.EMULATED,
            what=f"arena {run.sizes.ram_bytes:,} B and stack {run.stack_bytes:,} B,",
            remedy=_remedy(busiest),
        ),
        at_most(
            "flash", run.flash_bytes, flash_limit(profile), "B", how=How.EMULATED,
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
        _planned(
            "arena", arena_bytes, STACK_ALLOWANCE_BYTES, ram_limit(profile),
            what="stack", remedy=_remedy(busiest),
        ),
        _planned(
            "flash", constant_bytes, CODE_ALLOWANCE_BYTES, flash_limit(profile),
            what="code", remedy=_SMALLER,
        ),
    )  # fmt: skip


def _planned(
    gate: str, value: int, allowance: int, limit: int | None, *, what: str, remedy: str
) -> Finding:
    says = f"{value:,} B planned and {allowance:,} B allowed for {what}"
    if limit is None:
        says = f"{says}; the profile names no limit: set [latency.p90_ms] in one of your own"
        verdict = Outcome.INCONCLUSIVE
    elif value + allowance <= limit:
        verdict, says = Outcome.PASS, f"{says}, of {limit:,} B"
    elif value > limit:
        verdict, says = Outcome.FAIL, f"{says}, of {limit:,} B; {remedy}"
    else:
        says = f"{says}, of {limit:,} B: build it where gcc-arm-none-eabi is, which measures it"
        verdict = Outcome.INCONCLUSIVE
    return Finding(
        gate=gate, verdict=verdict, how=How.PLANNED, value=value, limit=limit, unit="B",
        says=says,
    )  # fmt: skip


def goldens_c(wrong: int, rows: int, where: str) -> Finding:
    """Return whether the C gave TFLM's bits."""
    says = f"{rows} golden rows bit for bit as TFLM answers them, on {where}"
    if wrong:
        says = f"{wrong} values of {rows} golden rows differ from TFLM's, on {where};"
        says += " build it with --micro tflm instead, and report this"
    return Finding(
        gate="goldens_c", verdict=Outcome.FAIL if wrong else Outcome.PASS, how=How.EMULATED,
        value=wrong, limit=0, unit="values", says=says,
    )  # fmt: skip


def instructions(run: Emulation) -> Finding:
    """Return how many instructions an inference takes; a figure, not a limit."""
    most = max(run.instructions)
    return Finding(
        gate="instructions", verdict=Outcome.PASS, how=How.EMULATED, value=most,
        unit="instructions", says=f"{most:,} instructions an inference on {run.target}",
    )  # fmt: skip


def latency(most_instructions: int, profile: Profile, counted_on: str) -> Finding:
    """Return the estimated milliseconds against the profile's; INCONCLUSIVE across it.

    Args:
        counted_on: the emulated core whose instructions these are.
    """
    found = milliseconds(most_instructions, profile)
    if isinstance(found, str):
        return open_gate("latency", f"{found}; measure it on the board")
    limit = profile.latency.p90_ms.value if profile.latency.p90_ms else None
    says = (
        f"{found.low_ms:.1f} to {found.high_ms:.1f} ms"
        f" ({most_instructions:,} instructions {grounds(profile, counted_on)})"
    )
    return _time("latency", found, limit, says)


def _time(gate: str, found: Range, limit: float | None, says: str) -> Finding:
    if limit is None:
        verdict, says = (
            Outcome.INCONCLUSIVE,
            f"{says}; the profile names no limit: set [latency.p90_ms]",
        )
    elif found.high_ms <= limit:
        verdict, says = Outcome.PASS, f"{says}, of {limit:g} ms"
    elif found.low_ms > limit:
        verdict, says = Outcome.FAIL, f"{says}, of {limit:g} ms; {_SMALLER}"
    else:
        says = f"{says}: {limit:g} ms lies within; measure it on the board"
        verdict = Outcome.INCONCLUSIVE
    return Finding(
        gate=gate, verdict=verdict, how=How.ESTIMATED, value=round(found.high_ms, 3),
        limit=limit, unit="ms", says=says,
    )  # fmt: skip


def npu(made: Compiled, profile: Profile) -> tuple[Finding, ...]:
    """Return ``arena``, ``flash``, ``cpu_fallback`` and ``latency`` of a model for an NPU."""
    sram = at_most(
        "arena", made.sram_bytes, ram_limit(profile), "B", how=How.PLANNED,
        what=f"feature maps in SRAM (Vela {made.version}, {made.memory_mode})", remedy=_SMALLER,
    )  # fmt: skip
    flash = at_most(
        "flash", len(made.model), flash_limit(profile), "B", how=How.PLANNED,
        what=f"compiled model (weights {made.weight_bytes:,} B encoded)", remedy=_SMALLER,
    )  # fmt: skip
    return sram, flash, _fallback(made, profile), _npu_latency(made, profile)


def _fallback(made: Compiled, profile: Profile) -> Finding:
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


def _npu_latency(made: Compiled, profile: Profile) -> Finding:
    if made.cpu_operators:
        says = "Vela counts nothing for operators on the CPU: replace them (cpu_fallback)"
        return open_gate("latency", says)
    clock_mhz = made.core_clock_mhz
    if profile.npu is not None and profile.npu.clock_mhz is not None:
        clock_mhz = profile.npu.clock_mhz
    value = made.cycles / clock_mhz / 1e3
    limit = profile.latency.p90_ms.value if profile.latency.p90_ms else None
    says = f"{made.cycles:,} cycles, {value:.3f} ms at {clock_mhz:g} MHz by Vela's model"
    return _time("latency", Range(value, value), limit, says)
