"""A judged candidate in, a device's product out: its verdict, and a bundle if none failed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack.bundle import archive
from edgepack.bundle.archive import Bundle, Manifest, Provenance
from edgepack.bundle.validation import RunGates
from edgepack.errors import EdgepackError, RuntimeFailure, UsageError
from edgepack.files import write_whole
from edgepack.gates import absolute_accuracy, static
from edgepack.gates.absolute_accuracy import AccuracyScore
from edgepack.gates.accuracy import CLASSIFICATION, AccuracyComparison
from edgepack.gates.expected import Origin, Route, complete, expected_gates
from edgepack.gates.finding import Finding, Outcome, Verdict, unanswered
from edgepack.inference import scoring
from edgepack.inference.protocol import Runtime
from edgepack.pipeline.evaluate import Tested
from edgepack.pipeline.workspace import Answers
from edgepack.profiles.profile import Profile
from edgepack.tflite.facts import Facts, Tensor

GOLDEN_ROWS = 16

#: Runs a bundle where its device would: (bundle, profile) -> the dynamic findings.
#: More files for a device's bundle: (model, profile, name, golden rows and answers).
FirmwareFiles = Callable[[bytes, Profile, str, Mapping[str, bytes]], dict[str, bytes]]


def _silent(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """What the user asked for beside the model, the recipe and the data.

    Attributes:
        name: the model's, in the bundle's name.
        preprocessing: what was done to the data before the model saw them.
        evidence_bytes: test rows that travel in the bundle, so that accuracy can be proven
            again without the data; 0 keeps every sample at home.
        sign: manifest bytes -> signature, or None.
        min_accuracy: the least score that the user asks for, whatever a float model has.
    """

    name: str
    preprocessing: str
    evidence_bytes: int
    sign: Callable[[bytes], bytes] | None = None
    min_accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTools:
    """What a build works with.

    Attributes:
        runtime: answers the rows; its kernels stand for the device's.
        oracle: the runtime whose reference answers are a device's goldens.
        run_gates: the dynamic gates.
        firmware: a microcontroller's sources or an NPU's program.
        route: what those sources are made for.
        say: told what is being done now.
    """

    runtime: Runtime
    oracle: Callable[[Profile], Runtime]
    run_gates: RunGates
    firmware: FirmwareFiles
    route: Route = "c"
    say: Callable[[str], None] = _silent


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedModel:
    """A finished .tflite and all that packing must know of it, whichever way it came.

    Attributes:
        x_test, labels: the rows that it was evaluated on, in the float model's units, and the
            names of its classes or columns.
        answers: of runtimes, about this file.
        source_notes, notes: what there is to tell of the file it was made of, and of its
            making.
        provenance: digests and versions of all that it was made from.
        origin: whether it was built here or came as it is.
        calibration: asks the rows that set its int8 ranges; None where nobody knows them.
    """

    tflite: bytes
    facts: Facts
    x_test: NDArray[Any]
    labels: tuple[str, ...]
    answers: Answers
    source_notes: tuple[str, ...]
    notes: tuple[str, ...]
    provenance: Provenance
    origin: Origin = "keras"
    calibration: Callable[[Profile, Runtime], Finding] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """A finished model with what was learned of it on the test part."""

    model: FinishedModel
    evaluation: Tested
    profile: Profile
    options: PackOptions

    @property
    def comparison(self) -> AccuracyComparison | None:
        """With the float model; None without one, or where the runtime gave no answers."""
        return self.evaluation.compared(self.profile.accuracy.confidence)

    @property
    def score(self) -> AccuracyScore | None:
        """The model's own; None where the runtime gave no answers."""
        return self.evaluation.measured(self.profile.accuracy.confidence)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be told of the making, in words."""
        return tuple(dict.fromkeys((*self.model.notes, *self.evaluation.notes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What came out for one device; ``data`` is the bundle, None where a gate failed."""

    result: BuildResult
    verdict: Verdict
    data: bytes | None

    @property
    def profile(self) -> Profile:
        """The device."""
        return self.result.profile

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the bundle as ``<model>-<profile>.edgepack`` into ``folder``; return where.

        Raises:
            UsageError: a gate failed, so there is no bundle.
            OutputError: it cannot be written; nothing is left half-written.
        """
        if self.data is None:
            failed = ", ".join(f.gate for f in self.verdict.named(Outcome.FAIL))
            raise UsageError(f"{self.profile.name}: no bundle to save: {failed} failed")
        path = place(Path(folder), self.result.options.name, self.profile.name)
        write_whole(path, self.data)
        return path


def place(folder: Path, name: str, profile: str) -> Path:
    """Return where the bundle of a model for a device is written."""
    return folder / f"{name}-{profile}{archive.SUFFIX}"


def pack(
    model: FinishedModel,
    evaluation: Tested,
    profile: Profile,
    *,
    options: PackOptions,
    tools: BuildTools,
) -> Product:
    """Return a device's product: every gate's answer, and the bundle where none failed.

    What the file alone tells is asked first. A model that fails there, or on which the
    runtime fails, is not run as the device would run it: those gates are inconclusive.
    """
    expected = expected_gates(
        profile,
        tools.route,
        task=evaluation.task,
        origin=model.origin,
        compared=evaluation.float_scores is not None,
        floor=options.min_accuracy is not None,
    )
    result = BuildResult(model=model, evaluation=evaluation, profile=profile, options=options)
    verdict = static.judge(model.facts, profile)
    refused = verdict.named(Outcome.FAIL)
    verdict = verdict.plus(*_data_findings(result, tools))
    if refused or evaluation.scores is None:
        gates = _gates(refused or verdict.named(Outcome.FAIL)) or "accuracy_drop"
        why = f"not asked after {gates}; run it again once that is mended"
        return Product(result=result, verdict=complete(verdict, expected, why), data=None)
    content, findings = _content(result, tools)
    why = ""
    if not content:
        why = f"not asked after {_gates(findings)}; run it again once that is mended"
    else:
        bundle = Bundle(_manifest(result, verdict.plus(*findings), content), content)
        findings += _dynamic_findings(bundle, profile, tools)
    verdict = complete(verdict.plus(*findings), expected, why)
    data = None
    if verdict.outcome is not Outcome.FAIL:
        final = _manifest(result, verdict, content)
        signature = options.sign(archive.manifest_bytes(final)) if options.sign else None
        data = archive.pack(final, content, signature)
    return Product(result=result, verdict=verdict, data=data)


def _gates(findings: Iterable[Finding]) -> str:
    return ", ".join(finding.gate for finding in findings)


def _data_findings(result: BuildResult, tools: BuildTools) -> tuple[Finding, ...]:
    """Return the findings of test and calibration rows; a runtime's failure is one."""
    model, profile = result.model, result.profile
    found = list(_accuracy(result))
    if model.calibration is not None:
        try:
            found.append(model.calibration(profile, tools.runtime))
        except RuntimeFailure as ended:
            found.append(unanswered("calibration", ended))
    return tuple(found)


