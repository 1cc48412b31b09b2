"""What each recipe gains on each kind of device: one build a cell, as the gates found it.

    python benchmarks/techniques.py MODEL DATA [--recipe R …] [--task T] > table.md

Flash or storage, download and RAM are planned from the file or bisected (TFLM, plain C);
instructions are counted under QEMU; Ethos-U cycles are Vela's estimate. A cell that a device
gains nothing from says why. Needs an engine with its images and the cross compiler.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

#: Target -> profile and the route of its sources.
TARGETS = {
    "tablet CPU (tflite 2.14, Cortex-A7)": ("clinic-tablet-1gb-armv7", "c"),
    "phone CPU (LiteRT 1.4, XNNPACK)": ("midrange-phone-arm64", "c"),
    "Cortex-M4, TFLM": ("nucleo-l4r5zi", "tflm"),
    "Cortex-M4, plain C": ("nucleo-l4r5zi", "c"),
    "Ethos-U55-256": ("corstone-300", "c"),
}
RECIPES = ("int8", "qat", "prune-qat", "cluster-qat", "prune-cluster-qat")
#: Column -> the gates that hold it, the first that is there.
COLUMNS = {
    "flash or storage B": ("flash", "storage"),
    "download B": ("download",),
    "RAM B": ("arena", "peak_ram"),
    "instructions": ("instructions",),
    "ms at most (estimated)": ("latency",),
}


def product(command: list[str]) -> dict[str, Any] | str:
    """Return one build's product, or the line that says why there is none."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode in {0, 3} and done.stdout.strip():
        made: dict[str, Any] = json.loads(done.stdout)["products"][0]
        return made
    lines = done.stderr.strip().splitlines() or ["no word"]
    return lines[-1].removeprefix("edgepack: ")


def cells(made: dict[str, Any]) -> Iterator[str]:
    """Yield what the gates of a product hold, column by column."""
    held = {finding["gate"]: finding.get("value") for finding in made["findings"]}
    last = made["steps"][-1]
    held["download"] = held.get("download") or last["download_bytes"]
    for gates in COLUMNS.values():
        value = next((held[gate] for gate in gates if held.get(gate) is not None), None)
        yield (
            "not known"
            if value is None
            else f"{value:,.4g}"
            if value < 100
            else f"{value:,.0f}"
        )
    found = made["fidelity"]
    low, high = found["drop_interval"]
    yield f"{found['score_now']:.4f} ({-found['drop']:+.4f} [{-high:+.4f}, {-low:+.4f}])"
    failed = [each["gate"] for each in made["findings"] if each["verdict"] == "fail"]
    yield ", ".join(failed) or "none"


def main() -> None:
    """Print the table as it grows."""
    wanted = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    wanted.add_argument("model")
    wanted.add_argument("data")
    wanted.add_argument("--recipe", "-r", action="append")
    wanted.add_argument("--target", "-t", action="append", choices=list(TARGETS))
    wanted.add_argument("--task", default="classification")
    asked = wanted.parse_args()
    head = ("target", "recipe", *COLUMNS, "score (gained on float)", "failed gates")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head), flush=True)
    for recipe in asked.recipe or RECIPES:
        for target in asked.target or TARGETS:
            profile, route = TARGETS[target]
            with tempfile.TemporaryDirectory() as out:
                made = product(
                    [sys.executable, "-m", "edgepack", "build", asked.model,
                     "--data", asked.data, "--profile", profile, "--recipe", recipe,
                     "--micro", route, "--task", asked.task, "--out", out, "--json"]
                )  # fmt: skip
            row = [made] if isinstance(made, str) else list(cells(made))
            row += [""] * (len(head) - 2 - len(row))
            print("| " + " | ".join((target, recipe, *row)) + " |", flush=True)


if __name__ == "__main__":
    main()
