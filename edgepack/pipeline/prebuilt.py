"""A .tflite that was made elsewhere, judged, proven and bundled as it is.

Nothing is trained or converted. Its test rows are answered by this machine's runtime in a
subprocess with limits, as in a build; what the file was calibrated on nobody knows, so gate
``calibration`` is not asked of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.draft import Samples, Training
from converters.task import CLASSIFICATION, MULTILABEL, TaskHint
from edgepack import file_kinds
from edgepack.bundle.archive import Provenance
from edgepack.errors import InputError, RuntimeFailure, UsageError
from edgepack.files import sha256
from edgepack.gates import static
from edgepack.gates.accuracy import HALF
from edgepack.gates.finding import Outcome
from edgepack.inference import scoring
from edgepack.inference.protocol import Runtime
from edgepack.pipeline.cache import Cache, default_cache
from edgepack.pipeline.compress import Intermediate
from edgepack.pipeline.data import loading
from edgepack.pipeline.evaluate import Evaluation, RowsToAnswer, Tested, answered
from edgepack.pipeline.pack import BuildTools, FinishedModel, PackOptions, Product, pack
from edgepack.pipeline.request import PackRequest, Progress, Target, resolve_target
from edgepack.pipeline.source import Source, versions
from edgepack.pipeline.tools import build_tools
from edgepack.pipeline.workspace import Answers, Workspace
from edgepack.tflite.facts import FLOATS, Facts, Tensor
from edgepack.tflite.flatbuffer import read
from edgepack.version import __version__

AS_IT_CAME = "as it came"
#: Operators that change how a number is stored or arranged, and not which one it is.
_LOOKED_THROUGH = frozenset({"QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS"})
#: Rows of which more values than this share are clipped, or that use less than this share of
#: what the input holds, were likely prepared for another model: a policy.
_CLIPPED, _USED = 0.01, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRequest(PackRequest):
    """A bundle of a finished .tflite in words, before anything is opened.

    Attributes:
        reference: its float model, a .tflite or a Keras file; None compares with none.
        min_accuracy: the least accuracy, exact match or R² that is asked for; None asks none.
    """

    reference: Path | None = None
    min_accuracy: float | None = None


def resolve(request: BundleRequest) -> Target:
    """Return what a request stands for; all that is cheap to refuse is refused here.

    Raises:
        UsageError: an unknown name or value.
        InputError: a model of another kind; a profile or key that cannot be read.
        OutputError: nothing can be written to ``out``.
    """
    floor = request.min_accuracy
    if floor is not None and not 0 < floor <= 1:  # also refuses NaN
        raise UsageError(
            f"--min-accuracy: wanted a share above 0 and at most 1. Received: {floor:g}"
        )
    file_kinds.refuse_other_kinds(request.model, "tflite")
    reference = request.reference
    if reference is not None and file_kinds.kind_of(reference) == "bundle":
        file_kinds.refuse_other_kinds(reference, "tflite")
    inputs = [request.model] if reference is None else [request.model, reference]
    return resolve_target(request, inputs)


def run(request: BundleRequest, target: Target, progress: Progress) -> tuple[Product, ...]:
    """Return one product a device, from a .tflite and test rows; writes no bundle.

    Raises:
        UsageError: the file tells no task and the request names none.
        InputError: a model, reference or data that cannot be read, or do not fit each other.
        ConversionError: a Keras reference that cannot be loaded.
        RuntimeFailure: the reference cannot be run.
    """
    model = file_kinds.read_tflite(request.model)
    loading.present(request.data)
    try:
        facts = read(model)
    except InputError as error:
        raise InputError(f"{request.model}: {error}") from error
    tools = build_tools(route=target.micro, sandbox=request.sandbox, say=progress.say)
    if static.signature(facts, target.profiles[0]).verdict is Outcome.FAIL:
        return _refused(model, facts, request, target, tools)  # no rows fit it
    _refuse_scales(facts, request.model)
    return _judged(model, facts, request, target, tools)


def _judged(
    model: bytes, facts: Facts, request: BundleRequest, target: Target, tools: BuildTools
) -> tuple[Product, ...]:
    reference = _reference(request, facts)
    hint = hint_of(facts)
    if reference is not None and reference.hint is not None and reference.hint.loss:
        hint = reference.hint
    samples, task = loading.load_test(
        request.data,
        input_shape=facts.inputs[0].shape[1:],
        output_shape=facts.outputs[0].shape[1:],
        task=request.task,
        hint=hint,
        pixels=request.pixels,
    )
    if request.task is None:
        tools.say(f"task: {task} ({hint.why})")
    _fit(samples.x_test, facts.inputs[0], request)
    answers = Answers()
    runtime = answers.of(tools.runtime)
    scores = None
    if reference is not None:
        tools.say(f"running {reference.path}")
        scores = reference.scores(samples, task, runtime)
    tools.say(f"evaluating {request.model} on {len(samples.x_test):,} test rows")
    steps = [Intermediate(AS_IT_CAME, model)]
    if reference is not None and reference.tflite is not None:
        steps.insert(0, Intermediate("float", reference.tflite))
    rows = RowsToAnswer(
        part="test",
        x=samples.x_test,
        targets=samples.y_test,
        task=task,
        decision_threshold=_decision_threshold(task, facts, hint),
        float_scores=scores,
    )
    tested: Tested = answered(rows, model, facts, steps, runtime)
    notes = tuple(_range_notes(samples.x_test, facts.inputs[0]))
    for note in notes:
        tools.say(f"warning: {note}")
    preprocessing = loading.preprocessing(request.data, samples, request.pixels)
    came = ("the model is packed as it came: it was neither trained nor converted here",)
    finished = FinishedModel(
        tflite=model,
        facts=facts,
        x_test=samples.x_test,
        labels=samples.labels,
        answers=answers,
        source_notes=came if reference is None else (*came, *reference.notes),
        notes=notes,
        provenance=_provenance(model, samples.digest, reference),
        origin="tflite",
    )
    options = _options(request, target, preprocessing)
    return _packed(finished, tested, target, options, tools)


def _refused(
    model: bytes, facts: Facts, request: BundleRequest, target: Target, tools: BuildTools
) -> tuple[Product, ...]:
    """Return the products of a file that no rows can be given to: its static gates."""
    none = np.zeros((0,), np.float32)
    compared = none if request.reference is not None else None
    tested: Tested = Evaluation(
        part="test",
        runtime=tools.runtime.name,
        task=request.task or CLASSIFICATION,
        decision_threshold=HALF,
        targets=none,
        float_scores=compared,
        scores=None,
    )
    finished = FinishedModel(
        tflite=model,
        facts=facts,
        x_test=none,
        labels=(),
        answers=Answers(),
        source_notes=(),
        notes=(),
        provenance=_provenance(model, "", None),
        origin="tflite",
    )
    options = _options(request, target, "none: no row fits it")
    return _packed(finished, tested, target, options, tools)


def _options(request: BundleRequest, target: Target, preprocessing: str) -> PackOptions:
    return PackOptions(
        name=target.name,
        preprocessing=preprocessing,
        evidence_bytes=target.evidence_bytes,
        sign=target.sign,
        min_accuracy=request.min_accuracy,
    )


def _packed(
    finished: FinishedModel,
    tested: Tested,
    target: Target,
    options: PackOptions,
    tools: BuildTools,
) -> tuple[Product, ...]:
    products = []
    for profile in target.profiles:
        tools.say(f"{profile.name}: judging")
        products.append(pack(finished, tested, profile, options=options, tools=tools))
    return tuple(products)


def _provenance(model: bytes, data_sha256: str, reference: Reference | None) -> Provenance:
    packages = {name: metadata.version(name) for name in ("ai-edge-litert", "numpy")}
    made: dict[str, Any] = {}
    if reference is not None:
        made = {"reference_sha256": reference.digest, "reference_kind": reference.kind}
        packages |= versions() if reference.tflite is None else {}
    return Provenance(
        edgepack=__version__,
        packages=packages,
        model_sha256=sha256(model),
        model_kind="tflite",
        data_sha256=data_sha256,
        **made,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The float model that a finished file is compared with.

    Attributes:
        tflite, facts: where it is a .tflite.
        source: where it is a Keras model.
        hint: what it says of the task; None where it is a .tflite.
    """

    path: Path
    digest: str
    kind: str
    notes: tuple[str, ...] = ()
    tflite: bytes | None = None
    facts: Facts | None = None
    source: Source | None = None
    hint: TaskHint | None = None

    def scores(self, samples: Samples, task: str, runtime: Runtime) -> NDArray[np.float32]:
        """Return its outputs on the test rows, ``(N, *output_shape)``.

        Raises:
            RuntimeFailure: it crashed, hung or was refused.
            InputError: an output is no number, so there is nothing to compare with.
        """
        if self.tflite is not None and self.facts is not None:
            try:
                found = scoring.scores(runtime, self.tflite, self.facts, samples.x_test)
            except RuntimeFailure as error:
                raise RuntimeFailure(f"--float {self.path}: {error}") from error
        elif self.source is not None:
            space = Workspace(self.source, samples, Training(task=task))
            found = space.float_scores("test")
        if not np.isfinite(found).all():
            raise InputError(
                f"--float {self.path}: some of its outputs are NaN or infinite; check the model"
                " and how the rows are prepared, or leave it out"
            )
        return found


