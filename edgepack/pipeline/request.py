"""A build as it is asked for in words, what the words stand for, and the run of it.

``resolve`` refuses everything that can be wrong without opening the model; ``run`` opens it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from converters.draft import Training
from converters.learning import augment
from converters.learning.augment import ALIASES, VIEWS
from edgepack import files
from edgepack.bundle import signing
from edgepack.errors import InputError, OutputError, UsageError
from edgepack.gates.accuracy import TASKS
from edgepack.gates.expected import Route
from edgepack.pipeline import recipe as recipes
from edgepack.pipeline.build import build
from edgepack.pipeline.cache import Cache, default_cache
from edgepack.pipeline.data import loading
from edgepack.pipeline.data.formats import PIXELS
from edgepack.pipeline.pack import PackOptions, Product, place
from edgepack.pipeline.recipe import Recipe
from edgepack.pipeline.source import Source
from edgepack.pipeline.tools import build_tools
from edgepack.pipeline.workspace import Workspace
from edgepack.profiles import catalogue
from edgepack.profiles.profile import Profile
from edgepack.suggestions import did_you_mean
from edgepack.units import parse_bytes


class Progress(Protocol):
    """Who is told how a build gets on."""

    def say(self, text: str) -> None:
        """Take in what is being done now."""

    def step(self, stage: str, done: int, total: int) -> None:
        """Take in how many of a stage's training steps are done."""


class Silent:
    """A progress that shows nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def step(self, stage: str, done: int, total: int) -> None:
        """Show nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRequest:
    """What every way to a bundle is asked in words, before anything is opened.

    Attributes:
        model: a Keras file or SavedModel folder for ``build``, a .tflite for ``bundle``.
        data: ``x.npz``, an image folder, ``tfds:NAME`` or ``file.py:function``.
        profiles: names of devices, ``.toml`` files, loaded profiles, or one of those.
        out: where the bundles will be written; None writes none.
        task: one of ``TASKS``; None takes what loss, shapes and targets imply.
        pixels: for image folders: ``raw`` 0-255, ``unit`` 0-1 or ``signed`` -1-1.
        allow_code: leave to run Lambda layers and pickled code of Keras models.
        evidence: the size of the test rows that travel along, like ``8 MiB``.
        sign_key: an Ed25519 private key in PEM.
        micro: sources for microcontrollers, ``c`` or ``tflm``.
        name: the model's in the bundles' names; None takes its file's.
        sandbox: run each bundle in its device's stand-in.
    """

    model: Path
    data: str
    profiles: catalogue.Devices
    out: Path | None = None
    task: str | None = None
    pixels: str = "raw"
    allow_code: bool = False
    evidence: str = "8 MiB"
    sign_key: Path | None = None
    micro: str = "c"
    name: str | None = None
    sandbox: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest(PackRequest):
    """A build in words, before anything is opened.

    Attributes:
        recipe: a built-in recipe's name or a ``.toml`` file.
        augment: random views of training rows, of ``VIEWS`` or their ``ALIASES``.
        teacher: another Keras model of the same inputs and outputs to learn from.
    """

    recipe: str = "prune-cluster-qat"
    seed: int = 0
    augment: Sequence[str] = ()
    teacher: Path | None = None

    def __post_init__(self) -> None:
        """Name each view once and by what it does, so that aliases give the same bundle."""
        object.__setattr__(self, "augment", augment.canonical(self.augment))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request's devices and bundles stand for, each found to be sound."""

    profiles: Sequence[Profile]
    name: str
    micro: Route
    evidence_bytes: int
    sign: Callable[[bytes], bytes] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What the words of a build's request stand for, each found to be sound."""

    target: Target
    recipe: Recipe


def resolve_target(request: PackRequest, read: Sequence[Path]) -> Target:
    """Return what a request's devices and bundles stand for.

    Args:
        read: the files that no bundle may be written over.

    Raises:
        UsageError: an unknown name or value.
        InputError: a profile or key that cannot be read.
        OutputError: nothing can be written to ``out``.
    """
    if request.task is not None and request.task not in TASKS:
        raise UsageError(f"--task: wanted {', '.join(TASKS)}. Received: {request.task!r}")
    if request.pixels not in PIXELS:
        raise UsageError(f"--pixels: wanted {', '.join(PIXELS)}. Received: {request.pixels!r}")
    if request.pixels != "raw" and not loading.holds_images(request.data):
        raise UsageError(
            f"--pixels {request.pixels}: for image folders and tfds: only;"
            f" {request.data} gives rows as the model takes them"
        )
    target = Target(
        profiles=catalogue.load_all(request.profiles),
        name=_name(request),
        micro=_route(request.micro),
        evidence_bytes=_evidence(request.evidence),
        sign=_signer(request.sign_key),
    )
    if request.out is not None:
        _refuse_unwritable(request.out, target, read)
    return target


