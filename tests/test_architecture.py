"""The house as the imports themselves tell it: arrows point down, doors open late."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("edgepack", "converters", "device_profiles")


@cache  # six tests ask about the same files
def imports(path: Path) -> set[str]:
    """Return every module that a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return found


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_converters_know_no_device() -> None:
    for path in sources("converters"):
        strange = {
            m for m in imports(path) if m.split(".")[0] in {"edgepack", "device_profiles"}
        }
        assert not strange, f"{path}: {strange}"


#: Room of converters -> the rooms it may import; the files beside them are for all.
ROOMS = {
    "graph": set(),
    "tflite": set(),
    "reading": set(),
    "learning": {"graph"},
    "weights": {"graph", "learning", "tflite"},
    "structure": {"graph", "learning", "weights"},
    "quantized": {"graph", "learning", "tflite", "weights"},
}


def test_rooms_of_the_converters_import_one_way() -> None:
    folder = ROOT / "converters"
    assert {path.name for path in folder.iterdir() if (path / "__init__.py").exists()} == set(
        ROOMS
    )
    for path in sources("converters"):
        parts = path.relative_to(folder).parts
        room = parts[0] if len(parts) > 1 else None
        targets = {m.split(".")[1] for m in imports(path) if m.startswith("converters.")}
        allowed = ROOMS[room] | {room} if room else set()
        assert not targets & (set(ROOMS) - allowed), f"{path}: {targets - allowed}"


#: The rooms of edgepack from the top down; a file imports its own room and those below.
HOUSE = (
    *("cli", "api", "report", "pipeline", "device", "bundle", "firmware", "emulation", "gates"),
    *("measurements", "cost", "sandbox", "inference", "planning", "compat", "profiles"),
    *("tflite", "ground"),
)


def room_of(module: str) -> str:
    """Return the room of an edgepack module; ``ground`` for the single files under them all."""
    name = module.split(".")[1]
    return name if name in HOUSE else "ground"


def test_rooms_of_the_house_import_downwards() -> None:
    upward = []
    for path in sources("edgepack"):
        own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if own in {"edgepack.__init__", "edgepack.__main__"}:
            continue
        higher = HOUSE[: HOUSE.index(room_of(own))]
        found = [m for m in imports(path) if m.startswith("edgepack.")]
        upward += [f"{own} -> {m}" for m in found if room_of(m) in higher]
    assert not upward


def test_every_folder_of_the_house_is_a_room() -> None:
    folders = {path.parent.name for path in (ROOT / "edgepack").glob("*/__init__.py")}
    assert folders == set(HOUSE) - {"api", "ground"}


def test_profiles_are_data() -> None:
    for path in sources("device_profiles"):
        assert not {m for m in imports(path) if m.split(".")[0] in {"edgepack", "converters"}}


def test_nothing_but_the_command_line_imports_it() -> None:
    for path in sources("edgepack"):
        if "cli" not in path.relative_to(ROOT).parts and path.name != "__main__.py":
            assert not {m for m in imports(path) if m.startswith("edgepack.cli")}, path


def test_one_door_each_for_tensorflow_and_the_engine() -> None:
    doors = {"tensorflow", "tf_keras", "tensorflow_model_optimization"}
    for path in sources("edgepack"):
        tops = {m.split(".")[0] for m in imports(path)}
        assert not tops & doors, f"{path} opens TensorFlow; converters/ does that"
        if "docker" in tops:
            assert "sandbox" in path.parts, f"{path} opens the container engine"


#: A worker is itself such a program: it runs on its own and may fork within its limits.
WORKERS = {"edgepack/inference/tflm_worker.py"}
#: The door, and the converter that is kept warm from one call to the next.
PROCESS_DOORS = {"converters/process.py", "converters/tflite/convert_process.py"}
STARTERS = ("subprocess", "multiprocessing", "pty", "concurrent.futures.process")
STARTING_CALLS = re.compile(
    r"\b(os\.(system|popen|fork|forkpty|exec[lv]\w*|spawn\w+|posix_spawnp?)"
    r"|create_subprocess_(exec|shell)|ProcessPoolExecutor)\b"
)


def test_one_door_to_other_programs() -> None:
    """Bounded output, a deadline and no survivors: so process.py alone starts programs."""
    for path in (*sources("edgepack"), *sources("converters")):
        name = path.relative_to(ROOT).as_posix()
        if name in PROCESS_DOORS:
            continue
        opened = {m for m in imports(path) if m.startswith(STARTERS)}
        assert not opened, f"{name} imports {opened}; converters/process.py starts programs"
        called = STARTING_CALLS.search(path.read_text("utf-8"))
        assert name in WORKERS or called is None, f"{name} calls {called}"


def test_no_file_imports_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    names = {}
    for package in PACKAGES:
        for path in sources(package):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            names[module.removesuffix(".__init__")] = path
    for module, path in names.items():
        found = {m for m in imports(path) if m in names and m != module}
        # "from package import part" names the part; the package's face is on the way.
        faces = {m.rpartition(".")[0] for m in found}
        graph[module] = {m for m in found if m not in faces or names[m].name != "__init__.py"}

    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for target in graph[module]:
                visit(target, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.tools
@pytest.mark.parametrize("words", [["--help"], ["check", "--help"], ["profiles", "list"]])
def test_quick_commands_open_no_slow_door(words: list[str]) -> None:
    code = (
        "import sys, edgepack.cli.main as entry\n"
        "try:\n    entry.main(sys.argv[1:])\nexcept SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "slow = {'tensorflow', 'tf_keras', 'keras', 'docker', 'scipy', 'sklearn', 'jinja2'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_lock_names_no_host_and_hashes_everything() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    pins = [line for line in text.splitlines() if line and line[0].isalnum()]
    assert pins
    assert all("==" in pin for pin in pins)
    assert text.count("--hash=sha256:") >= len(pins)


def test_the_wheel_holds_three_packages() -> None:
    made = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert made["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == list(PACKAGES)
    assert not (ROOT / "docker" / "__init__.py").exists(), "it would shadow the docker SDK"