def _reference(request: BundleRequest, facts: Facts) -> Reference | None:
    """Return the float model that the request names, found to fit the file's shapes.

    Raises:
        InputError: it cannot be read, or takes or gives other shapes.
    """
    path = request.reference
    if path is None:
        return None
    if file_kinds.kind_of(path) == "tflite":
        tflite = file_kinds.read_tflite(path)
        try:
            own = read(tflite)
        except InputError as error:
            raise InputError(f"--float {path}: {error}") from error
        takes = [tensor.shape[1:] for tensor in own.inputs]
        gives = [tensor.shape[1:] for tensor in own.outputs]
        notes: tuple[str, ...] = ()
        if own.precision not in ("float32", "float16"):
            notes = (f"the reference {path.name} computes in {own.precision} itself",)
        found = Reference(
            path=path,
            digest=sha256(tflite),
            kind="tflite",
            notes=notes,
            tflite=tflite,
            facts=own,
        )
    else:
        source = Source(path, Cache(default_cache()), request.allow_code)
        card = source.card
        takes, gives = [card.input_shape], [card.output_shape]
        found = Reference(
            path=path,
            digest=card.digest,
            kind=card.kind,
            notes=card.notes,
            source=source,
            hint=card.hint,
        )
    wanted = (facts.inputs[0].shape[1:], facts.outputs[0].shape[1:])
    if (takes, gives) != ([wanted[0]], [wanted[1]]):
        raise InputError(
            f"--float {path}: wanted a model that takes rows of {wanted[0]} and gives"
            f" {wanted[1]}, as {request.model} does. Received: {_shapes(takes)} to"
            f" {_shapes(gives)}; name the float model that the file was made from"
        )
    return found


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes)) or "none"


