"""One model with its data: what any recipe makes of it, each result made once.

Every result is kept under the digest of all that made it (model, data, settings before
it, seed, package versions, the stages' own source), so recipes share what their first
stages have in common, a second build reads what a first one made, a killed one goes on
where it stopped, and TensorFlow is imported only where something is really missing.
"""

from __future__ import annotations

import io
import json
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from converters import draft_files
from converters.draft import (
    Draft,
    KerasModel,
    Rewrite,
    Samples,
    Stage,
    TeacherUse,
    Training,
)
from converters.quantized.int8 import ConvertedModel, Int8
from edgepack.errors import UsageError
from edgepack.files import digest_of, sha256
from edgepack.gates.accuracy import CLASSIFICATION, HALF, MULTILABEL
from edgepack.inference.protocol import Job, Runtime, Trace
from edgepack.pipeline.cache import Cache, code_of, settings_of
from edgepack.pipeline.source import Source
from edgepack.tflite.inspection import FactsInspector

#: ``val`` is for whatever chooses; ``test`` answers once, for what is shipped.
Part = Literal["val", "test"]

_DRAFTS_IN_MEMORY = 8
_HALVES = ("first.tflite", "second.tflite")
_ANSWERS_BYTES = 256 * 1024**2


class Answers:
    """What runtimes answered, so that the same file and rows are run once.

    Kept in memory only: the answers of optimised kernels are those of this machine.
    """

    def __init__(self, ceiling_bytes: int = _ANSWERS_BYTES) -> None:
        self.ceiling_bytes = ceiling_bytes
        self._kept: OrderedDict[str, Trace] = OrderedDict()

    def of(self, runtime: Runtime) -> Runtime:
        """Return a runtime that asks ``runtime`` only what it was not asked before."""
        return _AnsweredOnce(runtime, self)

    def trace(self, runtime: Runtime, job: Job) -> Trace:
        """Return how ``job`` ended; a timed one is run every time."""
        if job.repeats or job.min_seconds:
            return runtime.run(job)
        arrays = [job.inputs, *job.more_inputs]
        key = digest_of(
            runtime.name,
            sha256(job.model),
            [(a.dtype.str, a.shape, sha256(np.ascontiguousarray(a).data)) for a in arrays],
            (job.kernels, job.threads, job.timeout_s),
        )
        if key not in self._kept:
            self._kept[key] = runtime.run(job)
            while len(self._kept) > 1 and self._bytes() > self.ceiling_bytes:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _bytes(self) -> int:
        traces = self._kept.values()
        return sum(0 if trace.outputs is None else trace.outputs.nbytes for trace in traces)


@dataclass(frozen=True, slots=True)
class _AnsweredOnce:
    runtime: Runtime
    answers: Answers

    @property
    def name(self) -> str:
        return self.runtime.name

    def run(self, job: Job) -> Trace:
        return self.answers.trace(self.runtime, job)


