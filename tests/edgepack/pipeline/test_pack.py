"""What chooses sees no test row, the same file is run once, a crash costs one device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from converters.draft import Draft, Samples, Training
from converters.quantized.int8 import Int8
from edgepack.bundle import archive
from edgepack.errors import RuntimeFailure, UsageError
from edgepack.files import digest_of
from edgepack.gates.finding import Finding, Outcome, Verdict, failed, passed
from edgepack.inference.protocol import ExitStatus, Job, Runtime, Trace
from edgepack.pipeline import build as building
from edgepack.pipeline import pack
from edgepack.pipeline.build import build
from edgepack.pipeline.cache import Cache
from edgepack.pipeline.compress import Candidate, ConversionOptions, Intermediate
from edgepack.pipeline.evaluate import evaluate
from edgepack.pipeline.pack import BuildTools, PackOptions, Product
from edgepack.pipeline.recipe import Recipe
from edgepack.pipeline.workspace import Answers, Workspace
from edgepack.profiles import catalogue
from edgepack.profiles.profile import Profile
from edgepack.tflite.flatbuffer import read
from tests.edgepack.commands import tiny_tflite

RECIPE = Recipe(name="none", title="none", stages=(), int8=Int8())
PHONE, BOARD = "pixel-3", "nucleo-l4r5zi"


class Counting:
    """A runtime that answers zeros, counts what it is asked, and may die of some kernels."""

    name = "counting"

    def __init__(self, dies_of: str = "") -> None:
        self.dies_of, self.jobs = dies_of, list[Job]()

    def run(self, job: Job) -> Trace:
        self.jobs.append(job)
        if job.kernels == self.dies_of:
            return Trace(status=ExitStatus.CRASH, says="crashed with SIGABRT")
        codes = np.zeros((len(job.inputs), 2), np.int8)
        codes[:, 0] = 10  # class 0, every time
        return Trace(status=ExitStatus.OK, says="", outputs=codes)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    rng = np.random.default_rng(0)
    rows = {f"x_{part}": rng.random((400, 8), np.float32) for part in ("train", "val", "test")}
    classes = {f"y_{part}": np.zeros(400, np.int64) for part in ("train", "val", "test")}
    card = SimpleNamespace(
        digest="0" * 64, kind="h5", notes=(), bridge_max_abs_diff=None, output_shape=(2,)
    )
    source: Any = SimpleNamespace(cache=Cache(tmp_path), key="k", card=card)
    training = Training(task="classification")
    for part in ("val", "test"):
        scores = archive.npy(np.tile(np.float32([1, 0]), (400, 1)))
        key = digest_of("float scores", source.key, "d", part)
        source.cache.bytes_of(key, lambda scores=scores: scores)
    return Workspace(source, Samples(**rows, **classes, digest="d"), training)


def candidate(options: ConversionOptions | None = None) -> Candidate:
    model = tiny_tflite()
    return Candidate(
        recipe=RECIPE,
        options=options or ConversionOptions(),
        tflite=model,
        facts=read(model),
        notes=(),
        steps=(Intermediate("float", model), Intermediate("int8", model)),
        halves=(model, model),
    )


def built(
    monkeypatch: pytest.MonkeyPatch,
    workspace: Workspace,
    *,
    runtime: Runtime | None = None,
    oracle: Callable[[Profile], Runtime] | None = None,
    run_gates: Callable[[Any, Profile], tuple[Finding, ...]] = lambda bundle, profile: (),
    devices: tuple[str, ...] = (PHONE, BOARD),
) -> dict[str, Product]:
    chosen = runtime or Counting()
    monkeypatch.setattr(
        building, "compress", lambda workspace, recipe, options: candidate(options)
    )
    tools = BuildTools(
        runtime=chosen,
        oracle=oracle or (lambda profile: chosen),
        run_gates=run_gates,
        firmware=lambda model, profile, name, files: {},
    )
    options = PackOptions(name="m", preprocessing="none", evidence_bytes=0)
    profiles = [catalogue.load(name) for name in devices]
    products = build(workspace, RECIPE, profiles, options, tools)
    return {product.profile.name: product for product in products}


def verdicts(product: Product) -> dict[str, Outcome]:
    return {finding.gate: finding.verdict for finding in product.verdict.findings}


def test_the_test_part_is_hidden_from_what_chooses(workspace: Workspace) -> None:
    choosing = workspace.for_choosing()
    assert evaluate(choosing, candidate(), "val", Counting()).part == "val"
    with pytest.raises(UsageError, match="hidden from what chooses"):
        evaluate(choosing, candidate(), "test", Counting())
    assert choosing.samples.digest == workspace.samples.digest
    assert choosing.answers is workspace.answers


def test_a_stage_needs_nothing_but_to_be_called_and_is_given_no_test_row(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Samples] = []

    @dataclasses.dataclass(frozen=True)
    class Note:
        text: str = "seen"

        def __call__(self, draft: Draft, samples: Samples, training: Training) -> Draft:
            seen.append(samples)
            return dataclasses.replace(draft, notes=(*draft.notes, self.text))

    monkeypatch.setattr(workspace.source, "loaded", SimpleNamespace(model=None), raising=False)
    kept: list[Draft] = []
    monkeypatch.setattr("converters.draft_files.save", lambda draft, folder: kept.append(draft))
    assert workspace.draft((Note("a"), Note("b"))).notes == ("a", "b")
    assert workspace.draft((Note("a"), Note("c"))).notes == ("a", "c")
    assert [draft.notes for draft in kept] == [("a",), ("a", "b"), ("a", "c")]
    assert {len(samples.x_test) for samples in seen} == {0}
    assert {len(samples.x_train) for samples in seen} == {400}
    assert workspace.teacher_notes((Note(),)) == ()


def test_the_same_file_and_rows_are_run_once_for_all_devices(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, many = Counting(), Counting()
    alone = dataclasses.replace(workspace, answers=Answers())
    built(monkeypatch, alone, runtime=one, devices=(PHONE,))
    built(monkeypatch, workspace, runtime=many, devices=(PHONE, "pixel-4", "pixel-5"))
    assert len(one.jobs) == len(many.jobs) == 3  # test rows, validation rows, goldens


def test_answers_forget_the_oldest_and_never_keep_a_timing() -> None:
    runtime, answers = Counting(), Answers(ceiling_bytes=20)
    asked = answers.of(runtime)
    for rows in (8, 9, 9, 8):
        asked.run(Job(model=b"m", inputs=np.zeros((rows, 8), np.int8)))
    assert [len(job.inputs) for job in runtime.jobs] == [8, 9, 8]
    timed = Job(model=b"m", inputs=np.zeros((8, 8), np.int8), repeats=1)
    asked.run(timed)
    asked.run(timed)
    assert len(runtime.jobs) == 5


def test_an_oracle_that_crashes_fails_its_device_and_no_other(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = Counting(), Counting(dies_of="reference")
    bad.name = "bad"

    def oracle(profile: Profile) -> Runtime:
        return bad if profile.name == BOARD else good

    made = built(monkeypatch, workspace, runtime=good, oracle=oracle)
    assert made[PHONE].data is not None
    assert made[BOARD].data is None
    found = {finding.gate: finding for finding in made[BOARD].verdict.findings}
    assert found["goldens"].verdict is Outcome.FAIL
    assert "bad: crash: crashed with SIGABRT" in found["goldens"].says
    assert found["latency"].verdict is Outcome.INCONCLUSIVE
    assert "not asked after goldens" in found["latency"].says


def test_a_runtime_that_crashes_on_the_rows_is_a_verdict(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = built(monkeypatch, workspace, runtime=Counting(dies_of="builtin"))
    for product in made.values():
        assert product.data is None
        assert product.result.comparison is None
        assert verdicts(product)["accuracy_drop"] is Outcome.FAIL
        assert verdicts(product)["calibration"] is Outcome.FAIL
        assert product.result.evaluation.steps[0].stage == "float"
        assert any("int8: left out" in note for note in product.result.notes)


def test_what_fails_by_the_file_alone_is_not_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run_gates(bundle: Any, profile: Profile) -> tuple[Finding, ...]:
        ran.append(profile.name)
        return (passed("goldens_device", "same"),)

    refusing = Verdict((failed("operators", "no kernel for EXP"),))
    passing = Verdict((passed("operators", "all there"),))
    monkeypatch.setattr(
        pack.static,
        "judge",
        lambda facts, profile: refusing if profile.name == BOARD else passing,
    )
    made = built(monkeypatch, workspace, run_gates=run_gates)
    assert ran == [PHONE]
    assert verdicts(made[BOARD])["accuracy_drop"] is Outcome.PASS
    assert verdicts(made[BOARD])["latency"] is Outcome.INCONCLUSIVE
    assert made[BOARD].data is None
    assert made[PHONE].data is not None


def test_a_stand_in_that_fails_costs_no_other_device(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_gates(bundle: Any, profile: Profile) -> tuple[Finding, ...]:
        if profile.name == BOARD:
            raise RuntimeFailure("the emulator crashed")
        return ()

    made = built(monkeypatch, workspace, run_gates=run_gates)
    assert verdicts(made[BOARD])["sandbox"] is Outcome.FAIL
    assert made[PHONE].data is not None
