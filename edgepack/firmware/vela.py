"""A model compiled for an Ethos-U by Vela, and what Vela says it takes there.

Vela runs in a process of its own, with a deadline. Its times are a model of the hardware: an
operator that stays on the CPU counts nothing in them.
"""

from __future__ import annotations

import csv
import os
import resource
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from converters.process import run_bounded
from edgepack.errors import EnvironmentMissing, InputError, RuntimeFailure, TimedOut
from edgepack.measurements.firmware_figures import VelaResult

_SECONDS = 300.0
_ADDRESS_BYTES = 12 << 30
_MAX_TEXT_BYTES = 16 << 20
_START = "import sys; from ethosu.vela.vela import main; sys.exit(main(sys.argv[1:]))"
_CONFIG = "Arm/vela.ini"  # of Vela's own package
# What Arm gives as an example for each family; a profile may name another.
_EXAMPLES = {
    "ethos-u55": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65": ("Ethos_U65_High_End", "Dedicated_Sram"),
    "ethos-u85": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram"),
}


def compile_model(
    model: bytes,
    accelerator: str,
    system_config: str | None = None,
    memory_mode: str | None = None,
) -> VelaResult:
    """Return the model compiled for an accelerator such as ``ethos-u55-128``.

    Raises:
        EnvironmentMissing: ethos-u-vela is not installed.
        InputError: Vela refused the model.
        RuntimeFailure: Vela hung or wrote something else.
    """
    try:
        release = version("ethos-u-vela")
    except PackageNotFoundError as error:
        raise EnvironmentMissing(
            "ethos-u-vela is not installed beside edgepack; pip install 'edgepack[micro]'"
        ) from error
    example = _EXAMPLES.get(accelerator.rsplit("-", 1)[0], _EXAMPLES["ethos-u55"])
    system, memory = system_config or example[0], memory_mode or example[1]
    with tempfile.TemporaryDirectory(prefix="edgepack-vela-") as place:
        folder = Path(place)
        (folder / "model.tflite").write_bytes(model)
        _run(folder, accelerator, system, memory)
        made = _read_bytes(folder / "model_vela.tflite")
        summary = _table(folder, "model_summary_*.csv")[-1]
        layers = _table(folder, "model_per-layer.csv")
    try:
        clock_hz = float(summary["core_clock"])
        flash_kib = (
            float(summary["on_chip_flash_memory_used"])
            + float(summary["off_chip_flash_memory_used"])
            + float(summary["dram_memory_used"])
        )
        return VelaResult(
            model=made,
            accelerator=accelerator,
            system_config=system,
            memory_mode=memory,
            version=release,
            sram_bytes=round(float(summary["sram_memory_used"]) * 1024),
            weight_bytes=round(flash_kib * 1024),
            cycles=int(summary["cycles_total"]),
            milliseconds=float(summary["inference_time"]) * 1e3,
            core_clock_mhz=clock_hz / 1e6,
            npu_operators=sum(row["Target"] == "NPU" for row in layers),
            cpu_operators=tuple(
                f"{row['Original Operator']} at '{row['Name']}'"
                for row in layers
                if row["Target"] == "CPU"
            ),
        )
    except (KeyError, ValueError) as error:
        raise RuntimeFailure(f"Vela {release} wrote another report: {error}") from error


def _run(folder: Path, accelerator: str, system: str, memory: str) -> None:
    ended = run_bounded(
        [
            sys.executable, "-sP", "-c", _START, str(folder / "model.tflite"),
            "--accelerator-config", accelerator, "--config", _CONFIG,
            "--system-config", system, "--memory-mode", memory,
            "--verbose-performance", "--output-dir", str(folder),
        ],
        timeout_s=_SECONDS,
        max_bytes=_MAX_TEXT_BYTES,
        env={"LC_ALL": "C.UTF-8", "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        limits={
            resource.RLIMIT_AS: _ADDRESS_BYTES,
            resource.RLIMIT_CPU: int(_SECONDS) * (os.cpu_count() or 1),
            resource.RLIMIT_CORE: 0,
        },
    )  # fmt: skip
    if ended.timed_out:
        raise TimedOut(f"Vela: still running after {_SECONDS:g} s")
    if ended.code != 0:
        text = (ended.stderr or ended.stdout).decode("utf-8", "replace")
        last = " ".join(text.split())[-300:]
        raise InputError(f"Vela refused the model for {accelerator}: {last}")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RuntimeFailure(f"Vela wrote no {path.name}") from error


def _table(folder: Path, pattern: str) -> list[dict[str, str]]:
    """Return the rows of the one report that fits ``pattern``."""
    found: Iterable[Path] = sorted(folder.glob(pattern))
    for path in found:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        if rows:
            return rows
    raise RuntimeFailure(f"Vela wrote no {pattern}")
