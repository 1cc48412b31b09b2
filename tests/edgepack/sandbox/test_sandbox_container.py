"""What a container really cannot do: the laws that model files are untrusted code."""

import json
import os
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgepack.inference import worker
from edgepack.inference.protocol import ExitStatus, Job
from edgepack.sandbox.container import ContainerRuntime
from edgepack.sandbox.container_process import ContainerResult
from edgepack.sandbox.engine import LABEL, Engine
from edgepack.sandbox.images import inventory
from edgepack.sandbox.images.spec import docker_folder
from edgepack.sandbox.isolation import sandbox

pytestmark = pytest.mark.container

MIB = 2**20
Probe = Callable[..., ContainerResult]


@pytest.fixture
def probe(engine: Engine, stand_in: Callable[..., object], tmp_path: Path) -> Probe:
    """Return a function that runs Python code in the sandbox of the amd64 image."""
    runtime = stand_in("tflite-runtime", "2.14.0", engine.arch)

    def run(code: str, timeout_s: float = 20.0, **limits: object) -> ContainerResult:
        script = tmp_path / "probe.py"
        script.write_text(textwrap.dedent(code))
        script.chmod(0o644)
        return engine.run(
            inventory.find(engine, runtime.spec).identity,  # type: ignore[attr-defined]
            ["/usr/bin/python3.11", "-s", "/probe.py"],
            sandbox(docker_folder(), **limits),
            mounts={script: "/probe.py"},
            env={},
            timeout_s=timeout_s,
            max_bytes=100_000,
        )

    return run


def test_it_writes_nowhere_but_in_its_own_small_tmp(probe: Probe) -> None:
    ended = probe(
        """
        import json, os, subprocess, sys
        said = {}
        for path in "/x /usr/x /etc/x /probe.py /edgepack/x /usr/bin/x /dev/x".split():
            try:
                open(path, "w").write("x")
                said[path] = "written"
            except OSError as error:
                said[path] = error.strerror
        own = os.open("/tmp/own", os.O_CREAT | os.O_WRONLY, 0o777)
        os.write(own, b"#!/usr/bin/python3.11")
        os.close(own)
        try:
            os.chmod("/tmp/own", 0o777)
            said["chmod"] = "done"
        except OSError as error:
            said["chmod"] = error.strerror
        try:
            os.execv("/tmp/own", ["own"])
        except OSError as error:
            said["exec"] = error.strerror
        try:
            with open("/tmp/big", "wb") as file:
                for _ in range(64):
                    file.write(bytes(1 << 20))
            said["big"] = "written"
        except OSError as error:
            said["big"] = error.strerror
        print(json.dumps(said))
        """
    )
    assert ended.code == 0, ended
    said = json.loads(ended.stdout)
    assert said.pop("chmod") == "Operation not permitted"
    assert said.pop("exec") == "Permission denied"
    assert said.pop("big") in ("No space left on device", "File too large")
    assert set(said.values()) <= {"Read-only file system", "Permission denied"}
    assert len(said) == 7


def test_it_reaches_no_network(probe: Probe) -> None:
    ended = probe(
        """
        import os, socket
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
            try:
                socket.socket(family)
                print("opened", family)
            except OSError as error:
                print(error.strerror)
        print(sorted(os.listdir("/sys/class/net")))
        """
    )
    lines = ended.stdout.decode().splitlines()
    assert lines[:4] == ["Operation not permitted"] * 4
    assert lines[4] == "['lo']"


