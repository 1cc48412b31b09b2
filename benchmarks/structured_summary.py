"""The rows of ``benchmarks/structured.py`` as one table, seeds pooled."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from structured_nets import NETS

from edgepack.gates import accuracy

#: Columns of which the baseline has so many times as much.
RATIOS = ("instructions", "macs", "flatbuffer_bytes", "deflated_bytes")


def summary(path: Path) -> None:
    """Print per net and arm: mean loss over seeds, its interval, and the cost ratios."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    truth = {net: NETS[net][1]().y_test for net in {row["net"] for row in rows}}
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    keys = ("net", "seed", "arm", "kept")
    for row in {tuple(row[key] for key in keys): row for row in rows}.values():  # the last
        groups.setdefault((row["net"], row["arm"], row["kept"]), []).append(row)
    base = {(row["net"], row["seed"]): row for row in rows if row["arm"] == "baseline"}
    head = ("net", "arm", "kept", "seeds", "int8 %", "loss, points [95 %]", *RATIOS)
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for (net, arm, kept), members in groups.items():

        def right(row: dict[str, str], net: str = net) -> NDArray[Any]:
            stem = f".{row['net']}-{row['seed']}-{row['arm']}-{row['kept']}.npy"
            scores = np.load(path.with_name(path.with_suffix("").name + stem))
            return np.asarray(accuracy.top1(scores) == truth[net], np.float64)

        pairs = [(right(base[net, row["seed"]]), right(row)) for row in members]
        # Rows of one seed are the rows of all: seeds are averaged row by row first.
        lost = np.mean([before - after for before, after in pairs], 0)
        half = 1.96 * lost.std(ddof=1) / np.sqrt(len(lost))
        ratios = []
        for key in RATIOS:
            part = [(base[net, r["seed"]][key], r[key]) for r in members]
            known = [float(a) / float(b) for a, b in part if a.isdigit() and b.isdigit()]
            ratios.append(f"{np.mean(known):.2f}x" if known else "-")
        hits = 100 * np.mean([after for _, after in pairs])
        loss = 100 * lost.mean()
        cells = (net, arm, kept, len(members), f"{hits:.2f}")
        gap = f"{loss:+.2f} [{loss - 100 * half:+.2f}, {loss + 100 * half:+.2f}]"
        print("| " + " | ".join(map(str, (*cells, gap, *ratios))) + " |")