def hint_of(facts: Facts) -> TaskHint:
    """Return what a .tflite says of its task: it carries no loss, but its last operator.

    A softmax gives classes, and so does a single sigmoid; several sigmoids may be labels or
    a picture. What is none of these is cut at 0 where it must be cut, as a logit is.
    """
    last = last_operator(facts)
    several = math.prod(facts.outputs[0].shape[1:]) != 1
    classes = (last == "SOFTMAX" and several) or (last == "LOGISTIC" and not several)
    return TaskHint(
        task=CLASSIFICATION if classes else None,
        decision_threshold=HALF if last in ("SOFTMAX", "LOGISTIC") else 0.0,
        reason=f"a .tflite carries no loss, and the last operator of this one is {last}",
    )


def last_operator(facts: Facts) -> str:
    """Return the name of the operator that computes the output, past those that move it."""
    index, name = facts.outputs[0].index, "none"
    for _ in range(len(facts.makers) + 1):
        op = facts.makers.get(index)
        if op is None:
            return name
        name = op.name
        if name not in _LOOKED_THROUGH or not op.inputs:
            return name
        index = op.inputs[0]
    return name


def _decision_threshold(task: str, facts: Facts, hint: TaskHint) -> float:
    """Return where an output is cut; 0.5 stands for nothing where none is."""
    one = task == CLASSIFICATION and math.prod(facts.outputs[0].shape[1:]) == 1
    return hint.decision_threshold if one or task == MULTILABEL else HALF


