"""The container engine: is one there, and one command run in one sandbox."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepack.errors import EnvironmentMissing
from edgepack.sandbox.container_process import ContainerResult, follow
from edgepack.sandbox.isolation import Sandbox

LABEL = "edgepack.deadline"
_REMEDY = "start one with docker/engine.sh (as root), or set DOCKER_HOST"


@dataclass(frozen=True, slots=True)
class NoEngine:
    """Why no container engine can be used, with the remedy, on one line."""

    reason: str


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine that answered.

    Attributes:
        api: the SDK's low-level client.
        version: of the engine.
        arch: the instruction set it runs without an emulator: amd64, arm64 …
        cgroup: 1 or 2, which decides how memory is limited and counted.
    """

    api: Any
    version: str
    arch: str
    cgroup: int

    def run(
        self,
        image: str,
        command: Sequence[str],
        sandbox: Sandbox,
        *,
        mounts: Mapping[Path, str],
        env: Mapping[str, str],
        timeout_s: float,
        max_bytes: int,
    ) -> ContainerResult:
        """Run one command in a fresh sandbox and return how it ended; nothing stays behind.

        Args:
            mounts: host path -> path inside, each read-only.
            timeout_s: wall time after which the container is killed.
            max_bytes: of stdout; one that writes more is killed.

        Raises:
            EnvironmentMissing: the engine refuses to create or start the container.
        """
        from docker.errors import DockerException
        from docker.types import Mount

        deadline = time.time() + timeout_s + 30
        try:
            made = self.api.create_container(
                image,
                list(command),
                environment=dict(env),
                network_disabled=True,
                labels={LABEL: f"{deadline:.0f}"},
                host_config=self.api.create_host_config(
                    # not binds=["a:b:ro"]: a folder's own name may hold a colon
                    mounts=[
                        Mount(inside, str(source), type="bind", read_only=True)
                        for source, inside in mounts.items()
                    ],
                    **sandbox.host_config(timeout_s),
                ),
            )
            with self._removed_after(made["Id"]):
                return follow(self.api, made["Id"], timeout_s, max_bytes)
        except DockerException as error:
            raise EnvironmentMissing(
                f"the container engine (version {self.version}) could not run {image}: {error}"
            ) from error

    @contextlib.contextmanager
    def _removed_after(self, container: str) -> Iterator[None]:
        from docker.errors import NotFound

        try:
            yield
        finally:
            with contextlib.suppress(NotFound):  # swept by another process: gone is gone
                self.api.remove_container(container, force=True, v=True)

    def close(self) -> None:
        """Let go of the connection."""
        self.api.close()

    def sweep(self) -> int:
        """Remove containers of ours whose deadline has passed; return how many.

        One stays only where this process was killed while it ran.
        """
        old = 0
        for found in self.api.containers(all=True, filters={"label": LABEL}):
            if float(found["Labels"][LABEL]) < time.time():
                with contextlib.suppress(Exception):  # another process may sweep as well
                    self.api.remove_container(found["Id"], force=True, v=True)
                    old += 1
        return old


def available() -> Engine | NoEngine:
    """Return the engine that answers, or why none does; asks the environment as docker does."""
    try:
        import requests
        from docker.errors import DockerException

        import docker
    except ImportError as error:
        return NoEngine(f"the docker package is not installed ({error}); pip install docker")
    try:
        _ping()
        probe = docker.APIClient(timeout=10, **_address())
        try:
            answer = probe.version(api_version=False)
        finally:
            probe.close()
        api = docker.APIClient(version=str(answer["ApiVersion"]), timeout=60, **_address())
        info = api.info()
    except (DockerException, requests.exceptions.RequestException, OSError) as error:
        return NoEngine(f"no container engine answers ({_short(error)}); {_REMEDY}")
    if info.get("OSType", "linux") != "linux":
        return NoEngine(f"the engine runs {info['OSType']} containers; Linux ones are needed")
    engine = Engine(
        api=api,
        version=str(answer["Version"]),
        arch=str(answer["Arch"]),
        cgroup=2 if str(info.get("CgroupVersion", "1")) == "2" else 1,
    )
    engine.sweep()
    return engine


def require() -> Engine:
    """Return the engine that answers.

    Raises:
        EnvironmentMissing: none does; names the remedy.
    """
    found = available()
    if isinstance(found, NoEngine):
        raise EnvironmentMissing(found.reason)
    return found


def _address() -> dict[str, Any]:
    from docker.utils import kwargs_from_env

    return dict(kwargs_from_env())


def _ping() -> None:
    """Connect to the engine's local socket once: the SDK leaks one that it cannot connect."""
    host = _address().get("base_url") or "unix:///var/run/docker.sock"
    if host.startswith(("unix://", "http+unix://")):
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10)
            line.connect("/" + host.split("://", 1)[1].lstrip("/"))


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    for known in ("Connection refused", "No such file or directory", "Permission denied"):
        if known in text:
            return known.lower()
    return text[:120]
