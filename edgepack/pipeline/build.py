"""Compress, evaluate, pack: one model and a recipe into one product a device.

The composition only: it opens no file and starts nothing itself. Runtimes and the dynamic
gates come in as arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from converters.tflite.convert_process import kept_warm
from edgepack.compat import weight_forms
from edgepack.errors import UsageError
from edgepack.gates import accuracy
from edgepack.gates.accuracy import CLASSIFICATION, MULTILABEL
from edgepack.pipeline.compress import Candidate, ConversionOptions, compress
from edgepack.pipeline.evaluate import Tested, evaluate
from edgepack.pipeline.pack import BuildTools, PackOptions, Product, pack
from edgepack.pipeline.recipe import Recipe, table_of
from edgepack.pipeline.workspace import Workspace
from edgepack.profiles.profile import Profile


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
            products.append(
                pack(workspace, candidate, tested, profile, options=options, tools=tools)
            )
    return tuple(products)


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
                f"{found.says}; leave [{table_of(form)}] out for this device"
            )