def _refuse_scales(facts: Facts, path: Path) -> None:
    """Refuse ends whose numbers stand for nothing: no scale, or one that is no number.

    Raises:
        InputError: an input or output whose scale is not one positive number.
    """
    for what, tensor in (("input", facts.inputs[0]), ("output", facts.outputs[0])):
        scaled = tensor.quantization
        if scaled is None or tensor.dtype in FLOATS:
            continue
        good = len(scaled.scales) == len(scaled.zero_points) == 1
        if not good or not (0 < scaled.scales[0] < math.inf):
            raise InputError(
                f"{path}: wanted one positive scale and one zero point of the {what}."
                f" Received: {list(scaled.scales[:4])} and {list(scaled.zero_points[:4])};"
                " convert the model again"
            )


def _fit(x: NDArray[Any], tensor: Tensor, request: BundleRequest) -> None:
    """Refuse rows that an integer input without a scale does not hold as they are.

    Raises:
        InputError: fractions, or numbers beyond the input's own dtype.
    """
    if tensor.quantization is not None or tensor.dtype in FLOATS:
        return
    low, high = float(x.min()), float(x.max())
    edges = (0, 1) if tensor.dtype == "bool" else _edges(tensor)
    if (np.rint(x) == x).all() and edges[0] <= low and high <= edges[1]:
        return
    raise InputError(
        f"{request.data}: the {tensor.dtype} input of {request.model} has no scale: wanted"
        f" whole numbers from {edges[0]} to {edges[1]}. Received: {x.dtype}, {low:g} to"
        f" {high:g}; give the rows as the model takes them"
    )


def _edges(tensor: Tensor) -> tuple[int, int]:
    info = np.iinfo(np.dtype(tensor.dtype))
    return int(info.min), int(info.max)


def _range_notes(x: NDArray[Any], tensor: Tensor) -> list[str]:
    """Return a note where rows do not fit what a quantized input holds, else nothing."""
    scaled = tensor.quantization
    if scaled is None or tensor.dtype in FLOATS:
        return []
    scale, point = scaled.scales[0], scaled.zero_points[0]
    low, high = ((edge - point) * scale for edge in _edges(tensor))
    edge = 2 * scale  # 255 / 127.5 - 1 lies one step above what int8 holds of -1 to 1
    clipped = float(((x < low - edge) | (x > high + edge)).mean())
    holds = f"the {low:g} to {high:g} that the model's {tensor.dtype} input holds"
    then = "prepare the rows as those that it was trained on (images: --pixels)"
    if clipped > _CLIPPED:
        return [f"{clipped:.1%} of the test rows' values are clipped to {holds}; {then}"]
    least, most = float(x.min()), float(x.max())
    if most - least < _USED * (high - low):
        used = f"the test rows' values, {least:g} to {most:g}, use hardly any of {holds}"
        return [f"{used}; {then}"]
    return []
