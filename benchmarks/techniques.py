"""What each recipe gains on each kind of device: one build a cell, as the gates found it.

    python benchmarks/techniques.py MODEL DATA --out runs.jsonl [--recipe R …] [--target T …]
    python benchmarks/techniques.py --table runs.jsonl > table.md

Flash or storage, download and RAM are planned from the file or bisected (TFLM, plain C);
instructions are counted under QEMU; Ethos-U times are Vela's estimate; no phone's GPU is at
hand, so there only the share of the work that it takes is planned. A cell that a device gains
nothing from says why. Cells are appended as they are made and not made twice; a mended cell
needs its line taken out. Needs an engine with its images and the cross compiler.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: Target -> profile and the route of its sources.
TARGETS = {
    "tablet CPU (Cortex-A7, tflite 2.14)": ("clinic-tablet-1gb-armv7", "c"),
    "phone CPU (LiteRT 1.4, XNNPACK)": ("midrange-phone-arm64", "c"),
    "phone GPU (Pixel 3a)": ("pixel-3a", "c"),
    "Cortex-M4, TFLM": ("nucleo-l4r5zi", "tflm"),
    "Cortex-M4, plain C": ("nucleo-l4r5zi", "c"),
    "Ethos-U55-128": ("corstone-300", "c"),
}
GPU = "phone GPU (Pixel 3a)"
RECIPES = (
    *("int8", "qat", "prune-qat", "cluster-qat", "prune-cluster-qat", "lowrank-qat"),
    *("channels-qat", "collaborate-qat", "channels-prune-cluster-qat"),
)
#: Column -> the gates that hold it, the first that is there.
COLUMNS = {
    "flash or storage B": ("flash", "storage"),
    "download B": ("download",),
    "RAM B": ("arena", "peak_ram"),
    "instructions": ("instructions",),
    "estimated ms at most": ("latency",),
}
Cell = dict[str, Any]


def product(model: str, data: str, target: str, asked: argparse.Namespace) -> Cell:
    """Return one build's numbers, or the line that says why there are none."""
    profile, route = TARGETS[target]
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(
            [sys.executable, "-m", "edgepack", "build", model, "--data", data,
             "--profile", profile, "--recipe", asked.now, "--micro", route,
             "--task", asked.task, "--out", out, "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode not in {0, 3} or not done.stdout.strip():
        lines = done.stderr.strip().splitlines() or ["no word"]
        return {"refused": lines[-1].removeprefix("edgepack: ")}
    return numbers(json.loads(done.stdout)["products"][0], target)


def numbers(made: dict[str, Any], target: str) -> Cell:
    """Return what the gates of a product hold, column by column."""
    held = {finding["gate"]: finding.get("value") for finding in made["findings"]}
    held["download"] = held.get("download") or made["steps"][-1]["download_bytes"]
    if target == GPU:  # its other numbers are of the CPU that stands beside it
        held = {key: held.get(key) for key in ("storage", "download", "delegate:gpu")}
    found = made["fidelity"]
    return {
        "held": {
            column: next((held[gate] for gate in gates if held.get(gate) is not None), None)
            for column, gates in COLUMNS.items()
        },
        "on_gpu": None if target != GPU else 1 - float(held["delegate:gpu"]),
        "score": found["score_now"],
        "drop": found["drop"],
        "interval": found["drop_interval"],
        "failed": [e["gate"] for e in made["findings"] if e["verdict"] == "fail"],
    }


def run(asked: argparse.Namespace) -> None:
    """Make the cells that are not there yet and append each."""
    path = Path(asked.out)
    kept = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {(cell["target"], cell["recipe"]) for cell in kept}
    for recipe in asked.recipe or RECIPES:
        for target in asked.target or TARGETS:
            name = Path(recipe).stem
            if (target, name) in known:
                continue
            asked.now = recipe
            cell = product(asked.model, asked.data, target, asked)
            line = json.dumps({"target": target, "recipe": name} | cell)
            with path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            print(line, flush=True)


def table(path: Path) -> None:
    """Print one table a target: each number, and its ratio to the recipe ``int8``."""
    cells = [json.loads(line) for line in path.read_text().splitlines()]
    head = ("recipe", *COLUMNS, "score (gained on float [95 %])", "failed gates")
    for target in dict.fromkeys(cell["target"] for cell in cells):
        print(f"\n### {target}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        rows = {cell["recipe"]: cell for cell in cells if cell["target"] == target}
        plain = rows.get("int8", {}).get("held", {})
        for recipe, cell in rows.items():
            if "refused" in cell:
                print(f"| {recipe} | {cell['refused']} |" + " |" * (len(head) - 2))
                continue
            low, high = (0 - edge for edge in reversed(cell["interval"]))  # never -0.0
            score = f"{cell['score']:.4f} ({0 - cell['drop']:+.4f} [{low:+.4f}, {high:+.4f}])"
            words = [_against(value, plain.get(key)) for key, value in cell["held"].items()]
            if cell["on_gpu"] is not None:
                words[3] = f"not counted; the GPU takes {cell['on_gpu']:.0%} of the work"
            failed = ", ".join(cell["failed"]) or "none"
            print(f"| {' | '.join((recipe, *words, score, failed))} |")


def _against(value: float | None, plain: float | None) -> str:
    if value is None:
        return "not known"
    told = f"{value:,.4g}" if value < 100 else f"{value:,.0f}"
    return f"{told} ({value / plain:.2f}x)" if plain else told


def main() -> None:
    """Run builds, or print the tables of builds that were run."""
    wanted = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    wanted.add_argument("model", nargs="?")
    wanted.add_argument("data", nargs="?")
    wanted.add_argument("--recipe", "-r", action="append")
    wanted.add_argument("--target", "-t", action="append", choices=list(TARGETS))
    wanted.add_argument("--task", default="classification")
    wanted.add_argument("--out", default="techniques.jsonl")
    wanted.add_argument("--table", type=Path, metavar="JSONL")
    asked = wanted.parse_args()
    if asked.table:
        return table(asked.table)
    if not asked.model or not asked.data:
        wanted.error("name a model and its data, or --table JSONL")
    return run(asked)


if __name__ == "__main__":
    main()
