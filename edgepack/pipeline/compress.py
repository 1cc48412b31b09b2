"""A workspace and a recipe in, a candidate out: the .tflite that would be shipped."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgepack.compat.measured_support import kernel_status, measured_release
from edgepack.pipeline.recipe import Recipe, kind_of
from edgepack.pipeline.workspace import Workspace
from edgepack.profiles.profile import CarriedRuntime
from edgepack.tflite.facts import Facts
from edgepack.tflite.flatbuffer import read


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionOptions:
    """What the runtime that a device carries dictates to the conversion.

    Attributes:
        per_channel_dense: False where the runtime computes per-channel fully-connected
            weights wrongly or not at all.
    """

    per_channel_dense: bool = True

    @classmethod
    def of(cls, runtime: CarriedRuntime) -> ConversionOptions:
        """Return the options of a device's runtime, from what was measured of its release.

        Old releases compute per-channel fully-connected weights wrongly or not at all, and
        the converter writes those unless told otherwise.
        """
        release = measured_release(runtime.name, runtime.version)
        status = release and kernel_status(
            "FULLY_CONNECTED", "int8/per-channel", 1, runtime.name, release
        )
        return cls(per_channel_dense=status == "ok")


@dataclass(frozen=True, slots=True)
class Intermediate:
    """What the model would be if the recipe ended after this step."""

    step: str
    tflite: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A finished model and what its making has to say; knows no device and no test row.

    Attributes:
        tflite: full int8, after all of the recipe's rewrites.
        facts: of ``tflite``.
        notes: what a stage did not do and why, and what the teacher was asked.
        steps: the float file, then the int8 file after each step; the last is ``tflite``.
            Empty where ``compress`` was asked for the model alone.
        halves: the last draft calibrated on either half of the rows, before any rewrite.
            Empty where ``steps`` are.
    """

    recipe: Recipe
    options: ConversionOptions
    tflite: bytes
    facts: Facts
    notes: tuple[str, ...]
    steps: tuple[Intermediate, ...] = ()
    halves: tuple[bytes, ...] = ()


def compress(
    workspace: Workspace,
    recipe: Recipe,
    options: ConversionOptions | None = None,
    *,
    model_only: bool = False,
) -> Candidate:
    """Return what the recipe makes of the workspace's model for a runtime.

    Args:
        options: of the runtime; None converts for a current one.
        model_only: leave out what explains and proves it (``steps`` and ``halves``), which
            costs a conversion each: for searches.

    Raises:
        ModelRefused, DataRefused, TrainingFailed: what a stage cannot take.
        ConverterCrashed, FloatIsland, InvariantBroken: what the converter made of it.
    """
    chosen = options or ConversionOptions()
    int8 = replace(recipe.int8, per_channel_dense=chosen.per_channel_dense)
    halves = () if model_only else workspace.int8_halves(recipe.stages, int8)
    made = workspace.rewritten(recipe.stages, int8, recipe.rewrites)
    notes = (*workspace.teacher_notes(recipe.stages), *made.notes)
    candidate = Candidate(
        recipe=recipe,
        options=chosen,
        tflite=made.tflite,
        facts=read(made.tflite),
        notes=tuple(dict.fromkeys(notes)),
    )
    if model_only:
        return candidate
    steps = [Intermediate("float", workspace.float_tflite())]
    for count in range(len(recipe.stages) + 1):
        stages = recipe.stages[:count]
        name = f"{kind_of(stages[-1])}, int8" if stages else "int8"
        steps.append(Intermediate(name, workspace.int8_tflite(stages, int8).tflite))
    for count, rewrite in enumerate(recipe.rewrites, 1):
        after = workspace.rewritten(recipe.stages, int8, recipe.rewrites[:count])
        steps.append(Intermediate(kind_of(rewrite), after.tflite))
    return replace(candidate, steps=tuple(steps), halves=halves)
