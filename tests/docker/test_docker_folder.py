"""Laws of docker/: it is data, locked by digest, and its engine script minds its step."""

import os
import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docker"
LOCKS = sorted((FOLDER / "requirements").glob("*.txt"))
ENGINE = FOLDER / "engine.sh"


def test_it_is_no_package() -> None:
    assert not list(FOLDER.rglob("__init__.py")), "it would shadow the engine's SDK"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_wheel_is_pinned_by_digest(lock: Path) -> None:
    text = lock.read_text()
    pins = re.findall(
        r"^([a-z0-9-]+)==([0-9.]+)( \\\n +--hash=sha256:[0-9a-f]{64})+$", text, re.M
    )
    names = [line for line in text.splitlines() if line and line[0] not in "# "]
    assert len(pins) == len(names) == 1
    assert lock.name == f"{pins[0][0]}-{pins[0][1]}.txt"


@pytest.mark.parametrize(
    "file", sorted(p for p in FOLDER.rglob("*") if p.is_file()), ids=lambda p: p.name
)
def test_no_host_is_written_down(file: Path) -> None:
    text = file.read_text()
    assert "index-url" not in text
    assert not re.search(r"https?://[a-z0-9.-]*(debian|pypi|docker|ghcr|quay)", text)


@pytest.mark.tools
@pytest.mark.parametrize("script", [ENGINE, FOLDER / "plugin/build.sh"], ids=lambda p: p.name)
def test_scripts_are_plain_posix_shell(script: Path) -> None:
    subprocess.run(["/bin/sh", "-n", script], check=True)
    assert os.access(script, os.X_OK)


def run_engine(tmp_path: Path, answers: bool, *arguments: str) -> tuple[int, str]:
    """Run engine.sh with a docker client that does or does not find an engine."""
    fake = tmp_path / "docker"
    fake.write_text("#!/bin/sh\n" + ("echo 99.1\n" if answers else "exit 1\n"))
    fake.chmod(0o755)
    done = subprocess.run(
        [ENGINE, *arguments],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    return done.returncode, done.stderr


@pytest.mark.tools
def test_an_engine_that_answers_is_used_as_it_is(tmp_path: Path) -> None:
    assert run_engine(tmp_path, True) == (0, "engine: already there, version 99.1\n")


@pytest.mark.tools
def test_a_check_says_the_remedy_on_one_line(tmp_path: Path) -> None:
    code, says = run_engine(tmp_path, False, "--check")
    assert code == 1
    assert says == "engine: no engine answers; run docker/engine.sh as root\n"


@pytest.mark.tools
def test_a_strange_option_is_wrong_usage(tmp_path: Path) -> None:
    code, says = run_engine(tmp_path, True, "--start")
    assert code == 2
    assert "usage" in says
