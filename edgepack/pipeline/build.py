"""Compress, evaluate, pack: one model and a recipe into one product a device.

The composition only: it opens no file and starts nothing itself. Runtimes and the dynamic
gates come in as arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import product

from converters.tflite.convert_process import kept_warm
from edgepack.bundle.archive import Provenance
from edgepack.compat import weight_forms
from edgepack.errors import UsageError
from edgepack.gates import accuracy
from edgepack.gates.accuracy import CLASSIFICATION, MULTILABEL
from edgepack.pipeline import calibration
from edgepack.pipeline.compress import Candidate, ConversionOptions, compress
from edgepack.pipeline.evaluate import Tested, evaluate
from edgepack.pipeline.pack import BuildTools, FinishedModel, PackOptions, Product, pack
from edgepack.pipeline.recipe import Recipe, table_of
from edgepack.pipeline.source import versions
from edgepack.pipeline.workspace import Workspace
from edgepack.profiles.profile import Profile
from edgepack.version import __version__


def build(
    workspace: Workspace,
    recipe: Recipe,
    profiles: Iterable[Profile],
    options: PackOptions,
    tools: BuildTools,
) -> tuple[Product, ...]:
    """Return one product a profile; what two devices share is made once.

    A device on which the model fails, or whose runtime does, costs no other its bundle.

    Raises:
        UsageError: the recipe stores weights in a form that a device gains nothing from.
    """
    devices = tuple(profiles)
    _refuse_idle_forms(recipe, devices, tools)
    _warn_of_float(workspace, devices, tools)
    made: dict[ConversionOptions, tuple[Candidate, Tested]] = {}
    products = []
    with kept_warm():
        for profile in devices:
            wanted = ConversionOptions.of(profile.runtime)
            if wanted not in made:
                tools.say(f"{profile.name}: compressing ({recipe.name})")
                candidate = compress(workspace, recipe, wanted)
                tools.say(f"{profile.name}: evaluating on the test part")
                tested = evaluate(workspace, candidate, "test", tools.runtime)
                made[wanted] = candidate, tested
            tools.say(f"{profile.name}: judging")
            candidate, tested = made[wanted]
            model = finished(workspace, candidate)
            products.append(pack(model, tested, profile, options=options, tools=tools))
    return tuple(products)


def finished(workspace: Workspace, candidate: Candidate) -> FinishedModel:
    """Return a candidate as it is packed, with where it came from."""
    card, teacher = workspace.source.card, workspace.teacher
    return FinishedModel(
        tflite=candidate.tflite,
        facts=candidate.facts,
        x_test=workspace.rows("test")[0],
        labels=workspace.samples.labels,
        answers=workspace.answers,
        source_notes=card.notes,
        notes=candidate.notes,
        provenance=Provenance(
            edgepack=__version__,
            packages=versions(),
            model_sha256=card.digest,
            model_kind=card.kind,
            bridge_max_abs_diff=card.bridge_max_abs_diff,
            data_sha256=workspace.samples.digest,
            recipe=candidate.recipe.name,
            stages=tuple(candidate.recipe.words()),
            seed=workspace.training.seed,
            augment=workspace.training.augment,
            teacher_sha256=None if teacher is None else teacher.card.digest,
        ),
        calibration=partial(calibration.judge, workspace, candidate),
    )


def _warn_of_float(
    workspace: Workspace, devices: tuple[Profile, ...], tools: BuildTools
) -> None:
    """Say which classes the float model itself misses, before anything is trained.

    On the validation part: the test part answers once, at the end.
    """
    if workspace.task not in (CLASSIFICATION, MULTILABEL):
        return
    asked = [profile for profile in devices if profile.accuracy.min_class_recall is not None]
    if not asked:
        return
    _, truth = workspace.rows("val")
    scores, cut = workspace.float_scores("val"), workspace.decision_threshold
    recalls = accuracy.class_recalls(workspace.task, truth, scores, cut)
    for profile in asked:
        line = accuracy.float_warning(recalls, profile.accuracy, workspace.samples.labels)
        if line is not None:
            tools.say(f"warning: {profile.name}: {line}")


def _refuse_idle_forms(recipe: Recipe, devices: tuple[Profile, ...], tools: BuildTools) -> None:
    for form, profile in product(recipe.forms, devices):
        found = weight_forms.gain(form, profile, tools.route)
        if not found.pays:
            raise UsageError(
                f"recipe {recipe.name}: {form} weights gain nothing on {profile.name}: "
                f"{found.says}; "
                f"build for it apart, with a recipe without [{table_of(form)}]"
            )
