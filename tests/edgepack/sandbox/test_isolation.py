"""Laws of the sandbox's settings; what they do is in test_sandbox_container."""

import json

import pytest

from edgepack.emulation.bench import bench
from edgepack.gates.expected import SANDBOX
from edgepack.gates.finding import Outcome
from edgepack.sandbox.engine import NoEngine, available, require
from edgepack.sandbox.images.spec import docker_folder
from edgepack.sandbox.isolation import MIN_MEMORY_BYTES, sandbox

FOLDER = docker_folder()


def test_nothing_is_granted_unasked() -> None:
    options = sandbox(FOLDER).host_config(10.0)
    assert options["network_mode"] == "none"
    assert options["read_only"] is True
    assert options["cap_drop"] == ["ALL"]
    assert "no-new-privileges" in options["security_opt"]
    assert options["init"] is True
    assert "privileged" not in options
    assert "mem_limit" not in options


@pytest.mark.parametrize("size", [MIN_MEMORY_BYTES, 64 * 2**20])
def test_a_memory_limit_leaves_no_swap(size: int) -> None:
    options = sandbox(FOLDER, memory_bytes=size).host_config(10.0)
    assert options["mem_limit"] == options["memswap_limit"] == size


def test_a_quota_has_a_short_period() -> None:
    options = sandbox(FOLDER, cpu_share=0.25).host_config(10.0)
    assert options["cpu_period"] == 10_000
    assert options["cpu_quota"] == 2_500


def test_the_allow_list_denies_the_rest() -> None:
    rules = json.loads((FOLDER / "seccomp.json").read_text())
    assert rules["defaultAction"] == "SCMP_ACT_ERRNO"
    allowed = {
        name
        for rule in rules["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW"
        for name in rule["names"]
    }
    assert {"read", "mmap", "futex", "execve", "getpgid"} <= allowed
    for name in [
        "socket",
        "connect",
        "bind",
        "sendto",
        "ptrace",
        "mount",
        "unshare",
        "setns",
        "bpf",
        "keyctl",
        "add_key",
        "chroot",
        "pivot_root",
        "init_module",
        "kexec_load",
        "perf_event_open",
        "userfaultfd",
        "io_uring_setup",
        "clone3",
        "process_vm_readv",
        "personality",
        "open_by_handle_at",
    ]:
        assert name not in allowed
    (clone,) = [rule for rule in rules["syscalls"] if rule["names"] == ["clone"]]
    assert clone["args"][0]["value"] == 0x7E020000, "no new namespaces"


def test_without_an_engine_every_gate_is_open_and_says_the_remedy(
    monkeypatch: pytest.MonkeyPatch, dense: bytes, dense_rows: object
) -> None:
    from edgepack.errors import EnvironmentMissing
    from edgepack.profiles import catalogue

    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    found = available()
    assert isinstance(found, NoEngine)
    assert "docker/engine.sh" in found.reason
    assert "\n" not in found.reason
    with pytest.raises(EnvironmentMissing, match=r"engine\.sh"):
        require()
    tablet = catalogue.load("clinic-tablet-1gb-armv7")
    findings = bench(dense, tablet, dense_rows, dense_rows).findings  # type: ignore[arg-type]
    assert tuple(f.gate for f in findings) == SANDBOX
    assert {f.verdict for f in findings} == {Outcome.INCONCLUSIVE}
    assert all("docker/engine.sh" in f.says for f in findings)


def test_a_microcontroller_is_sent_to_its_own_route(dense: bytes, dense_rows: object) -> None:
    from edgepack.profiles import catalogue

    board = catalogue.load("nucleo-l4r5zi")
    findings = bench(dense, board, dense_rows, dense_rows).findings  # type: ignore[arg-type]
    assert {f.verdict for f in findings} == {Outcome.INCONCLUSIVE}
    assert "micro" in findings[0].says