def resolve(request: BuildRequest) -> Resolved:
    """Return what a build's request stands for; all that is cheap to refuse is refused here.

    The data are left to ``run``: who trains a demo first writes its own later.

    Raises:
        UsageError: an unknown name or value.
        InputError: a profile, recipe or key that cannot be read.
        OutputError: nothing can be written to ``out``.
    """
    recipe = recipes.load(request.recipe)
    _check_training_options(request, recipe)
    read = [request.model] if request.teacher is None else [request.model, request.teacher]
    return Resolved(target=resolve_target(request, read), recipe=recipe)


def run(request: BuildRequest, resolved: Resolved, progress: Progress) -> tuple[Product, ...]:
    """Return one product a device, from the model's file and data; writes no bundle.

    Raises:
        UsageError: the model tells no task and the request names none.
        InputError: a model or data that cannot be read, or do not fit each other.
        ConversionError: what a stage or the converter cannot take.
    """
    target = resolved.target
    loading.present(request.data)
    source = Source(request.model, Cache(default_cache()), request.allow_code)
    progress.say(f"reading {request.model}")
    views = tuple(request.augment)
    augment.check(views, source.card.input_shape)
    teacher = _teacher(request, source, progress)
    samples, task = loading.load(
        request.data,
        input_shape=source.card.input_shape,
        output_shape=source.card.output_shape,
        task=request.task,
        hint=source.card.hint,
        pixels=request.pixels,
        seed=request.seed,
    )
    if request.task is None:
        progress.say(f"task: {task} ({source.card.hint.why})")
    augment.check_targets(views, source.card.output_shape, task)
    training = Training(task=task, seed=request.seed, augment=views, progress=progress.step)
    options = PackOptions(
        name=target.name,
        preprocessing=loading.preprocessing(request.data, samples, request.pixels),
        evidence_bytes=target.evidence_bytes,
        sign=target.sign,
    )
    return build(
        Workspace(source, samples, training, teacher),
        resolved.recipe,
        target.profiles,
        options,
        build_tools(route=target.micro, sandbox=request.sandbox, say=progress.say),
    )


def _teacher(request: BuildRequest, source: Source, progress: Progress) -> Source | None:
    """Return the model to learn from; None where the request names none.

    Raises:
        InputError: its inputs or outputs are not those of the model.
    """
    if request.teacher is None:
        return None
    progress.say(f"reading {request.teacher}")
    teacher = Source(request.teacher, source.cache, request.allow_code)
    for what in ("input_shape", "output_shape"):
        wanted, got = getattr(source.card, what), getattr(teacher.card, what)
        if wanted != got:
            raise InputError(
                f"--teacher {request.teacher}: wanted {what.replace('_', ' ')} {wanted}, as "
                f"{request.model} has. Received: {got}; name a model of the same task"
            )
    return teacher


def _refuse_unwritable(out: Path, target: Target, read: Sequence[Path]) -> None:
    files.refuse_output_over_input("--out", out, read)
    files.check_writable(out)
    for profile in target.profiles:
        path = place(out, target.name, profile.name)
        if path.is_dir():
            raise OutputError(
                f"{path}: a folder lies where the bundle goes; remove or rename it"
            )


def _check_training_options(request: BuildRequest, recipe: Recipe) -> None:
    """Raise for an unknown view, or for views and a teacher of a recipe that trains nothing."""
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


def _name(request: PackRequest) -> str:
    """Return the model's name as it may stand in a file's name."""
    if request.name is None:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", request.model.stem)[:60].strip(".-")
        return plain or "model"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}", request.name):
        raise UsageError(
            "--name: wanted at most 60 letters, digits, dots, dashes and underscores."
            f" Received: {request.name!r}"
        )
    return request.name


def _route(word: str) -> Route:
    if word == "c":
        return "c"
    if word == "tflm":
        return "tflm"
    raise UsageError(f"--micro: wanted c or tflm. Received: {word!r}")


def _evidence(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise UsageError(f"--evidence: {error}") from error


def _signer(key: Path | None) -> Callable[[bytes], bytes] | None:
    """Return a function that signs with ``key``; a bad key shows before the build."""
    if key is None:
        return None
    pem = files.read_whole(key, 64 * 1024, "a private key")
    signing.sign(b"a trial", pem, str(key))
    return lambda text: signing.sign(text, pem, str(key))