@dataclass(frozen=True)
class Workspace:
    """One model, one data set and how it is trained: drafts and files of any recipe.

    Attributes:
        samples: with all three parts; stages and conversions are given no test row.
        teacher: another model that stages learn from; None takes the model as it came.
        answers: of runtimes, about the files made here.
    """

    source: Source
    samples: Samples
    training: Training
    teacher: Source | None = None
    answers: Answers = field(default_factory=Answers, compare=False, repr=False)
    _drafts: OrderedDict[str, Draft] = field(
        default_factory=OrderedDict, compare=False, repr=False
    )

    @property
    def cache(self) -> Cache:
        """Where finished work is kept."""
        return self.source.cache

    @property
    def task(self) -> str:
        """What the model is for: one of ``gates.accuracy.TASKS``."""
        return self.training.task or CLASSIFICATION

    @property
    def decision_threshold(self) -> float:
        """Above which one output means class 1, and a label's that it is there.

        Where the largest of several outputs decides, or none does, 0.5 stands for nothing.
        """
        card = self.source.card
        one = self.task == CLASSIFICATION and math.prod(card.output_shape) == 1
        return card.hint.decision_threshold if one or self.task == MULTILABEL else HALF

    def for_choosing(self) -> Workspace:
        """Return the same workspace without its test part: for searches and thresholds.

        It shares the cache and what was made already; ``rows("test")`` of it is refused.
        """
        return replace(self, samples=self.samples.without_test())

    def rows(self, part: Part) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return inputs ``(N, *input_shape)`` and targets of a part.

        Raises:
            UsageError: the test part, asked of a workspace that chooses.
        """
        samples = self.samples
        if part == "val":
            return samples.x_val, samples.y_val
        if not len(samples.x_test):
            raise UsageError(
                "the test part is hidden from what chooses: evaluate candidates on 'val', and "
                "the one that is shipped on 'test', in the workspace it was taken from"
            )
        return samples.x_test, samples.y_test

    def key(self, stages: Sequence[Stage], *more: Any) -> str:
        """Return the digest of all that decides the draft that ``stages`` make."""
        made_of: tuple[Any, ...] = ()
        if stages:  # an untouched model does not depend on the data's labels or the seed
            steps = [(settings_of(stage), code_of(stage)) for stage in stages]
            teacher = self.teacher and self.teacher.key
            made_of = (self.samples.digest, settings_of(self.training), teacher, steps)
        return digest_of("draft", self.source.key, *made_of, *more)

    def draft(self, stages: Sequence[Stage]) -> Draft:
        """Return what ``stages`` make of the model, from memory, the cache, or by running.

        Raises:
            ModelRefused: a teacher or a stage's ``layers`` that do not fit the model.
        """
        chosen = tuple(stages)

        @cache
        def setup() -> Training:
            teacher = None if self.teacher is None else self.teacher.loaded.model
            return training_setup(self.training, self.draft(()).model, teacher, chosen)

        return self._draft(chosen, setup)

    def _draft(self, stages: tuple[Stage, ...], setup: Callable[[], Training]) -> Draft:
        key = self.key(stages)
        if key not in self._drafts:
            made = self._staged(key, stages, setup) if stages else self._untouched()
            self._drafts[key] = made
            while len(self._drafts) > _DRAFTS_IN_MEMORY:
                self._drafts.popitem(last=False)
        self._drafts.move_to_end(key)
        return self._drafts[key]

    def _untouched(self) -> Draft:
        return Draft(self.source.loaded.model)

    def _staged(
        self, key: str, stages: tuple[Stage, ...], setup: Callable[[], Training]
    ) -> Draft:
        folder = self.cache.find(key)
        if folder is not None:
            return draft_files.load(folder)
        before, training = self._draft(stages[:-1], setup), setup()
        after = stages[-1](before, self.samples.without_test(), training)
        self.cache.keep(key, lambda new: draft_files.save(after, new))
        return after

    def float_scores(self, part: Part) -> NDArray[np.float32]:
        """Return the untouched model's outputs on a part, ``(N, *output_shape)``."""
        x, _ = self.rows(part)

        def predict() -> bytes:
            from converters import keras2

            out = io.BytesIO()
            np.save(out, keras2.predict(self.draft(()).model, x))
            return out.getvalue()

        key = digest_of("float scores", self.source.key, self.samples.digest, part)
        raw = self.cache.bytes_of(key, predict)
        return np.asarray(np.load(io.BytesIO(raw), allow_pickle=False), dtype=np.float32)

    def float_tflite(self) -> bytes:
        """Return the untouched model as a float .tflite: what its size is compared with."""

        def convert() -> bytes:
            from converters.quantized.int8 import float_tflite

            return float_tflite(self.draft(()).model)

        return self.cache.bytes_of(digest_of("float tflite", self.source.key), convert)

    @property
    def _converting(self) -> Training:
        """The training's settings with the reader that checks finished files."""
        return replace(self.training, inspector=FactsInspector())

    def int8_tflite(self, stages: Sequence[Stage], int8: Int8) -> ConvertedModel:
        """Return a draft as full-int8 .tflite, with the notes of all its makers."""

        def convert() -> ConvertedModel:
            draft = self.draft(stages)
            made = int8(draft, self.samples.without_test(), self._converting)
            return ConvertedModel(made.tflite, (*draft.notes, *made.notes))

        return self._converted(self._int8_key("int8", stages, int8), convert)

    def rewritten(
        self, stages: Sequence[Stage], int8: Int8, rewrites: Sequence[Rewrite]
    ) -> ConvertedModel:
        """Return a draft's int8 file after ``rewrites``, with the notes of all its makers."""
        if not rewrites:
            return self.int8_tflite(stages, int8)

        def change() -> ConvertedModel:
            before = self.rewritten(stages, int8, rewrites[:-1])
            chosen = int8.rows(self.samples, self.training)
            after, more = rewrites[-1](before.tflite, self.samples.x_train[chosen])
            return ConvertedModel(after, (*before.notes, *more))

        done = [(settings_of(step), code_of(step)) for step in rewrites]
        return self._converted(self._int8_key("rewritten", stages, int8, done), change)

    def int8_halves(self, stages: Sequence[Stage], int8: Int8) -> tuple[bytes, bytes]:
        """Return a draft's int8 file twice, each calibrated on one half of the rows."""
        key = self._int8_key("halves", stages, int8)

        def convert() -> dict[str, bytes]:
            draft, samples = self.draft(stages), self.samples.without_test()
            whole = self._int8_key("int8", stages, int8)
            if self.cache.find(whole) is not None:
                halves = int8.halves(draft, samples, self._converting)
            else:  # both are wanted: one export of the graph makes them
                made, halves = int8.with_halves(draft, samples, self._converting)
                notes = (*draft.notes, *made.notes)
                self._converted(whole, lambda: ConvertedModel(made.tflite, notes))
            return dict(zip(_HALVES, halves, strict=True))

        kept = self.cache.files_of(key, convert)
        return kept[_HALVES[0]], kept[_HALVES[1]]

    def _int8_key(self, what: str, stages: Sequence[Stage], int8: Int8, *more: Any) -> str:
        calibrated = (self.samples.digest, self.training.seed)
        return self.key(stages, what, settings_of(int8), calibrated, *more)

    def _converted(self, key: str, make: Callable[[], ConvertedModel]) -> ConvertedModel:
        def files() -> dict[str, bytes]:
            made = make()
            notes = json.dumps(list(dict.fromkeys(made.notes))).encode()
            return {"model.tflite": made.tflite, "notes.json": notes}

        kept = self.cache.files_of(key, files)
        return ConvertedModel(kept["model.tflite"], tuple(json.loads(kept["notes.json"])))

    def teacher_notes(self, stages: Sequence[Stage]) -> tuple[str, ...]:
        """Return what there is to say of the teacher, in words for the report."""
        if self.teacher is None:
            return ()
        card_notes = self.teacher.card.notes
        return teacher_notes(self.teacher.path.name, card_notes, self.training.task, stages)


