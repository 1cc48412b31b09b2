"""A .tflite from elsewhere: packed as it is, judged by what is known of it, and no more."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgepack
from edgepack.bundle import archive, validation
from edgepack.bundle.archive import Bundle
from edgepack.errors import InputError, RuntimeFailure, UsageError
from edgepack.files import sha256
from edgepack.gates.finding import Finding, Outcome, passed
from edgepack.inference import scoring
from edgepack.inference.protocol import ExitStatus, Job, Trace
from edgepack.pipeline import prebuilt
from edgepack.pipeline.pack import BuildTools, Product
from edgepack.pipeline.prebuilt import hint_of, last_operator
from edgepack.pipeline.request import Silent
from edgepack.profiles import catalogue
from edgepack.profiles.profile import Profile
from edgepack.report.page import page
from edgepack.tflite.flatbuffer import read
from tests.edgepack.commands import one_line, run, write_bundle
from tests.edgepack.tinymodels import Net

PHONE, BOARD = "pixel-3", "nucleo-l4r5zi"
ROWS = 400


def classifier(dtype: str = "int8", *, zero: int = 0, seed: int = 0) -> bytes:
    """Return a file whose two outputs are its two inputs: an end of RESHAPE, then SOFTMAX."""
    net = Net(seed)
    more: dict[str, Any] = {} if dtype == "float32" else {"scale": 1 / 64, "zero": zero}
    x = net.tensor((1, 2), dtype, **more)
    y = net.tensor((1, 2), dtype, **more)
    net.op("SOFTMAX", [x], [y])
    return net.done([x], [y])


class Echo:
    """A runtime that answers its input; it may be wrong on some rows, or die of one model."""

    name = "echo"

    def __init__(
        self, wrong: int = 0, dies_of: bytes = b"", gives: float | None = None
    ) -> None:
        self.wrong, self.dies_of, self.gives = wrong, dies_of, gives
        self.jobs: list[Job] = []

    def run(self, job: Job) -> Trace:
        self.jobs.append(job)
        if job.model == self.dies_of:
            return Trace(status=ExitStatus.CRASH, says="crashed with SIGABRT")
        outputs = job.inputs.copy()
        if len(outputs) == ROWS:
            outputs[: self.wrong] = outputs[: self.wrong, ::-1]
        if self.gives is not None:
            outputs[:] = self.gives
        return Trace(status=ExitStatus.OK, says="", outputs=outputs)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    y = np.arange(ROWS) % 2
    np.savez(tmp_path / "d.npz", x_test=np.eye(2, dtype=np.float32)[y], y_test=y)
    (tmp_path / "m.tflite").write_bytes(classifier())
    (tmp_path / "f.tflite").write_bytes(classifier("float32"))
    return tmp_path


def made(
    monkeypatch: pytest.MonkeyPatch,
    runtime: Echo | None = None,
    profiles: tuple[str, ...] = (PHONE,),
    model: str = "m.tflite",
    **more: Any,
) -> dict[str, Product]:
    chosen = runtime or Echo()

    def run_gates(bundle: Bundle, profile: Profile) -> tuple[Finding, ...]:
        return (passed("goldens_device", "same"),)

    def tools(**given: Any) -> BuildTools:
        return BuildTools(
            runtime=chosen,
            oracle=lambda profile: chosen,
            run_gates=run_gates,
            firmware=lambda model, profile, name, files: {},
        )

    monkeypatch.setattr(prebuilt, "build_tools", tools)
    found = edgepack.bundle_tflite(model, "d.npz", profiles, **more)
    return {product.profile.name: product for product in found}


def findings(product: Product) -> dict[str, Finding]:
    return {finding.gate: finding for finding in product.verdict.findings}


def bundle_of(product: Product) -> Bundle:
    assert product.data is not None
    return archive.unpack(product.data, "made")


def test_the_file_is_packed_byte_for_byte_and_says_where_it_came_from(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bundle_of(made(monkeypatch, reference="f.tflite")[PHONE])
    assert whole.model == classifier()
    manifest = whole.manifest
    assert manifest.origin == "tflite"
    assert manifest.provenance.model_sha256 == sha256(classifier())
    assert manifest.provenance.model_kind == "tflite"
    assert manifest.provenance.reference_sha256 == sha256(classifier("float32"))
    assert any("as it came" in note for note in manifest.notes)
    assert [step.stage for step in manifest.steps] == ["float", prebuilt.AS_IT_CAME]


def test_calibration_is_not_asked_and_all_else_is(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = made(monkeypatch, reference="f.tflite")[PHONE]
    found = findings(product)
    assert "calibration" not in found
    assert found["accuracy_drop"].verdict is Outcome.PASS
    assert found["class_recall"].verdict is Outcome.PASS
    assert found["latency"].verdict is Outcome.INCONCLUSIVE  # no gate was answered for it


@pytest.mark.parametrize(
    ("floor", "wrong", "wanted"),
    [(0.9, 0, Outcome.PASS), (0.9, 40, Outcome.INCONCLUSIVE), (0.9, 120, Outcome.FAIL)],
)
def test_a_least_accuracy_stands_in_for_the_float_model(
    here: Path, monkeypatch: pytest.MonkeyPatch, floor: float, wrong: int, wanted: Outcome
) -> None:
    product = made(monkeypatch, Echo(wrong), min_accuracy=floor)[PHONE]
    found = findings(product)
    assert found["accuracy"].verdict is wanted
    assert "accuracy_drop" not in found
    if product.data is not None:
        manifest = bundle_of(product).manifest
        assert manifest.fidelity is None
        assert manifest.score is not None
        assert manifest.min_accuracy == floor


def test_with_neither_the_drop_is_inconclusive_and_the_bundle_unproven(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = made(monkeypatch)[PHONE]
    drop = findings(product)["accuracy_drop"]
    assert drop.verdict is Outcome.INCONCLUSIVE
    assert "--min-accuracy X" in drop.says
    assert not bundle_of(product).manifest.proven


@pytest.mark.parametrize("more", [{}, {"min_accuracy": 0.9}, {"reference": "f.tflite"}])
def test_validate_asks_such_a_bundle_the_same_gates(
    here: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    product = made(monkeypatch, **more)[PHONE]
    whole = bundle_of(product)
    profile = catalogue.load(PHONE)
    _, verdict = validation.validate(whole, profile, Echo(), lambda bundle, device: ())
    again = {finding.gate: finding for finding in verdict.findings}
    assert set(again) - {"integrity", "goldens"} == set(findings(product))
    for gate in ("accuracy_drop", "accuracy", "class_recall"):
        assert again.get(gate) == findings(product).get(gate)
    assert again["goldens"].verdict is Outcome.PASS


def test_a_bundle_without_rows_names_the_command_that_made_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bundle_of(made(monkeypatch, min_accuracy=0.9, evidence="0 B")[PHONE])
    _, verdict = validation.validate(
        whole, catalogue.load(PHONE), Echo(), lambda bundle, device: ()
    )
    again = {finding.gate: finding for finding in verdict.findings}
    assert (
        "edgepack bundle MODEL.tflite --data DATA --profile P --evidence"
        in again["accuracy"].says
    )
    assert again["accuracy"].verdict is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(("evidence", "told"), [("100 B", True), ("8 MiB", False)])
def test_what_too_few_packed_rows_cannot_decide_names_the_option(
    here: Path, monkeypatch: pytest.MonkeyPatch, evidence: str, told: bool
) -> None:
    whole = bundle_of(made(monkeypatch, min_accuracy=0.99, evidence=evidence)[PHONE])
    _, verdict = validation.validate(
        whole, catalogue.load(PHONE), Echo(), lambda bundle, device: ()
    )
    accuracy = {finding.gate: finding for finding in verdict.findings}["accuracy"]
    assert (accuracy.verdict is Outcome.INCONCLUSIVE) is told
    assert ("carries 50 of 400 test rows, and edgepack bundle MODEL" in accuracy.says) is told


def test_a_manifest_that_hides_its_missing_comparison_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = bundle_of(made(monkeypatch)[PHONE]).manifest
    plain = json.loads(archive.manifest_bytes(manifest))
    for lie in ({"origin": "keras"}, {"score": None}):
        with pytest.raises(ValueError, match="wanted the comparison with the float model"):
            archive.Manifest.model_validate_json(json.dumps(plain | lie))


def test_the_page_tells_a_score_without_a_float_model(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bundle_of(made(monkeypatch)[PHONE])
    assert "without a float model to compare with" in page([(whole, "0" * 64)])


def test_uint8_is_int8_shifted_by_128(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signed, shifted = classifier("int8", zero=-3), classifier("uint8", zero=125)
    x = np.random.default_rng(0).normal(0, 2, (50, 2))
    one, two = (scoring.quantized(x, read(each).inputs[0]) for each in (signed, shifted))
    assert (one.astype(int) + 128 == two).all()
    (here / "u.tflite").write_bytes(shifted)
    product = made(monkeypatch, model="u.tflite", reference="f.tflite")[PHONE]
    golden = bundle_of(product).array("golden/inputs.npy")
    assert golden.dtype == np.uint8
    assert findings(product)["accuracy_drop"].verdict is Outcome.PASS


def test_float_ends_take_the_rows_as_they_are_and_a_board_refuses_them(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = made(monkeypatch, profiles=(PHONE, BOARD), model="f.tflite", min_accuracy=0.9)
    assert bundle_of(products[PHONE]).array("golden/inputs.npy").dtype == np.float32
    assert findings(products[BOARD])["dtype"].verdict is Outcome.FAIL
    assert products[BOARD].data is None


def test_outputs_that_are_no_numbers_fail(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Echo(gives=np.nan)
    product = made(monkeypatch, runtime, model="f.tflite", min_accuracy=0.9)[PHONE]
    found = findings(product)["accuracy"]
    assert found.verdict is Outcome.FAIL
    assert "NaN or infinite" in found.says
    assert product.data is None


def test_a_crash_of_the_file_is_a_verdict_and_of_its_reference_an_error(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = made(monkeypatch, Echo(dies_of=classifier()), reference="f.tflite")[PHONE]
    assert findings(product)["accuracy_drop"].verdict is Outcome.FAIL
    assert product.data is None
    with pytest.raises(RuntimeFailure, match=r"--float f\.tflite: echo: crash"):
        made(monkeypatch, Echo(dies_of=classifier("float32")), reference="f.tflite")


def test_two_inputs_fail_by_the_signature_and_no_row_is_run(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net()
    x, y = net.tensor((1, 2)), net.tensor((1, 2))
    (here / "two.tflite").write_bytes(net.done([x, y], [net.add(x, y)]))
    runtime = Echo()
    product = made(monkeypatch, runtime, model="two.tflite", min_accuracy=0.9)[PHONE]
    found = findings(product)
    assert found["signature"].verdict is Outcome.FAIL
    assert "2 inputs (wanted one)" in found["signature"].says
    assert found["accuracy"].verdict is Outcome.INCONCLUSIVE
    assert "not asked after signature" in found["accuracy"].says
    assert not runtime.jobs


def test_rows_that_do_not_fit_name_both_shapes(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(here / "d.npz", x_test=np.zeros((20, 5)), y_test=np.zeros(20))
    with pytest.raises(InputError, match=r"rows of shape \(2,\)\. Received: \(5,\)"):
        made(monkeypatch)


def test_a_reference_of_another_shape_names_both(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net()
    x = net.tensor((1, 3), "float32")
    (here / "f.tflite").write_bytes(net.done([x], [net.reshape(x, (1, 3))]))
    with pytest.raises(InputError, match=r"rows of \(2,\) and gives \(2,\).*\(3,\) to \(3,\)"):
        made(monkeypatch, reference="f.tflite")


def test_rows_for_another_model_are_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.arange(ROWS) % 2
    np.savez(here / "d.npz", x_test=np.eye(2)[y] * 255, y_test=y)
    (note,) = made(monkeypatch)[PHONE].result.notes
    assert "50.0% of the test rows' values are clipped to the -2 to 1.98438" in note
    np.savez(here / "d.npz", x_test=np.eye(2)[y] * 2, y_test=y)  # one step above
    assert made(monkeypatch)[PHONE].result.notes == ()
    np.savez(here / "d.npz", x_test=np.eye(2)[y] / 255, y_test=y)
    (note,) = made(monkeypatch)[PHONE].result.notes
    assert "use hardly any of" in note


@pytest.mark.parametrize("dtype", ["int8", "int32"])
def test_an_integer_input_without_a_scale_takes_whole_numbers_only(
    here: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    net = Net()
    x, y = net.tensor((1, 2), dtype, scale=0), net.tensor((1, 2), dtype, scale=0)
    net.op("SOFTMAX", [x], [y])
    (here / "m.tflite").write_bytes(net.done([x], [y]))
    assert findings(made(monkeypatch, min_accuracy=0.9)[PHONE])["accuracy"].value == 1.0
    labels = np.arange(ROWS) % 2
    np.savez(here / "d.npz", x_test=np.eye(2)[labels] / 2, y_test=labels)
    with pytest.raises(InputError, match="has no scale: wanted whole numbers"):
        made(monkeypatch, min_accuracy=0.9)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1.0])
def test_a_scale_that_is_no_positive_number_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    net = Net()
    x, y = net.tensor((1, 2), scale=scale), net.tensor((1, 2))
    net.op("SOFTMAX", [x], [y])
    (here / "m.tflite").write_bytes(net.done([x], [y]))
    with pytest.raises(InputError, match="wanted one positive scale"):
        made(monkeypatch)


def test_all_rows_of_an_undivided_set_are_test_rows(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    y = np.arange(ROWS) % 2
    np.savez(here / "d.npz", x=np.eye(2, dtype=np.float32)[y], y=y)
    assert bundle_of(made(monkeypatch)[PHONE]).manifest.test_rows == ROWS
    np.savez(here / "d.npz", x_train=np.eye(2)[y], y_train=y)
    with pytest.raises(InputError, match="wanted x_test and y_test"):
        made(monkeypatch)


def test_a_folder_needs_its_test_images_only(here: Path) -> None:
    from PIL import Image

    from edgepack.pipeline.data import loading

    for label in ("cat", "dog"):
        folder = here / "pictures/test" / label
        folder.mkdir(parents=True)
        for number in range(3):
            Image.new("L", (4, 4), number).save(folder / f"{number}.png")
    given: dict[str, Any] = {"input_shape": (4, 4, 1), "output_shape": (2,)}
    samples, task = loading.load_test("pictures", task="classification", **given)
    assert (samples.x_test.shape, task) == ((6, 4, 4, 1), "classification")
    assert samples.labels == ("cat", "dog")
    assert len(samples.x_train) == len(samples.x_val) == 0
    with pytest.raises(InputError, match="wanted folders train and test"):
        loading.load("pictures", task="classification", **given)


def test_the_last_operator_tells_the_task_or_it_is_asked(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hint_of(read(classifier())).task == "classification"
    for units, operator, task, cut in (
        (1, "LOGISTIC", "classification", 0.5),
        (3, "LOGISTIC", None, 0.5),
        (1, "TANH", None, 0.0),
    ):
        net = Net()
        x, inner = net.tensor((1, units)), net.tensor((1, units))
        net.op(operator, [x], [inner])
        out = net.tensor((1, units), "float32")
        net.op("DEQUANTIZE", [inner], [out])
        facts = read(net.done([x], [out]))
        assert last_operator(facts) == operator
        assert (hint_of(facts).task, hint_of(facts).decision_threshold) == (task, cut)
    net = Net()
    x = net.tensor((1, 2))
    (here / "m.tflite").write_bytes(net.done([x], [net.reshape(x, (1, 2))]))
    with pytest.raises(UsageError, match=r"task is unknown.*last operator.*give --task"):
        made(monkeypatch)


@pytest.mark.parametrize("floor", ["0", "1.01", "nan"])
def test_a_least_accuracy_is_a_share(
    capsys: pytest.CaptureFixture[str], here: Path, floor: str
) -> None:
    words = ("bundle", "m.tflite", "-d", "d.npz", "-p", PHONE, "--min-accuracy", floor)
    assert "--min-accuracy: wanted a share" in one_line(run(capsys, *words), 2)


def test_another_kind_of_file_names_its_command(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    (here / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    write_bundle(here / "m.edgepack")
    words = ("-d", "d.npz", "-p", PHONE)
    assert "edgepack build m.h5" in one_line(run(capsys, "bundle", "m.h5", *words), 1)
    says = one_line(run(capsys, "bundle", "m.edgepack", *words), 1)
    assert "edgepack validate m.edgepack" in says
    says = one_line(run(capsys, "bundle", "m.tflite", "--float", "m.edgepack", *words), 1)
    assert "edgepack validate m.edgepack" in says
    damaged = here / "bad.tflite"
    damaged.write_bytes(classifier()[:40])
    says = one_line(run(capsys, "bundle", damaged, *words), 1)
    assert str(damaged) in says


@pytest.mark.tools
def test_a_tiny_file_is_bundled_and_validated_by_the_real_runtime(
    capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, ROWS)
    x = (np.eye(2)[y] + rng.normal(0, 0.1, (ROWS, 2))).astype(np.float32)
    np.savez(here / "d.npz", x_test=x, y_test=y)
    net = Net()
    a = net.tensor((1, 2), scale=1 / 64)
    (here / "m.tflite").write_bytes(net.done([a], [net.softmax(a)]))
    words = ("bundle", "m.tflite", "-d", "d.npz", "-p", PHONE, "--no-sandbox")
    ended = run(capsys, *words, "--min-accuracy", "0.95", "--json")
    assert ended.code == 0, ended.err
    assert "as the device would" not in ended.err  # nothing is run without the sandbox
    told = json.loads(ended.out)
    assert told["schema"] == "edgepack.build/1"
    found = {finding["gate"]: finding["verdict"] for finding in told["findings"]}
    assert found["accuracy"] == "pass"
    assert "calibration" not in found
    bundle = told["products"][0]["bundle"]
    again = json.loads(run(capsys, "validate", bundle, "--no-sandbox", "--json").out)
    asked = {finding["gate"]: finding["verdict"] for finding in again["findings"]}
    assert asked["goldens"] == asked["accuracy"] == "pass"
    assert set(asked) == set(found) | {"integrity", "goldens"}


@pytest.mark.train
def test_a_keras_file_may_be_the_reference(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from converters import keras2

    layers = keras2.keras.layers
    model = keras2.keras.Sequential([layers.Input((2,)), layers.Dense(2, activation="softmax")])
    model.layers[-1].set_weights([np.eye(2, dtype=np.float32), np.zeros(2, np.float32)])
    model.compile(loss="sparse_categorical_crossentropy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls its own HDF5 format legacy
        model.save("r.h5")
    product = made(monkeypatch, Echo(wrong=100), reference="r.h5")[PHONE]
    drop = findings(product)["accuracy_drop"]
    assert (drop.verdict, drop.value) == (Outcome.FAIL, 0.25)
    assert product.result.model.provenance.reference_kind == "h5"
    exact = made(monkeypatch, reference="r.h5")[PHONE]
    kept = bundle_of(exact).array("evidence/float_scores.npy")
    assert kept[0] == pytest.approx(np.exp([1, 0]) / np.exp([1, 0]).sum(), abs=1e-6)


@pytest.mark.parametrize(("off", "wanted"), [(1e-6, Outcome.PASS), (0.1, Outcome.FAIL)])
def test_float_goldens_may_differ_in_their_last_bits(
    here: Path, monkeypatch: pytest.MonkeyPatch, off: float, wanted: Outcome
) -> None:
    class Elsewhere(Echo):
        def run(self, job: Job) -> Trace:
            trace = super().run(job)
            assert trace.outputs is not None
            return Trace(status=ExitStatus.OK, says="", outputs=trace.outputs + np.float32(off))

    whole = bundle_of(made(monkeypatch, model="f.tflite", min_accuracy=0.9)[PHONE])
    _, verdict = validation.validate(
        whole, catalogue.load(PHONE), Elsewhere(), lambda bundle, device: ()
    )
    again = {finding.gate: finding for finding in verdict.findings}
    assert again["goldens"].verdict is wanted


def test_many_classes_are_told_in_one_readable_line(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net()
    x, y = net.tensor((1, 900)), net.tensor((1, 900))
    net.op("SOFTMAX", [x], [y])
    (here / "m.tflite").write_bytes(net.done([x], [y]))
    labels = np.arange(ROWS) % 2
    np.savez(here / "d.npz", x_test=np.eye(900, dtype=np.float32)[labels], y_test=labels)
    recall = findings(made(monkeypatch, min_accuracy=0.9)[PHONE])["class_recall"]
    assert recall.verdict is Outcome.INCONCLUSIVE
    assert "; and 888 more" in recall.says
    assert len(recall.says) < 600


def test_progress_is_told(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Told(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    monkeypatch.setattr("edgepack.pipeline.tools.HostRuntime", Echo)
    monkeypatch.setattr("edgepack.pipeline.tools.oracle_of", lambda profile: Echo())
    edgepack.bundle_tflite("m.tflite", "d.npz", [PHONE], sandbox=False, progress=Told())
    assert said[0].startswith("task: classification (a .tflite carries no loss")
    assert f"{PHONE}: judging" in said
