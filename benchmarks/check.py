"""Measure ``check`` and ``suggest``: time, planned memory and operators against runtimes.

    python benchmarks/check.py [FOLDER of .tflite files …]

Prints Markdown. Needs ai-edge-litert and tflite-micro; EDGEPACK_TFLITE_PYTHON may name a
python that has tflite-runtime 2.14.0.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgepack.compat.operators import incompatible_operators
from edgepack.gates.static import check, judge, suggest
from edgepack.planning.tflite import plan
from edgepack.planning.tflm import X86_64, plan_arena
from edgepack.profiles import catalogue
from edgepack.profiles.profile import CarriedRuntime
from edgepack.tflite.flatbuffer import read
from tests.edgepack.asking import ask
from tests.edgepack.gates.test_check import large
from tests.edgepack.networks import NETWORKS
from tests.edgepack.opzoo import cases
from tests.edgepack.tinymodels import Net

PROFILES = ("clinic-tablet-1gb-armv7", "midrange-phone-arm64", "nucleo-l4r5zi")
RELEASES = (("litert", "2.3.0"), ("tflite", "2.14.0"), ("tflm", "0.dev20261023182759"))


def smallest_arenas(models: dict[str, bytes], folder: Path) -> dict[str, int | None]:
    """Return the smallest multiple of 16 with which TFLM starts, by bisection."""
    low, high = dict.fromkeys(models, 0), dict.fromkeys(models, 1 << 24)
    while any(high[name] - low[name] > 16 for name in models):
        tried = {name: (low[name] + high[name]) // 32 * 16 for name in models}
        asked = [(name, model, (tried[name],)) for name, model in models.items()]
        for name, says in ask("arena", "tflm", asked, folder).items():
            (high if says == ["ok"] else low)[name] = tried[name]
    return {name: size if size < 1 << 24 else None for name, size in high.items()}


def started(path: Path, profile: str) -> float:
    """Return the seconds of one ``edgepack check``, start-up included; best of five."""
    code = "import sys; from edgepack.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "check", str(path), "--profile", profile]
    took = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(words, capture_output=True, check=False)
        took.append(time.perf_counter() - start)
    return min(took)


def suggested(operators: int) -> tuple[float, int]:
    """Return the seconds of one ``suggest`` about a deep model, and the devices asked."""
    net = Net()
    first = x = net.tensor((1, 8, 8, 8))
    for _ in range(operators // 4):
        wide = net.conv(net.conv(x, 8, 1), 8, depthwise=True)
        x = net.pool(net.add(wide, x), 1)
    facts, (profiles, _) = read(net.done([first], [x])), catalogue.load_usable()
    start = time.perf_counter()
    suggest(facts, profiles, judge)
    return time.perf_counter() - start, len(profiles)


def verdicts(models: dict[str, bytes]) -> None:
    """Print each file's outcome on a few devices."""
    profiles = [catalogue.load(name) for name in PROFILES]
    print("| file | B | ms | " + " | ".join(PROFILES) + " |")
    print("|---|---|---|" + "---|" * len(PROFILES))
    for name, model in models.items():
        cells = []
        start = time.perf_counter()
        for profile in profiles:
            _, verdict = check(model, profile)
            open_ = [f.gate for f in verdict.findings if f.verdict.value != "pass"]
            cells.append(f"{verdict.outcome.value} {', '.join(open_)}".strip())
        took = (time.perf_counter() - start) * 1e3 / len(profiles)
        print(f"| {name} | {len(model):,} | {took:.1f} | " + " | ".join(cells) + " |")


def memory(models: dict[str, bytes], folder: Path) -> None:
    """Print planned arenas beside the runtimes' own."""
    true = smallest_arenas(models, folder)
    reached = {}
    questions = []
    for name, model in models.items():
        tensors = read(model).main.tensors
        mine = [t.index for t in tensors if not t.constant and not t.variable and t.nbytes]
        questions.append((name, model, mine))
    reached = ask("reach", "litert", questions, folder)
    print("\n| model | TFLM minimum | planned | over | LiteRT arena | planned | over |")
    print("|---|---|---|---|---|---|---|")
    for name, model in models.items():
        facts = read(model)
        arena, smallest = plan_arena(facts, X86_64).total, true[name]
        mobile = plan(facts).arena + plan(facts).kept
        micro = "refused | – | –"
        if smallest:
            micro = f"{smallest:,} | {arena:,} | {arena / smallest - 1:+.1%}"
        own = reached[name]
        print(f"| {name} | {micro} | {own:,} | {mobile:,} | {mobile / own - 1:+.1%} |")


def matrix(folder: Path) -> None:
    """Print the gate's answers against the runtimes'."""
    print("\n| runtime | uses | gate passes, runs | passes, refused | refuses, runs |")
    print("|---|---|---|---|---|")
    zoo = list(cases())
    for line, version in RELEASES:
        carried = CarriedRuntime.model_validate(
            {"name": line, "version": version, "source": "benchmark"}
        )
        try:
            ran = ask("run", line, [(str(c), c.model, None) for c in zoo], folder)
        except BaseException as missing:  # noqa: BLE001 - pytest's skip is no Exception
            print(f"| {line} {version} | – | {missing} |||")
            continue
        counts = {"both": 0, "false pass": 0, "false refusal": 0}
        for case in zoo:
            found, runs = (
                incompatible_operators(read(case.model), carried),
                ran[str(case)] == "ok",
            )
            if not found:
                counts["both" if runs else "false pass"] += 1
            elif runs and case.honest and found[0].kind != "wrong":
                counts["false refusal"] += 1
        print(
            f"| {line} {version} | {len(zoo)} | " + " | ".join(map(str, counts.values())) + " |"
        )


def main(folders: list[str]) -> None:
    """Print everything."""
    paths = sorted(p for f in folders for p in Path(f).rglob("*.tflite"))
    models = {path.stem: path.read_bytes() for path in paths}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        big = folder / "large.tflite"
        big.write_bytes(large(5))
        for profile in PROFILES:
            print(f"check, {big.stat().st_size:,} B, {profile}: {started(big, profile):.2f} s")
        seconds, devices = suggested(2_000)
        print(f"suggest, 2,000 operators, {devices} devices: {seconds:.2f} s")
        if models:
            verdicts(models)
        memory({**models, **{name: make() for name, make in NETWORKS.items()}}, folder)
        matrix(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