def test_it_is_nobody_with_no_power_to_become_more(probe: Probe) -> None:
    ended = probe("print(open('/proc/self/status').read())")
    status = dict(
        line.split(":\t", 1) for line in ended.stdout.decode().splitlines() if ":\t" in line
    )
    assert set(status["Uid"].split()) == {"65534"}
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_it_makes_no_more_than_a_handful_of_processes(probe: Probe) -> None:
    ended = probe(
        """
        import os, time
        made = 0
        try:
            for _ in range(50):
                if os.fork() == 0:
                    time.sleep(5)
                    os._exit(0)
                made += 1
        except OSError as error:
            print(made, error.strerror, flush=True)
        os._exit(0)
        """
    )
    made, why = ended.stdout.decode().strip().split(" ", 1)
    assert int(made) < 8
    assert why == "Resource temporarily unavailable"


@pytest.mark.parametrize("code", ["import time\ntime.sleep(60)", "while True: pass"])
def test_it_does_not_outlive_its_time(probe: Probe, engine: Engine, code: str) -> None:
    def probes() -> list[str]:  # somebody else's containers may run beside this one
        ours = engine.api.containers(all=True, filters={"label": LABEL})
        return [found["Id"] for found in ours if "/probe.py" in found["Command"]]

    start = time.monotonic()
    ended = probe("import signal\nsignal.signal(15, signal.SIG_IGN)\n" + code, timeout_s=1.0)
    assert ended.timed_out
    assert time.monotonic() - start < 10
    assert not probes()


def test_a_flood_is_ended_and_cut(probe: Probe) -> None:
    ended = probe("import os\nwhile True: os.write(1, bytes(65536))")
    assert ended.output_exceeded
    assert not ended.timed_out
    assert len(ended.stdout) <= 100_000


def test_a_container_whose_caller_died_is_swept_after_its_deadline(
    engine: Engine, stand_in: Callable[..., object]
) -> None:
    image = stand_in("tflite-runtime", "2.14.0", engine.arch).spec.tag  # type: ignore[attr-defined]
    ids = {
        deadline: engine.api.create_container(
            image, ["x"], labels={LABEL: f"{time.time() + deadline:.0f}"}
        )["Id"]
        for deadline in (-60, 60)
    }
    try:
        assert engine.sweep() >= 1
        left = {c["Id"] for c in engine.api.containers(all=True, filters={"label": LABEL})}
        assert ids[-60] not in left
        assert ids[60] in left
    finally:
        engine.api.remove_container(ids[60], force=True)


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("exhaust-memory", ExitStatus.OOM),
        ("crash", ExitStatus.CRASH),
        ("hang", ExitStatus.TIMEOUT),
        ("fail", ExitStatus.ERROR),
    ],
)
@pytest.mark.parametrize("arch", ["amd64", "armv7"])
def test_four_bad_endings_are_told_apart_with_and_without_the_emulator(
    stand_in: Callable[..., object], arch: str, what: str, status: ExitStatus
) -> None:
    runtime = stand_in("tflite-runtime", "2.14.0", arch, memory_bytes=160 * MIB)
    patience = 4.0 if what == "hang" else 40.0  # a busy machine starts qemu slowly
    trace = runtime.run_worker("-", "--pretend", what, timeout_s=patience)  # type: ignore[attr-defined]
    assert trace.status is status, trace.says


def test_odd_names_and_a_strict_umask_change_nothing(
    stand_in: Callable[..., ContainerRuntime],
    dense: bytes,
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A folder may be called anything, and its files may be for their owner alone."""
    runtime = stand_in("tflite-runtime", "2.14.0", engine.arch)
    rows = np.zeros((1, 16), np.int8)
    odd = tmp_path / "a:b,ro \"q\" 'r' $HOME é; -v"
    odd.mkdir(mode=0o700)
    private = odd / "worker.py"
    private.write_bytes(Path(worker.__file__).read_bytes())
    private.chmod(0o600)
    monkeypatch.setattr(worker, "__file__", str(private))
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    before = os.umask(0o077)
    try:
        trace = runtime.run(Job(model=dense, inputs=rows))
    finally:
        os.umask(before)
    assert trace.status is ExitStatus.OK, trace.says
    assert sorted(path.name for path in odd.iterdir()) == ["worker.py"]
