"""edgepack from Python: what the commands do, as functions of values.

``edgepack`` itself hands these names out, so ``from edgepack import build`` is all it takes.
A failed gate is a value in a ``Verdict``; an exception means that the question could not be
answered: ``edgepack.errors.EdgepackError`` or ``converters.errors.ConversionError``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgepack.bundle import archive, validation
from edgepack.bundle.archive import Bundle
from edgepack.emulation.bench import BenchOptions, BenchResult
from edgepack.file_kinds import read_tflite, refuse_other_kinds
from edgepack.files import read_whole
from edgepack.gates.expected import complete, dynamic_gates, route_of
from edgepack.gates.finding import Finding, Outcome, Verdict
from edgepack.gates.static import check as check_facts
from edgepack.inference.host import HostRuntime
from edgepack.pipeline import prebuilt
from edgepack.pipeline.pack import Product
from edgepack.pipeline.request import BuildRequest, Progress, Silent, resolve, run
from edgepack.pipeline.tools import DynamicGates, oracle_of
from edgepack.profiles import catalogue
from edgepack.profiles.profile import Profile

#: What ``edgepack`` hands out, and all that it promises to keep.
__all__ = [
    "BenchOptions",
    "BenchResult",
    "Bundle",
    "Finding",
    "Outcome",
    "Product",
    "Profile",
    "Verdict",
    "bench",
    "build",
    "bundle_tflite",
    "check",
    "load_bundle",
    "load_profile",
    "validate",
]

StrPath = str | os.PathLike[str]


def load_profile(name: StrPath) -> Profile:
    """Return the device of that name, or the one in that ``.toml`` file.

    Raises:
        UsageError: no such device; names the nearest.
        InputError: the file cannot be read, or holds mistakes.
    """
    return catalogue.load(os.fspath(name))


def load_bundle(path: StrPath) -> Bundle:
    """Return the bundle in an ``.edgepack`` file, its names, sizes and digests checked.

    Raises:
        InputError: unreadable, damaged, altered, or another kind of file.
    """
    place = Path(path)
    refuse_other_kinds(place, "bundle")
    data = read_whole(place, archive.CEILING_BYTES, "an .edgepack bundle")
    return archive.unpack(data, str(place))


def check(model: bytes | StrPath, profile: Profile | StrPath) -> Verdict:
    """Return what the static gates find in a ``.tflite``; neither TensorFlow nor engine runs.

    Args:
        model: the file's bytes, or where it lies.

    Raises:
        InputError: no undamaged ``.tflite``.
        UsageError: no such device.
    """
    data = model if isinstance(model, bytes) else read_tflite(Path(model))
    return check_facts(data, _device(profile))[1]


def build(
    model: StrPath,
    data: StrPath,
    profiles: catalogue.Devices,
    *,
    recipe: StrPath = "prune-cluster-qat",
    task: str | None = None,
    seed: int = 0,
    augment: Sequence[str] = (),
    teacher: StrPath | None = None,
    pixels: str = "raw",
    evidence: str = "8 MiB",
    sign_key: StrPath | None = None,
    micro: str = "c",
    name: str | None = None,
    allow_code: bool = False,
    sandbox: bool = True,
    progress: Progress | None = None,
) -> tuple[Product, ...]:
    """Return one product a device: its verdict, and its bundle where no gate failed.

    Nothing is written but the cache of finished stages; ``Product.save`` writes a bundle.
    The arguments are the options of ``edgepack build``.

    Raises:
        UsageError: an unknown name or value.
        InputError: a file that cannot be read, or data that do not fit the model.
        ConversionError: what a stage or the converter cannot take.
    """
    request = BuildRequest(
        model=Path(model),
        data=os.fspath(data),
        profiles=profiles,
        recipe=os.fspath(recipe),
        task=task,
        seed=seed,
        augment=augment,
        teacher=None if teacher is None else Path(teacher),
        pixels=pixels,
        evidence=evidence,
        sign_key=None if sign_key is None else Path(sign_key),
        micro=micro,
        name=name,
        allow_code=allow_code,
        sandbox=sandbox,
    )
    return run(request, resolve(request), progress or Silent())


def bundle_tflite(
    model: StrPath,
    data: StrPath,
    profiles: catalogue.Devices,
    *,
    reference: StrPath | None = None,
    min_accuracy: float | None = None,
    task: str | None = None,
    pixels: str = "raw",
    evidence: str = "8 MiB",
    sign_key: StrPath | None = None,
    micro: str = "c",
    name: str | None = None,
    allow_code: bool = False,
    sandbox: bool = True,
    progress: Progress | None = None,
) -> tuple[Product, ...]:
    """Return one product a device of a ``.tflite`` made elsewhere, packed as it is.

    Nothing is written; ``Product.save`` writes a bundle. The arguments are the options of
    ``edgepack bundle``.

    Args:
        reference: its float model, a ``.tflite`` or a Keras file, to compare it with.
        min_accuracy: the least accuracy, exact match or R² that the test rows must show.

    Raises:
        UsageError: an unknown name or value.
        InputError: a file that cannot be read, or data that do not fit the model.
        ConversionError: a Keras reference that cannot be loaded.
        RuntimeFailure: a reference that cannot be run.
    """
    request = prebuilt.BundleRequest(
        model=Path(model),
        data=os.fspath(data),
        profiles=profiles,
        reference=None if reference is None else Path(reference),
        min_accuracy=min_accuracy,
        task=task,
        pixels=pixels,
        evidence=evidence,
        sign_key=None if sign_key is None else Path(sign_key),
        micro=micro,
        name=name,
        allow_code=allow_code,
        sandbox=sandbox,
    )
    return prebuilt.run(request, prebuilt.resolve(request), progress or Silent())


def validate(
    bundle: Bundle | StrPath,
    profile: Profile | StrPath | None = None,
    *,
    trust: StrPath | None = None,
    sandbox: bool = True,
) -> Verdict:
    """Return what every gate finds in a bundle, asked again from nothing but itself.

    Args:
        profile: another device than the bundle's own.
        trust: an Ed25519 public key in PEM whose signature the bundle must carry.
        sandbox: False leaves the gates that run it inconclusive.

    Raises:
        InputError: a file that cannot be read.
        UsageError: no such device.
    """
    whole = _bundle(bundle)
    own = validation.profile_of(whole)
    key = None if trust is None else read_whole(Path(trust), 64 * 1024, "a public key")
    _, verdict = validation.validate(
        whole,
        own if profile is None else _device(profile),
        HostRuntime(),
        DynamicGates(sandbox=sandbox),
        oracle=oracle_of(own),
        trusted_pem=key,
        trusted_name=str(trust),
    )
    return verdict


def bench(
    bundle: Bundle | StrPath,
    profile: Profile | StrPath | None = None,
    *,
    options: BenchOptions | None = None,
    say: Callable[[str], None] | None = None,
) -> BenchResult:
    """Return the findings and figures of a bundle run in its device's stand-in.

    Raises:
        InputError: a file that cannot be read.
        UsageError: no such device.
    """
    whole = _bundle(bundle)
    device = validation.profile_of(whole) if profile is None else _device(profile)
    result = DynamicGates(options=options, say=say or Silent().say).bench(whole, device)
    asked = dynamic_gates(device, route_of(whole.files))
    return replace(result, findings=complete(result.verdict, asked).findings)


def _device(profile: Profile | StrPath) -> Profile:
    return profile if isinstance(profile, Profile) else load_profile(profile)


def _bundle(bundle: Bundle | StrPath) -> Bundle:
    return bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
