"""From a production line to one product a device: a proven bundle, or what is wrong.

The composition only: it opens no file and starts nothing itself. Runtimes and the dynamic
gates come in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from edgepack.bundle import archive as packing
from edgepack.bundle.archive import Bundle, Step
from edgepack.compat import weight_forms as techniques
from edgepack.errors import EdgepackError, RuntimeFailure, UsageError
from edgepack.gates import accuracy
from edgepack.gates.check import check
from edgepack.gates.expected import Route, complete, expected_gates
from edgepack.gates.finding import Finding, Outcome, Verdict, unanswered
from edgepack.inference import scoring
from edgepack.inference.protocol import Runtime
from edgepack.pipeline import calibration, recipe
from edgepack.pipeline import pack as assembly
from edgepack.pipeline.conversion import options_for
from edgepack.pipeline.pack import Made, Order
from edgepack.pipeline.workspace import Line
from edgepack.profiles.profile import Profile
from edgepack.tflite.flatbuffer import read

#: Runs a bundle where its device would: (bundle, profile) -> the dynamic findings.
Trial = Callable[[Bundle, Profile], tuple[Finding, ...]]
#: More files for a device's bundle: (model, profile, name, golden rows and answers).
Extras = Callable[[bytes, Profile, str, Mapping[str, bytes]], dict[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a build works with.

    Attributes:
        runtime: answers the test rows; its kernels stand for the device's.
        oracle: the runtime whose reference answers are a device's goldens.
        trial: the dynamic gates.
        extras: a microcontroller's sources or an NPU's program.
        route: what those sources are made for, ``c`` or ``tflm``.
        say: told what is being done now.
    """

    runtime: Runtime
    oracle: Callable[[Profile], Runtime]
    trial: Trial
    extras: Extras
    route: Route = "c"
    say: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What came out for one device; ``data`` is the bundle, None where a gate failed."""

    made: Made
    verdict: Verdict
    data: bytes | None

    @property
    def profile(self) -> Profile:
        """The device."""
        return self.made.profile


def build(
    line: Line, profiles: Iterable[Profile], order: Order, means: Means
) -> tuple[Product, ...]:
    """Return one product a profile; what two profiles share is made once.

    Raises:
        UsageError: the recipe stores weights in a form that a device gains nothing from.
    """
    devices = tuple(profiles)
    for form, profile in product(line.recipe.forms, devices):
        found = techniques.gain(form, profile, means.route)
        if not found.pays:
            raise UsageError(
                f"recipe {line.recipe.name}: {form} weights gain nothing on {profile.name}: "
                f"{found.says}; leave [{recipe.table_of(form)}] out for this device"
            )
    return tuple(_product(line, profile, order, means) for profile in devices)


def _product(line: Line, profile: Profile, order: Order, means: Means) -> Product:
    options = options_for(profile.runtime)
    means.say(f"{profile.name}: compressing ({line.recipe.name})")
    model, notes = line.rewritten(len(line.recipe.rewrites), **options)
    means.say(f"{profile.name}: judging")
    facts, verdict = check(model, profile)
    found = accuracy.compare(
        order.task,
        line.samples.y_test,
        line.float_scores(),
        scoring.scores(means.runtime, model, facts, line.samples.x_test),
        confidence=profile.accuracy.confidence,
    )
    verdict = verdict.plus(
        *accuracy.judge(found, profile.accuracy, line.samples.labels),
        calibration.judge(line, profile, options, means.runtime),
    )
    made = Made(
        line=line,
        profile=profile,
        order=order,
        model=model,
        facts=facts,
        fidelity=found,
        steps=_steps(line, order.task, means.runtime, options),
        notes=(*line.notes, *notes),
    )
    asked = expected_gates(profile, means.route, task=order.task)
    try:
        files = assembly.files(made, means.oracle(profile))
    except RuntimeFailure as refused:  # this device's runtime does; others may yet take it
        verdict = complete(verdict.plus(unanswered("goldens", refused)), asked)
        return Product(made=made, verdict=verdict, data=None)
    more, said = _extras(made, means, files)
    files |= more
    verdict = verdict.plus(*said)
    means.say(f"{profile.name}: running it as the device would")
    draft = Bundle(assembly.manifest(made, verdict, files), files)
    verdict = verdict.plus(*means.trial(draft, profile))
    verdict = complete(verdict, asked)
    data = None
    if verdict.outcome is not Outcome.FAIL:
        final = assembly.manifest(made, verdict, files)
        text = packing.manifest_bytes(final)
        data = packing.pack(final, files, order.sign(text) if order.sign else None)
    return Product(made=made, verdict=verdict, data=data)


def _extras(
    made: Made, means: Means, files: Mapping[str, bytes]
) -> tuple[dict[str, bytes], tuple[Finding, ...]]:
    """Return the device's own files, or why there are none: a gate like the others."""
    try:
        return means.extras(made.model, made.profile, made.order.name, files), ()
    except EdgepackError as refused:
        return {}, (unanswered("firmware", refused),)


def _steps(
    line: Line, task: str, runtime: Runtime, options: dict[str, Any]
) -> tuple[Step, ...]:
    """Return what each stage gained and lost, every one as the int8 file it would make.

    The first row is the float model; its sizes and zeros are those of its float file.
    """
    truth, before = line.samples.y_test, line.float_scores()
    names = [type(stage).__name__.lower() for stage in line.recipe.stages]
    rows = [("float", line.float_tflite(), before)]
    for number, name in enumerate(["int8", *(f"{each}, int8" for each in names)]):
        model, _ = line.int8_tflite(number, **options)
        rows.append(
            (name, model, scoring.scores(runtime, model, read(model), line.samples.x_test))
        )
    for number, rewrite in enumerate(line.recipe.rewrites, 1):
        model, _ = line.rewritten(number, **options)
        after = scoring.scores(runtime, model, read(model), line.samples.x_test)
        rows.append((type(rewrite).__name__.lower(), model, after))
    return tuple(
        _step(name, model, accuracy.compare(task, truth, before, after))
        for name, model, after in rows
    )


def _step(name: str, model: bytes, found: accuracy.AccuracyComparison) -> Step:
    facts = read(model)
    total = sum(kernel.elements for kernel in facts.kernels) or 1
    zeros = sum(kernel.zeros_share * kernel.elements for kernel in facts.kernels)
    return Step(
        stage=name,
        score_name=found.score,
        score=round(found.score_now, 6),
        flatbuffer_bytes=facts.flatbuffer_bytes,
        download_bytes=facts.download_bytes,
        zeros_share=round(zeros / total, 4),
        codes=max((kernel.distinct for kernel in facts.kernels), default=0),
    )