def _accuracy(result: BuildResult) -> tuple[Finding, ...]:
    """Return the findings of the test rows: against the float model, a floor, or neither."""
    model, asked, floor = result.model, result.profile.accuracy, result.options.min_accuracy
    failure, score = result.evaluation.failure, result.score
    if failure is not None:
        absolute = floor is not None and result.evaluation.float_scores is None
        gate = absolute_accuracy.GATE if absolute else "accuracy_drop"
        return (unanswered(gate, failure),)
    if score is None:
        return ()
    return absolute_accuracy.judge_rows(
        score,
        result.comparison,
        asked,
        floor,
        labels=model.labels,
        kind=model.facts.precision,
        origin=model.origin,
    )


def _content(
    result: BuildResult, tools: BuildTools
) -> tuple[dict[str, bytes], tuple[Finding, ...]]:
    """Return every file of the bundle but the manifest; nothing where its oracle fails.

    A device's own files that cannot be made are a finding of gate ``firmware``.
    """
    model, profile, options = result.model, result.profile, result.options
    try:
        content = files(result, model.answers.of(tools.oracle(profile)))
    except RuntimeFailure as ended:  # this device's runtime does; others may yet take it
        return {}, (unanswered("goldens", ended),)
    try:
        return content | tools.firmware(model.tflite, profile, options.name, content), ()
    except EdgepackError as refused:
        return content, (unanswered("firmware", refused),)


