"""A compiled model run on this machine or on an emulated core: outputs, counts, sizes.

Only sources that this program has just generated are compiled and run: a bundle's own C is
compared with them, never executed, because semihosting gives firmware the host's files.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgepack.cost import cortex_m
from edgepack.errors import EnvironmentMissing, RuntimeFailure, TimedOut
from edgepack.firmware.emulator import elf, toolchain
from edgepack.firmware.emulator.harness_glue import ModelArrays, arrays_of, rows_of, write
from edgepack.firmware.emulator.targets import EmulatedTarget
from edgepack.firmware.emulator.toolchain import CrossCompiler
from edgepack.measurements.firmware_figures import EmulatedRun
from edgepack.tflite.facts import Facts

OPTIMIZATION = "-O2"
STACK_BYTES = 16 << 10
_RUN_SECONDS = 300.0
_WATCHED = "blocks.txt"
_WARNINGS = ("-Wall", "-Wextra", "-Werror")
_MODEL_FLAGS = ("-std=c99", OPTIMIZATION, "-ffunction-sections", "-fdata-sections", *_WARNINGS)


def run(
    files: Mapping[str, bytes],
    name: str,
    facts: Facts,
    target: EmulatedTarget,
    inputs: ModelArrays,
) -> EmulatedRun:
    """Return what the emulated core computes from rows of inputs.

    Args:
        files: the sources of ``c99.sources``, just generated.
        inputs: ``(N, *shape)``, or one array for each input of the model.

    Raises:
        EnvironmentMissing: no cross compiler or no emulator on this machine.
        RuntimeFailure: the model does not fit the emulated board, or the run failed.
    """
    rows = rows_of(facts, inputs)
    toolchain.find(toolchain.QEMU)
    compiler = toolchain.cross_compiler()
    if compiler is None:
        raise EnvironmentMissing(toolchain.missing((toolchain.ARM_GCC,)))
    with tempfile.TemporaryDirectory(prefix="edgepack-mcu-") as place:
        folder = Path(place)
        write(folder, files, name, facts)
        program, model = _link(folder, name, target, compiler)
        (folder / "vectors.bin").write_bytes(
            struct.pack("<4I", len(rows), 0, 0, 0) + b"".join(rows)
        )
        watch = _watcher(folder)
        most = 4096 + len(rows) * (64 + 3 * sum(t.nbytes + 8 for t in facts.outputs))
        ended = toolchain.run(
            [*_qemu(folder, target), *watch], timeout_s=_RUN_SECONDS, max_bytes=most
        )
        watched = (folder / _WATCHED).read_text() if (folder / _WATCHED).exists() else ""
    if ended.timed_out:
        raise TimedOut(f"{target.name}: still running after {_RUN_SECONDS:g} s")
    text = (ended.stdout + ended.stderr).decode("ascii", "replace")
    runs = [line.split()[1:] for line in text.splitlines() if line.startswith("run ")]
    if "done" not in text or len(runs) != len(rows):
        last = " ".join(text.split())[-200:]
        raise RuntimeFailure(f"{target.name}: {len(runs)} of {len(rows)} inferences: {last}")
    return EmulatedRun(
        target=target.name,
        compiler=compiler.name,
        outputs=arrays_of(facts, [_words(run[2:]) for run in runs]),
        instructions=tuple(target.board.instructions(int(run[0], 16)) for run in runs),
        stack_bytes=max((int(run[1], 16) for run in runs), default=0),
        sizes=model.sizes,
        library_bytes=sum(program.symbols.get(symbol, 0) for symbol in model.undefined),
        kinds=cortex_m.kinds(_blocks(watched, _functions(program, model))),
    )


def run_on_host(
    files: Mapping[str, bytes],
    name: str,
    facts: Facts,
    inputs: ModelArrays,
    *,
    flags: tuple[str, ...] = (),
) -> tuple[NDArray[Any], ...]:
    """Return what the portable kernels compute on this machine, one array an output.

    Raises:
        EnvironmentMissing: no C compiler on this machine.
        RuntimeFailure: it did not compile, or the run failed.
    """
    rows = rows_of(facts, inputs)
    compiler = toolchain.host_compiler()
    if compiler is None:
        raise EnvironmentMissing(toolchain.missing((toolchain.HOST_GCC,)))
    size = sum(t.nbytes for t in facts.outputs)
    with tempfile.TemporaryDirectory(prefix="edgepack-c-") as place:
        folder = Path(place)
        write(folder, files, name, facts)
        data, program = folder / "rows.bin", folder / "model"
        data.write_bytes(b"".join(rows))
        sources = [str(folder / f"{name}.c"), str(folder / "host.c")]
        arguments = ["-std=c99", OPTIMIZATION, *_WARNINGS, *flags, *sources]
        toolchain.compile_c(compiler, [*arguments, "-o", str(program)], folder)
        ended = toolchain.run(
            [str(program), str(data)], timeout_s=_RUN_SECONDS, max_bytes=size * len(rows) + 1
        )
    if ended.timed_out:
        raise TimedOut(f"this machine: still running after {_RUN_SECONDS:g} s")
    if ended.code != 0 or len(ended.stdout) != size * len(rows):
        tail = " ".join(ended.stderr.decode("utf-8", "replace").split())[:300]
        raise RuntimeFailure(f"the compiled model ended with code {ended.code}: {tail}")
    return arrays_of(facts, [ended.stdout[i * size :][:size] for i in range(len(rows))])


def _watcher(folder: Path) -> tuple[str, ...]:
    """Return the emulator's options that tell what was executed; none without a compiler.

    It counts at block ends and changes no instruction and no count.
    """
    compiler = toolchain.host_compiler()
    if compiler is None:
        return ()
    source, plugin = folder / "blocks.c", folder / "blocks.so"
    source.write_text(_harness("blocks.c"))
    options = ("-O2", "-shared", "-fPIC", "-fvisibility=hidden")
    toolchain.compile_c(compiler, [*options, str(source), "-o", str(plugin)], folder)
    return ("-plugin", f"{plugin},out={folder / _WATCHED}")


def _functions(program: elf.Elf, model: elf.Elf) -> tuple[range, ...]:
    """Return where the model's functions and those of the C library that it calls lie."""
    names = [n for n in (*model.symbols, *model.undefined) if program.symbols.get(n)]
    starts = {name: program.addresses[name] & ~1 for name in names}
    return tuple(range(starts[n], starts[n] + program.symbols[n]) for n in names)


