"""Which images an engine holds, and whether they are what today's inputs would make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgepack.errors import EnvironmentMissing
from edgepack.sandbox.engine import Engine
from edgepack.sandbox.images.spec import (
    DEFAULTS,
    ImageSpec,
    docker_folder,
    inputs_digest,
    known,
)

INPUTS = "edgepack.inputs"
DEBS = "edgepack.debs"


@dataclass(frozen=True, slots=True)
class ImageStatus:
    """One image as ``images list`` shows it.

    Attributes:
        state: ``present``, ``stale`` (made from other inputs) or ``absent``.
        identity: image id, empty where absent.
        size_bytes: unpacked, 0 where absent.
        inputs: SHA-256 of what an image made today would be made from.
        debs: SHA-256 of the list of Debian packages inside, empty where absent.
    """

    spec: ImageSpec
    state: str
    inputs: str
    identity: str = ""
    size_bytes: int = 0
    debs: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the stable keys of ``images list --json``."""
        return {
            "tag": self.spec.tag,
            "runtime": self.spec.package,
            "version": self.spec.version,
            "arch": self.spec.arch,
            "state": self.state,
            "inputs": self.inputs,
            "id": self.identity,
            "size_bytes": self.size_bytes,
            "debs": self.debs,
        }


def list_images(engine: Engine) -> tuple[ImageStatus, ...]:
    """Return every image that can be made, with its state on this engine."""
    return tuple(image_status(engine, spec) for spec in known())


def find(engine: Engine, spec: ImageSpec) -> ImageStatus:
    """Return the present or stale image of ``spec``.

    Raises:
        EnvironmentMissing: it is absent; says how to build it.
    """
    return find_all(engine, spec)[0]


def find_all(engine: Engine, *specs: ImageSpec) -> tuple[ImageStatus, ...]:
    """Return the present or stale images of ``specs``, in their order.

    Raises:
        EnvironmentMissing: some are absent; names them all and how to build them.
    """
    found = tuple(image_status(engine, spec) for spec in specs)
    absent = [listed.spec for listed in found if listed.state == "absent"]
    if absent:
        names = ", ".join(sorted({spec.tag for spec in absent}))
        verb = "are" if len(absent) > 1 else "is"
        raise EnvironmentMissing(f"{names} {verb} not there; {_how_to_build(absent)}")
    return found


def _how_to_build(absent: list[ImageSpec]) -> str:
    commands = ["edgepack images build"]
    if not {(spec.package, spec.version) for spec in absent} <= DEFAULTS:
        commands = [
            f"edgepack images build --runtime {spec.package} --runtime-version {spec.version} "
            f"--arch {spec.arch}"
            for spec in sorted(set(absent))
        ]
    return "run " + " && ".join(f"'{command}'" for command in commands)


def image_status(engine: Engine, spec: ImageSpec) -> ImageStatus:
    from docker.errors import ImageNotFound

    inputs = inputs_digest(spec, docker_folder())
    try:
        inspected = engine.api.inspect_image(spec.tag)
    except ImageNotFound:
        return ImageStatus(spec, "absent", inputs)
    labels = inspected["Config"].get("Labels") or {}
    return ImageStatus(
        spec,
        "present" if labels.get(INPUTS) == inputs else "stale",
        inputs,
        str(inspected["Id"]),
        int(inspected["Size"]),
        str(labels.get(DEBS, "")),
    )