def _dynamic_findings(
    bundle: Bundle, profile: Profile, tools: BuildTools
) -> tuple[Finding, ...]:
    try:
        return tools.run_gates(bundle, profile)
    except RuntimeFailure as ended:
        return (unanswered("sandbox", ended),)


def spread(y: NDArray[Any], wanted: int, task: str) -> NDArray[np.int64]:
    """Return at most ``wanted`` row numbers, taking the classes in turn, in row order."""
    if task != CLASSIFICATION:
        return np.linspace(0, len(y) - 1, min(wanted, len(y))).astype(np.int64)
    turn = np.zeros(len(y), dtype=np.int64)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        turn[rows] = np.arange(len(rows))
    return np.sort(np.argsort(turn, kind="stable")[:wanted])


def files(result: BuildResult, oracle: Runtime) -> dict[str, bytes]:
    """Return the files that every bundle has: model, profile, labels, goldens, evidence.

    Raises:
        RuntimeFailure: the oracle crashed on the model or refused it.
    """
    model, evaluation = result.model, result.evaluation
    x, y, task = model.x_test, evaluation.targets, evaluation.task
    tensor = model.facts.inputs[0]
    golden = scoring.quantized(x[spread(y, GOLDEN_ROWS, task)], tensor)
    answers = scoring.answers(oracle, model.tflite, golden, kernels="reference")
    found = {
        archive.MODEL: model.tflite,
        archive.PROFILE: result.profile.model_dump_json(by_alias=True, indent=1).encode(),
        "golden/inputs.npy": archive.npy(golden),
        "golden/outputs.npy": archive.npy(answers),
    }
    if model.labels:
        found[archive.LABELS] = archive.labels_bytes(model.labels)
    rows = spread(y, _evidence_rows(result), task)
    if len(rows):
        target = y[rows] if task == CLASSIFICATION else y[rows].astype(np.float32)
        found["evidence/inputs.npy"] = archive.npy(scoring.quantized(x[rows], tensor))
        found["evidence/targets.npy"] = archive.npy(target)
        if evaluation.float_scores is not None:
            scores = archive.npy(evaluation.float_scores[rows])
            found["evidence/float_scores.npy"] = scores
    return found


def _evidence_rows(result: BuildResult) -> int:
    row = max(1, result.model.facts.inputs[0].nbytes)
    return min(result.options.evidence_bytes // row, len(result.evaluation.targets))


def _manifest(result: BuildResult, verdict: Verdict, content: Mapping[str, bytes]) -> Manifest:
    """Return the manifest of ``content``: what it is, how it was judged, how it was made."""
    model, evaluation, options = result.model, result.evaluation, result.options
    rows = len(evaluation.targets)
    return Manifest.model_validate(
        {
            "schema": "edgepack.bundle/1",
            "name": options.name,
            "profile": result.profile.name,
            "task": evaluation.task,
            "verdict": verdict.outcome,
            "proven": verdict.outcome is Outcome.PASS,
            "input": _tensor(model.facts.inputs[0]),
            "output": _tensor(model.facts.outputs[0]),
            "labels": model.labels,
            "decision_threshold": evaluation.decision_threshold,
            "origin": model.origin,
            "min_accuracy": options.min_accuracy,
            "preprocessing": options.preprocessing,
            "golden_rows": min(GOLDEN_ROWS, rows),
            "evidence_rows": _evidence_rows(result),
            "test_rows": rows,
            "findings": verdict.findings,
            "fidelity": result.comparison,
            "score": result.score if result.comparison is None else None,
            "steps": evaluation.steps,
            "notes": tuple(dict.fromkeys((*model.source_notes, *result.notes))),
            "provenance": model.provenance,
            "files": archive.members(content),
        }
    )


def _tensor(tensor: Tensor) -> archive.TensorSpec:
    scaled = tensor.quantization
    return archive.TensorSpec(
        shape=tensor.shape[1:],
        dtype=tensor.dtype,
        scale=scaled.scales[0] if scaled else None,
        zero_point=scaled.zero_points[0] if scaled else None,
    )