def _blocks(text: str, functions: tuple[range, ...]) -> Iterator[cortex_m.Block]:
    """Yield what ran of these functions, from what the watcher told."""
    kept: list[str] = []
    head: tuple[int, int, int] | None = None
    for line in (*text.splitlines(), "edgepack-block 0 0 0"):
        word, _, rest = line.partition(" ")
        if word == "edgepack-insn":
            kept.append(rest.strip())
        elif word == "edgepack-block":
            if head is not None and any(head[0] in each for each in functions):
                yield cortex_m.Block(tuple(kept), head[1], head[2])
            start, runs, taken = rest.split()
            head, kept = (int(start, 16), int(runs), int(taken)), []


def _words(texts: list[str]) -> bytes:
    return b"".join(struct.pack("<I", int(text, 16)) for text in texts)


def _link(
    folder: Path, name: str, target: EmulatedTarget, compiler: CrossCompiler
) -> tuple[elf.Elf, elf.Elf]:
    """Compile and link for a core; return the program and the model's object file."""
    source, model = folder / f"{name}.c", folder / "model.o"
    harness, program, script = folder / "harness.o", folder / "model.elf", folder / "link.ld"
    board = target.board
    script.write_text(_script(target))
    flags = compiler.flags(target.name, target.flags)
    if compiler.freestanding:
        (folder / "string.h").write_text(_harness("string.h"))
    own = (f"-DTIMER_SYSTICK={int(board.systick)}", f"-DVECTORS={board.vectors:#x}u")
    link = ("-nostartfiles", f"-T{script}", "-Wl,--gc-sections", "-Wl,--entry=reset_handler")
    runs: tuple[tuple[Any, ...], ...] = (
        (*_MODEL_FLAGS, "-c", source, "-o", model),
        ("-std=gnu99", "-Os", *own, "-c", folder / "bare_metal.c", "-o", harness),
        (*link, model, harness, "-o", program),
    )
    for arguments in runs:
        toolchain.compile_c(compiler.command, [*flags, *map(str, arguments)], folder)
    return elf.read(program.read_bytes()), elf.read(model.read_bytes())


def _harness(name: str) -> str:
    return (resources.files("edgepack.firmware.emulator") / "harness" / name).read_text()


def _script(target: EmulatedTarget) -> str:
    text = _harness("link.ld")
    values = {
        "CODE_ORIGIN": target.board.code.origin,
        "CODE_BYTES": target.board.code.bytes,
        "DATA_ORIGIN": target.board.data.origin,
        "DATA_BYTES": target.board.data.bytes,
        "STACK_BYTES": STACK_BYTES,
    }
    for key, value in values.items():
        text = text.replace(f"@{key}@", hex(value))
    return text


def _qemu(folder: Path, target: EmulatedTarget) -> list[str]:
    board, vectors = target.board, folder / "vectors.bin"
    return [
        toolchain.find(toolchain.QEMU),
        "-M", board.machine,
        "-nographic", "-monitor", "none", "-serial", "none",
        "-semihosting-config", "enable=on,target=native",
        "-icount", f"shift={board.icount_shift}",
        "-kernel", str(folder / "model.elf"),
        "-device", f"loader,file={vectors},addr={board.vectors:#x},force-raw=on",
    ]  # fmt: skip
