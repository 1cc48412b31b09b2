"""What a build is asked for, and all of it that can be wrong without opening the model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgepack.cli.build_results import place
from edgepack.cli.check import devices_of
from edgepack.units import parse_bytes

if TYPE_CHECKING:
    from edgepack.pipeline.recipe import Recipe
    from edgepack.profiles.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What ``build`` was asked for, before anything is opened."""

    model: Path
    data: str
    profiles: Sequence[str]
    recipe: str
    out: Path
    task: str | None = None
    pixels: str = "raw"
    seed: int = 0
    augment: Sequence[str] = ()
    teacher: Path | None = None
    strict: bool = False
    allow_code: bool = False
    evidence: str = "8 MiB"
    sign_key: Path | None = None
    micro: str = "c"
    name: str | None = None
    sandbox: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What the words of a request stand for, each found to be sound."""

    profiles: Sequence[Profile]
    recipe: Recipe
    name: str
    micro: Literal["c", "tflm"]
    evidence_bytes: int
    sign: Callable[[bytes], bytes] | None


def settle(request: Request) -> Settled:
    """Return what a request means; everything that is cheap to refuse is refused here.

    The data are left to the caller: ``demo`` writes its own later.

    Raises:
        UsageError: an unknown name or value.
        InputError: a profile, recipe or key that cannot be read.
        OutputError: nothing can be written to ``--out``.
    """
    from edgepack import files as store
    from edgepack.cli import file_kinds
    from edgepack.errors import OutputError, UsageError
    from edgepack.gates.accuracy import TASKS
    from edgepack.pipeline import recipe
    from edgepack.pipeline.data import loading as data
    from edgepack.pipeline.data.formats import PIXELS

    if request.task is not None and request.task not in TASKS:
        raise UsageError(f"--task: wanted {', '.join(TASKS)}. Received: {request.task!r}")
    if request.pixels not in PIXELS:
        raise UsageError(f"--pixels: wanted {', '.join(PIXELS)}. Received: {request.pixels!r}")
    if request.pixels != "raw" and not data.holds_images(request.data):
        raise UsageError(
            f"--pixels {request.pixels}: for image folders and tfds: only;"
            f" {request.data} gives rows as the model takes them"
        )
    settled = Settled(
        profiles=devices_of(request.profiles),
        recipe=recipe.load(request.recipe),
        name=_name(request),
        micro=_route(request.micro),
        evidence_bytes=_evidence(request.evidence),
        sign=_signer(request.sign_key),
    )
    _check_training_options(request, settled.recipe)
    read = [request.model] if request.teacher is None else [request.model, request.teacher]
    file_kinds.apart("--out", request.out, read)
    store.prove_writable(request.out)
    for profile in settled.profiles:
        path = place(request.out, settled.name, profile.name)
        if path.is_dir():
            raise OutputError(
                f"{path}: a folder lies where the bundle goes; remove or rename it"
            )
    return settled


def _check_training_options(request: Request, recipe: Recipe) -> None:
    """Refuse views and a teacher that the recipe has no training for.

    Raises:
        UsageError: an unknown view, or a recipe that trains nothing.
    """
    from converters.learning.augment import ALIASES, VIEWS
    from edgepack.errors import UsageError
    from edgepack.suggestions import did_you_mean

    for name in request.augment:
        if name not in VIEWS:
            raise UsageError(
                f"--augment: wanted {', '.join(VIEWS)}. Received: {name!r}"
                f"{did_you_mean(name, (*VIEWS, *ALIASES), 0.0)}"
            )
    given = {"--augment": request.augment, "--teacher": request.teacher}
    for option, value in given.items():
        if value and not recipe.stages:
            raise UsageError(
                f"{option}: recipe {recipe.name} trains nothing; choose one with stages "
                "(docs/recipes.md), or leave the option out"
            )


def _name(request: Request) -> str:
    """Return the model's name as it may stand in a file's name."""
    from edgepack.errors import UsageError

    if request.name is None:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", request.model.stem)[:60].strip(".-")
        return plain or "model"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}", request.name):
        raise UsageError(
            "--name: wanted at most 60 letters, digits, dots, dashes and underscores."
            f" Received: {request.name!r}"
        )
    return request.name


def _route(word: str) -> Literal["c", "tflm"]:
    from edgepack.errors import UsageError

    if word == "c":
        return "c"
    if word == "tflm":
        return "tflm"
    raise UsageError(f"--micro: wanted c or tflm. Received: {word!r}")


def _evidence(text: str) -> int:
    from edgepack.errors import UsageError

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise UsageError(f"--evidence: {error}") from error


def _signer(key: Path | None) -> Callable[[bytes], bytes] | None:
    """Return a function that signs with ``key``; a bad key shows before the build."""
    if key is None:
        return None
    from edgepack import files as store
    from edgepack.bundle import signing

    pem = store.read_whole(key, 64 * 1024, "a private key")
    signing.sign(b"a trial", pem, str(key))
    return lambda text: signing.sign(text, pem, str(key))
