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
from edgepack.gates import accuracy, static
from edgepack.gates.accuracy import CLASSIFICATION, AccuracyComparison
from edgepack.gates.expected import Route, complete, expected_gates
from edgepack.gates.finding import Finding, Outcome, Verdict, unanswered
from edgepack.inference import scoring
from edgepack.inference.protocol import Runtime
from edgepack.pipeline import calibration
from edgepack.pipeline.compress import Candidate
from edgepack.pipeline.evaluate import Tested
from edgepack.pipeline.source import versions
from edgepack.pipeline.workspace import Workspace
from edgepack.profiles.profile import Profile
from edgepack.tflite.facts import Tensor
from edgepack.version import __version__

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
    """

    name: str
    preprocessing: str
    evidence_bytes: int
    sign: Callable[[bytes], bytes] | None = None


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
class BuildResult:
    """A candidate with what was learned of it on the test part.

    Attributes:
        comparison: with the float model; None where the runtime gave no answers.
    """

    workspace: Workspace
    candidate: Candidate
    evaluation: Tested
    profile: Profile
    options: PackOptions
    comparison: AccuracyComparison | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be told of the making, in words."""
        return tuple(dict.fromkeys((*self.candidate.notes, *self.evaluation.notes)))


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
    workspace: Workspace,
    candidate: Candidate,
    evaluation: Tested,
    profile: Profile,
    *,
    options: PackOptions,
    tools: BuildTools,
) -> Product:
    """Return a device's product: every gate's answer, and the bundle where none failed.

    What the file alone tells is asked first. A candidate that fails there, or on which the
    runtime fails, is not run as the device would run it: those gates are inconclusive.
    """
    expected = expected_gates(profile, tools.route, task=workspace.task)
    result = BuildResult(
        workspace=workspace,
        candidate=candidate,
        evaluation=evaluation,
        profile=profile,
        options=options,
        comparison=evaluation.compared(profile.accuracy.confidence),
    )
    verdict = static.judge(candidate.facts, profile)
    refused = verdict.named(Outcome.FAIL)
    verdict = verdict.plus(*_data_findings(result, tools))
    if refused or result.comparison is None:
        gates = _gates(refused) if refused else "accuracy_drop"
        why = f"not asked after {gates}; build it again once that is mended"
        return Product(result=result, verdict=complete(verdict, expected, why), data=None)
    content, findings = _content(result, tools)
    why = ""
    if not content:
        why = f"not asked after {_gates(findings)}; build it again once that is mended"
    else:
        tools.say(f"{profile.name}: running it as the device would")
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
    profile, samples = result.profile, result.workspace.samples
    failure = result.evaluation.failure
    found: tuple[Finding, ...] = ()
    if failure is not None:
        found = (unanswered("accuracy_drop", failure),)
    elif result.comparison is not None:
        found = accuracy.judge(result.comparison, profile.accuracy, samples.labels)
    try:
        rows = calibration.judge(result.workspace, result.candidate, profile, tools.runtime)
    except RuntimeFailure as ended:
        rows = unanswered("calibration", ended)
    return (*found, rows)


def _content(
    result: BuildResult, tools: BuildTools
) -> tuple[dict[str, bytes], tuple[Finding, ...]]:
    """Return every file of the bundle but the manifest; nothing where its oracle fails.

    A device's own files that cannot be made are a finding of gate ``firmware``.
    """
    candidate, profile, options = result.candidate, result.profile, result.options
    try:
        content = files(result, result.workspace.answers.of(tools.oracle(profile)))
    except RuntimeFailure as ended:  # this device's runtime does; others may yet take it
        return {}, (unanswered("goldens", ended),)
    try:
        return content | tools.firmware(candidate.tflite, profile, options.name, content), ()
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
    candidate, task = result.candidate, result.workspace.task
    x, y = result.workspace.rows("test")
    tensor = candidate.facts.inputs[0]
    golden = scoring.quantized(x[spread(y, GOLDEN_ROWS, task)], tensor)
    answers = scoring.answers(oracle, candidate.tflite, golden, kernels="reference")
    found = {
        archive.MODEL: candidate.tflite,
        archive.PROFILE: result.profile.model_dump_json(by_alias=True, indent=1).encode(),
        "golden/inputs.npy": archive.npy(golden),
        "golden/outputs.npy": archive.npy(answers),
    }
    labels = result.workspace.samples.labels
    if labels:
        found["labels.txt"] = ("\n".join(labels) + "\n").encode()
    rows = spread(y, _evidence_rows(result), task)
    if len(rows):
        target = y[rows] if task == CLASSIFICATION else y[rows].astype(np.float32)
        found["evidence/inputs.npy"] = archive.npy(scoring.quantized(x[rows], tensor))
        found["evidence/targets.npy"] = archive.npy(target)
        scores = result.evaluation.float_scores[rows]
        found["evidence/float_scores.npy"] = archive.npy(scores)
    return found


def _evidence_rows(result: BuildResult) -> int:
    row = max(1, result.candidate.facts.inputs[0].nbytes)
    return min(result.options.evidence_bytes // row, len(result.evaluation.targets))


def _manifest(result: BuildResult, verdict: Verdict, content: Mapping[str, bytes]) -> Manifest:
    """Return the manifest of ``content``: what it is, how it was judged, how it was made."""
    workspace, candidate, options = result.workspace, result.candidate, result.options
    card, teacher = workspace.source.card, workspace.teacher
    comparison = result.comparison
    rows = len(result.evaluation.targets)
    return Manifest.model_validate(
        {
            "schema": "edgepack.bundle/1",
            "name": options.name,
            "profile": result.profile.name,
            "task": workspace.task,
            "verdict": verdict.outcome,
            "proven": verdict.outcome is Outcome.PASS,
            "input": _tensor(candidate.facts.inputs[0]),
            "output": _tensor(candidate.facts.outputs[0]),
            "labels": workspace.samples.labels,
            "decision_threshold": workspace.decision_threshold,
            "preprocessing": options.preprocessing,
            "golden_rows": min(GOLDEN_ROWS, rows),
            "evidence_rows": _evidence_rows(result),
            "test_rows": rows,
            "findings": verdict.findings,
            "fidelity": comparison,
            "steps": result.evaluation.steps,
            "notes": tuple(dict.fromkeys((*card.notes, *result.notes))),
            "provenance": Provenance(
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