def training_setup(
    training: Training,
    model: KerasModel,
    teacher: KerasModel | None,
    stages: Sequence[Stage],
) -> Training:
    """Return what every stage is trained with, found to be sound before the first trains.

    Stages learn from ``model`` as it came, or from ``teacher`` where there is one, and not
    from the stage before.

    Raises:
        ModelRefused: a teacher of another kind of outputs, or a stage's ``layers`` that are
            not in both models.
    """
    made = replace(training, original=model, teacher=teacher)
    uses = [TeacherUse.of(stage) for stage in stages]
    if not any(use.asks or use.layers for use in uses):
        return made
    from converters.learning import maps, objective

    if teacher is not None and any(use.distillation for use in uses):
        goal = objective.objective(model, made)
        if goal.distils:
            goal.head_of(teacher)
    for use in uses:
        maps.check(model, made.teacher_of(model), use.layers)
    return made


def teacher_notes(
    name: str, card_notes: Sequence[str], task: str | None, stages: Sequence[Stage]
) -> tuple[str, ...]:
    """Return what there is to say of the teacher in the file ``name``, itself told so much.

    Labels alone are learned from where a task is no classification and no map is compared.
    """
    said = [f"teacher: {note}" for note in card_notes]
    classes = task == CLASSIFICATION
    uses = [TeacherUse.of(stage) for stage in stages]
    if any(use.asks if classes else use.compares for use in uses):
        return tuple(said)
    why = "distillation," if classes else f"{task} learns from its targets, and"
    idle = f"{name} was not asked: {why} attention and features are 0 in every stage"
    return (*said, f"teacher: {idle}")
