"""What goes into a bundle: goldens, evidence, and the manifest that tells how it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack import __version__
from edgepack.bundle import archive as packing
from edgepack.bundle.archive import Manifest, Step
from edgepack.gates.accuracy import CLASSIFICATION, AccuracyComparison
from edgepack.gates.finding import Outcome, Verdict
from edgepack.inference import scoring
from edgepack.inference.protocol import Runtime
from edgepack.pipeline.source import versions
from edgepack.pipeline.workspace import Line
from edgepack.profiles.profile import Profile
from edgepack.tflite.facts import Facts, Tensor

GOLDEN_ROWS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the user asked for beside the model, the recipe and the data.

    Attributes:
        name: the model's, in the bundle's name.
        preprocessing: what was done to the data before the model saw them.
        evidence_bytes: test rows that travel in the bundle, so that accuracy can be proven
            again without the data; 0 keeps every sample at home.
        sign: manifest bytes -> signature, or None.
    """

    name: str
    task: str
    preprocessing: str
    evidence_bytes: int
    sign: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A finished model for one device, and all that was learned on the way."""

    line: Line
    profile: Profile
    order: Order
    model: bytes
    facts: Facts
    fidelity: AccuracyComparison
    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def spread(y: NDArray[Any], wanted: int, task: str) -> NDArray[np.int64]:
    """Return at most ``wanted`` row numbers, taking the classes in turn, in row order."""
    if task != CLASSIFICATION:
        return np.linspace(0, len(y) - 1, min(wanted, len(y))).astype(np.int64)
    turn = np.zeros(len(y), dtype=np.int64)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        turn[rows] = np.arange(len(rows))
    return np.sort(np.argsort(turn, kind="stable")[:wanted])


def files(made: Made, runtime: Runtime) -> dict[str, bytes]:
    """Return every file but the manifest: model, profile, labels, goldens, evidence."""
    samples, order, tensor = made.line.samples, made.order, made.facts.inputs[0]
    x, y = samples.x_test, samples.y_test
    golden = scoring.quantized(x[spread(y, GOLDEN_ROWS, order.task)], tensor)
    answers = scoring.answers(runtime, made.model, golden, kernels="reference")
    found = {
        packing.MODEL: made.model,
        packing.PROFILE: made.profile.model_dump_json(by_alias=True, indent=1).encode(),
        "golden/inputs.npy": packing.npy(golden),
        "golden/outputs.npy": packing.npy(answers),
    }
    if samples.labels:
        found["labels.txt"] = ("\n".join(samples.labels) + "\n").encode()
    rows = spread(y, order.evidence_bytes // max(1, tensor.nbytes), order.task)
    if len(rows):
        target = y[rows] if order.task == CLASSIFICATION else y[rows].astype(np.float32)
        found["evidence/inputs.npy"] = packing.npy(scoring.quantized(x[rows], tensor))
        found["evidence/targets.npy"] = packing.npy(target)
        found["evidence/float_scores.npy"] = packing.npy(made.line.float_scores()[rows])
    return found


def manifest(made: Made, verdict: Verdict, content: Mapping[str, bytes]) -> Manifest:
    """Return the manifest of ``content``: what it is, how it was judged, how it was made."""
    line, order = made.line, made.order
    card = line.source.card
    rows = len(line.samples.y_test)
    return Manifest.model_validate(
        {
            "schema": "edgepack.bundle/1",
            "name": order.name,
            "profile": made.profile.name,
            "task": order.task,
            "verdict": verdict.outcome,
            "proven": verdict.outcome is Outcome.PASS,
            "input": _tensor(made.facts.inputs[0]),
            "output": _tensor(made.facts.outputs[0]),
            "labels": line.samples.labels,
            "preprocessing": order.preprocessing,
            "golden_rows": min(GOLDEN_ROWS, rows),
            "evidence_rows": _evidence_rows(made) if "evidence/inputs.npy" in content else 0,
            "test_rows": rows,
            "findings": verdict.findings,
            "fidelity": made.fidelity,
            "steps": made.steps,
            "notes": tuple(dict.fromkeys((*card.notes, *made.notes))),
            "provenance": {
                "edgepack": __version__,
                "packages": versions(),
                "model_sha256": card.digest,
                "model_kind": card.kind,
                "bridge_max_abs_diff": card.bridge_max_abs_diff,
                "data_sha256": line.samples.digest,
                "recipe": line.recipe.name,
                "stages": line.recipe.words(),
                "seed": line.training.seed,
                "augment": list(line.training.augment),
                "teacher_sha256": line.teacher and line.teacher.card.digest,
            },
            "files": packing.members(content),
        }
    )


def _evidence_rows(made: Made) -> int:
    fit = made.order.evidence_bytes // max(1, made.facts.inputs[0].nbytes)
    return min(fit, len(made.line.samples.y_test))


def _tensor(tensor: Tensor) -> packing.Tensor:
    scaled = tensor.quantization
    return packing.Tensor(
        shape=tensor.shape[1:],
        dtype=tensor.dtype,
        scale=scaled.scales[0] if scaled else None,
        zero_point=scaled.zero_points[0] if scaled else None,
    )
