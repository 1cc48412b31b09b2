"""The production line: one model through a recipe's stages, each result made once.

Every result is kept under the digest of all that made it (model, data, settings before
it, seed, package versions, the stages' own source), so a second build reads what a first
one made, a killed one goes on where it stopped, and TensorFlow is imported only where
something is really missing.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters import draft_files
from converters.draft import Draft, Samples, Training
from edgepack.files import digest_of
from edgepack.pipeline import distillation_setup as teaching
from edgepack.pipeline.recipe import Recipe, described
from edgepack.pipeline.source import Source


@dataclass(frozen=True)
class Line:
    """One model, one recipe, one data set: drafts and .tflite files on demand.

    ``draft(0)`` is the model as it came; ``draft(n)`` what the n-th stage made of it.

    Attributes:
        teacher: another model that stages learn from; None takes the model as it came.
    """

    source: Source
    recipe: Recipe
    samples: Samples
    training: Training
    teacher: Source | None = None
    _drafts: dict[int, Draft] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The number of the draft that is shipped."""
        return len(self.recipe.stages)

    def key(self, number: int, *more: Any) -> str:
        """Return the digest of all that decides the n-th draft."""
        steps = [described(stage) for stage in self.recipe.stages[:number]]
        given, teacher = self.training, self.teacher and self.teacher.key
        settings = (given.task, given.seed, given.batch_size, given.augment, teacher)
        # A model that no stage has touched does not depend on the data's labels or seed.
        made_of = (self.samples.digest, settings, steps) if steps else ()
        return digest_of("draft", self.source.key, *made_of, *more)

    def draft(self, number: int) -> Draft:
        """Return the n-th draft, from memory, from the cache, or by running its stage."""
        if number not in self._drafts:
            self._drafts[number] = self._first() if number == 0 else self._staged(number)
        return self._drafts[number]

    def _first(self) -> Draft:
        return Draft(self.source.loaded.model)

    def _staged(self, number: int) -> Draft:
        key, cache = self.key(number), self.source.cache
        folder = cache.find(key)
        if folder is None:
            before = self.draft(number - 1)
            stage = self.recipe.stages[number - 1]
            after: Draft = stage(before, self.samples, self._lesson)
            cache.keep(key, lambda new: draft_files.save(after, new))
            return after
        return draft_files.load(folder)

    @cached_property
    def _lesson(self) -> Training:
        model = self.draft(0).model
        teacher = None if self.teacher is None else self.teacher.loaded.model
        return teaching.lesson(self.training, model, teacher, self.recipe.stages)

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say of the teacher, in words for the report."""
        if self.teacher is None:
            return ()
        told = self.teacher.card.notes
        task, stages = self.training.task, self.recipe.stages
        return teaching.notes(self.teacher.path.name, told, task, stages)

    def float_scores(self) -> NDArray[np.float32]:
        """Return the untouched model's outputs on the test part, ``(N, *output_shape)``."""

        def predict() -> bytes:
            from converters import keras2

            out = io.BytesIO()
            np.save(out, keras2.predict(self.draft(0).model, self.samples.x_test))
            return out.getvalue()

        key = digest_of("float scores", self.source.key, self.samples.digest)
        raw = self.source.cache.bytes_of(key, predict)
        return np.asarray(np.load(io.BytesIO(raw), allow_pickle=False), dtype=np.float32)

    def float_tflite(self) -> bytes:
        """Return the untouched model as a float .tflite: what its size is compared with."""

        def convert() -> bytes:
            from converters.quantized.int8 import float_tflite

            return float_tflite(self.draft(0).model)

        return self.source.cache.bytes_of(digest_of("float tflite", self.source.key), convert)

    def int8_tflite(self, number: int, **options: Any) -> tuple[bytes, tuple[str, ...]]:
        """Return the n-th draft as full-int8 .tflite bytes, and the notes of all its makers."""
        int8 = replace(self.recipe.int8, **options)

        def convert() -> dict[str, Any]:
            draft = self.draft(number)
            made = int8(draft, self.samples, self.training)
            return {"hex": made.tflite.hex(), "notes": [*draft.notes, *made.notes]}

        key = self.key(number, "int8", asdict(int8), self.samples.digest, self.training.seed)
        kept = self.source.cache.json_of(key, convert)
        return bytes.fromhex(kept["hex"]), tuple(dict.fromkeys(kept["notes"]))

    def rewritten(self, steps: int, **options: Any) -> tuple[bytes, tuple[str, ...]]:
        """Return the shipped draft's int8 file after some of the recipe's rewrites."""
        if steps == 0:
            return self.int8_tflite(self.last, **options)
        rewrite = self.recipe.rewrites[steps - 1]

        def change() -> dict[str, Any]:
            before, notes = self.rewritten(steps - 1, **options)
            int8 = replace(self.recipe.int8, **options)
            rows = self.samples.x_train[int8.rows(self.samples, self.training)]
            after, more = rewrite(before, rows)
            return {"hex": after.hex(), "notes": [*notes, *more]}

        done = [described(step) for step in self.recipe.rewrites[:steps]]
        int8 = asdict(replace(self.recipe.int8, **options))
        settings = (int8, self.samples.digest, self.training.seed, done)
        kept = self.source.cache.json_of(self.key(self.last, "rewritten", *settings), change)
        return bytes.fromhex(kept["hex"]), tuple(kept["notes"])

    def int8_halves(self, **options: Any) -> tuple[bytes, bytes]:
        """Return the shipped draft twice, each calibrated on one half of the rows."""
        int8 = replace(self.recipe.int8, **options)

        def convert() -> list[str]:
            return [
                x.hex() for x in int8.halves(self.draft(self.last), self.samples, self.training)
            ]

        key = self.key(
            self.last, "halves", asdict(int8), self.samples.digest, self.training.seed
        )
        first, second = self.source.cache.json_of(key, convert)
        return bytes.fromhex(first), bytes.fromhex(second)
