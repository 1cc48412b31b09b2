"""The main job on real input: digits in, bundles or verdicts out, by the command line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepack.bundle import archive
from edgepack.bundle.validation import goldens_of
from edgepack.inference.host import HostRuntime
from edgepack.inference.protocol import Job, Runtime
from edgepack.inference.tflm import TflmRuntime
from edgepack.tflite.flatbuffer import read

pytestmark = pytest.mark.train

TABLET, BOARD = "lenient-clinic-tablet-1gb-armv7", "lenient-nucleo-l4r5zi"
RECIPE = """
schema = 1
[[stage]]
kind = "prune"
epochs = 2
[[stage]]
kind = "cluster"
epochs = 1
[[stage]]
kind = "qat"
epochs = 2
[int8]
calibration_samples = 120
"""
TRAIN = """
import numpy as np, sys
from converters.keras2 import keras, seed
seed(0)
d = np.load(sys.argv[1])
layers = keras.layers
model = keras.Sequential([
    layers.Input((8, 8, 1)),
    layers.Conv2D(8, 3, padding="same", use_bias=False),
    layers.BatchNormalization(), layers.ReLU(),
    layers.DepthwiseConv2D(3), layers.ReLU(),
    layers.Conv2D(16, 1, activation="relu"),
    layers.GlobalAveragePooling2D(), layers.Dense(10, activation="softmax"),
])
model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
model.fit(d["x_train"], d["y_train"], epochs=12, batch_size=32, verbose=0)
model.save(sys.argv[2])
"""


@dataclass(frozen=True)
class Bench:
    """A folder with a trained model, its data, a short recipe and a cache."""

    root: Path

    def run(self, *words: str, cache: str = "cache") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edgepack", *words],
            env=self.environment(cache),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.root,
        )

    def environment(self, cache: str) -> dict[str, str]:
        folders = {"EDGEPACK_CACHE": cache, "EDGEPACK_PROFILES": "profiles"}
        return os.environ | {name: str(self.root / folder) for name, folder in folders.items()}

    def words(self, out: str, *more: str) -> list[str]:
        given = ["digits.h5", "--data", "digits.npz", "--recipe", "short.toml", "--out", out]
        return ["build", *given, "--no-sandbox", *more]


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    from sklearn.datasets import load_digits

    root = tmp_path_factory.mktemp("bench")
    pictures, labels = load_digits(return_X_y=True)
    x = pictures.reshape(-1, 8, 8, 1).astype(np.float32)
    np.savez(root / "digits.npz", x=x, y=labels)
    cuts = {"x_train": x[:1200], "y_train": labels[:1200]}
    np.savez(root / "train.npz", **cuts)
    (root / "short.toml").write_text(RECIPE)
    (root / "profiles").mkdir()
    for device in ("clinic-tablet-1gb-armv7", "nucleo-l4r5zi"):
        # A net this small, trained this shortly, may lose more than a device allows.
        (root / "profiles" / f"lenient-{device}.toml").write_text(
            f'schema = 1\nname = "lenient-{device}"\ntitle = "Lenient"\nextends = "{device}"\n'
            '[accuracy.max_drop]\nvalue = 0.5\nsource = "policy: a test"\n'
            '[accuracy.min_class_recall]\nvalue = 0.01\nsource = "policy: a test"\n'
        )
    command = [sys.executable, "-c", TRAIN, "train.npz", "digits.h5"]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    return Bench(root)


@pytest.fixture(scope="session")
def built(bench: Bench) -> dict[str, Any]:
    devices = ["-p", TABLET, "-p", BOARD]
    done = bench.run(*bench.words("out", *devices, "--json"))
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def unpacked(bench: Bench, made: dict[str, Any], number: int = 0) -> archive.Bundle:
    path = bench.root / made["products"][number]["bundle"]
    return archive.unpack(path.read_bytes(), str(path))


def test_each_profile_gets_a_bundle_with_the_promised_keys(
    bench: Bench, built: dict[str, Any]
) -> None:
    assert built["schema"] == "edgepack.build/1"
    assert len(built["products"]) == 2
    keys = {"gate", "verdict", "value", "limit", "unit", "how", "says"}
    for number, product in enumerate(built["products"]):
        assert product["findings"]
        assert all(keys <= set(finding) for finding in product["findings"])
        whole = unpacked(bench, built, number)
        assert whole.manifest.profile == product["profile"]
        assert not whole.manifest.proven, "dynamic gates were left out"


def test_the_product_is_full_int8_with_its_zeros_and_clusters(
    bench: Bench, built: dict[str, Any]
) -> None:
    facts = read(unpacked(bench, built).model)
    assert {facts.inputs[0].dtype, facts.outputs[0].dtype} == {"int8"}
    assert facts.float_ops == ()
    kernels = [k for k in facts.kernels if "depthwise" not in k.name]
    assert len(kernels) == 3
    for kernel in kernels:
        assert kernel.zeros_share >= 0.49, kernel
        assert kernel.distinct <= 16, kernel


def test_what_was_not_compressed_is_said(built: dict[str, Any]) -> None:
    assert any("depthwise" in note for note in built["products"][0]["notes"])


def test_the_steps_tell_what_was_gained_and_lost(built: dict[str, Any]) -> None:
    steps = built["products"][0]["steps"]
    assert [step["stage"] for step in steps] == [
        "float",
        "int8",
        "prune, int8",
        "cluster, int8",
        "qat, int8",
    ]
    assert steps[-1]["download_bytes"] < steps[1]["download_bytes"] < steps[0]["download_bytes"]


def test_goldens_and_evidence_travel_along(bench: Bench, built: dict[str, Any]) -> None:
    whole = unpacked(bench, built)
    assert len(whole.array("golden/inputs.npy")) == whole.manifest.golden_rows == 16
    assert len(whole.array("evidence/inputs.npy")) == whole.manifest.test_rows
    assert whole.array("evidence/inputs.npy").dtype == np.int8


def test_goldens_are_the_answers_of_the_devices_own_line_of_runtimes(
    bench: Bench, built: dict[str, Any]
) -> None:
    oracles: tuple[Runtime, Runtime] = (HostRuntime(), TflmRuntime())
    for number, oracle in enumerate(oracles):
        held = unpacked(bench, built, number)
        inputs, outputs = goldens_of(held, read(held.model))
        trace = oracle.run(Job(model=held.model, inputs=inputs, kernels="reference"))
        assert trace.outputs is not None, trace.says
        assert (trace.outputs == outputs).all()


def test_validate_proves_the_bundle_again(bench: Bench, built: dict[str, Any]) -> None:
    path = built["products"][0]["bundle"]
    done = bench.run("validate", path, "--no-sandbox", "--json")
    assert done.returncode == 0, done.stderr
    found = {f["gate"]: f for f in json.loads(done.stdout)["findings"]}
    assert found["goldens"]["verdict"] == found["integrity"]["verdict"] == "pass"
    first = {f["gate"]: f for f in built["products"][0]["findings"]}
    assert found["accuracy_drop"]["value"] == first["accuracy_drop"]["value"]


def test_a_bundle_with_another_model_inside_is_refused(
    bench: Bench, built: dict[str, Any]
) -> None:
    data = bytearray((bench.root / built["products"][0]["bundle"]).read_bytes())
    data[len(data) // 2] ^= 0x10
    (bench.root / "bad.edgepack").write_bytes(bytes(data))
    done = bench.run("validate", "bad.edgepack")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_a_warm_rebuild_gives_the_same_bytes_without_tensorflow(
    bench: Bench, built: dict[str, Any]
) -> None:
    words = bench.words("again", "-p", TABLET, "--json")
    code = (
        "import sys, edgepack.cli.main as entry\n"
        "try:\n    entry.main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=bench.environment("cache"),
        cwd=bench.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)["products"][0]
    assert again["bundle_sha256"] == built["products"][0]["bundle_sha256"]


def test_a_cold_rebuild_gives_the_same_bytes(bench: Bench, built: dict[str, Any]) -> None:
    words = bench.words("cold", "-p", TABLET, "--json")
    done = bench.run(*words, cache="another-cache")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)["products"][0]
    assert again["bundle_sha256"] == built["products"][0]["bundle_sha256"]


def test_every_failed_gate_is_named_and_no_bundle_written(
    bench: Bench, built: dict[str, Any]
) -> None:
    (bench.root / "profiles" / "matchbox.toml").write_text(
        'schema = 1\nname = "matchbox"\ntitle = "Matchbox"\nextends = "nucleo-l4r5zi"\n'
        '[storage.total]\nvalue = "4 KiB"\nsource = "policy: a test"\n'
        '[storage.budget]\nvalue = "2 KiB"\nsource = "policy: a test"\n'
        '[ram.budget]\nvalue = "1 KiB"\nsource = "policy: a test"\n'
    )
    done = bench.run(*bench.words("none", "-p", "matchbox", "--json"))
    assert done.returncode == 3, done.stderr
    product = json.loads(done.stdout)["products"][0]
    failed = {f["gate"] for f in product["findings"] if f["verdict"] == "fail"}
    assert {"storage", "peak_ram"} <= failed
    assert product["bundle"] is None
    assert not (bench.root / "none").exists()


def test_strict_writes_no_open_bundle(bench: Bench, built: dict[str, Any]) -> None:
    words = bench.words("strict", "-p", TABLET, "--strict")
    assert bench.run(*words).returncode == 3
    assert not (bench.root / "strict").exists()


def test_a_killed_build_goes_on_from_its_last_finished_stage(
    bench: Bench, built: dict[str, Any]
) -> None:
    words = bench.words("killed", "-p", TABLET, "--seed", "7")
    cache = bench.root / "killed-cache"
    running = subprocess.Popen(
        [sys.executable, "-m", "edgepack", *words],
        env=bench.environment("killed-cache"),
        cwd=bench.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    kept: set[str] = set()
    for _ in range(1200):
        kept = {path.parent.name for path in cache.glob("??/*/digests.json")}
        if len(kept) >= 2 or running.poll() is not None:
            break
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert len(kept) >= 2, "no stage was finished"
    times = {
        path: path.stat().st_mtime_ns
        for path in cache.glob("??/*/digests.json")
        if path.parent.name in kept
    }
    assert not (bench.root / "killed").exists()
    assert bench.run(*words, cache="killed-cache").returncode == 0
    assert [path.stat().st_mtime_ns for path in times] == list(times.values())
    assert len(list((bench.root / "killed").glob("*.edgepack"))) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_is_one_line_and_leaves_nothing(
    bench: Bench, number: signal.Signals, code: int
) -> None:
    words = bench.words("interrupted", "-p", TABLET, "--seed", "8")
    running = subprocess.Popen(
        [sys.executable, "-m", "edgepack", *words],
        env=bench.environment("interrupted-cache"),
        cwd=bench.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    assert running.stderr.readline().startswith("reading")
    time.sleep(2)
    running.send_signal(number)
    _, told = running.communicate(timeout=300)
    assert running.returncode == code
    assert told.strip().splitlines()[-1].startswith("edgepack: interrupted")
    assert told.count("edgepack: ") == 1
    assert "Traceback" not in told
    assert not (bench.root / "interrupted").exists()
    partial = list((bench.root / "interrupted-cache").glob(".partial-*"))
    assert partial == []


def test_wrong_data_are_named_before_any_training(bench: Bench) -> None:
    np.savez(bench.root / "wide.npz", x=np.zeros((50, 9, 8, 1)), y=np.arange(50) % 10)
    words = bench.words("wrong", "-p", BOARD)
    words[words.index("digits.npz")] = "wide.npz"
    done = bench.run(*words)
    assert done.returncode == 1
    *progress, told = done.stderr.splitlines()
    assert "rows of shape (8, 8, 1). Received: (9, 8, 1)" in told
    assert [line.split()[0] for line in progress] == ["reading"]
    assert not (bench.root / "wrong").exists()


def test_calibration_rows_that_are_tested_fail_the_build(
    bench: Bench, built: dict[str, Any]
) -> None:
    with np.load(bench.root / "digits.npz") as whole:
        x, y = whole["x"], whole["y"]
    np.savez(
        bench.root / "leak.npz",
        **{"x_train": x[:600], "y_train": y[:600], "x_val": x[600:700], "y_val": y[600:700]},
        **{"x_test": x[:600], "y_test": y[:600]},
    )
    words = bench.words("leak", "-p", BOARD, "--json")
    words[words.index("digits.npz")] = "leak.npz"
    words[words.index("short.toml")] = "int8"
    done = bench.run(*words)
    assert done.returncode == 3, done.stderr
    product = json.loads(done.stdout)["products"][0]
    failed = {f["gate"]: f["says"] for f in product["findings"] if f["verdict"] == "fail"}
    assert "are also test rows" in failed["calibration"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the keys")
def test_a_signed_bundle_is_trusted_by_its_key_only(
    bench: Bench, built: dict[str, Any]
) -> None:
    for name in ("mine", "other"):
        make = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", f"{name}.pem"]
        subprocess.run(make, cwd=bench.root, check=True, capture_output=True)
        give = ["openssl", "pkey", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub"]
        subprocess.run(give, cwd=bench.root, check=True, capture_output=True)
    words = bench.words("signed", "-p", TABLET, "--json")
    done = bench.run(*words, "--sign-key", "mine.pem")
    path = json.loads(done.stdout)["products"][0]["bundle"]
    for name, code in (("mine", 0), ("other", 3)):
        asked = bench.run("validate", path, "--no-sandbox", "--trust", f"{name}.pub")
        assert asked.returncode == code, asked.stdout


def test_int4_weights_shrink_the_flash_where_the_route_reads_them(bench: Bench) -> None:
    (bench.root / "int4.toml").write_text("schema = 1\n[narrow]\nmax_error = 0.5\n")
    words = ["build", "digits.h5", "--data", "digits.npz", "--recipe", "int4.toml"]
    done = bench.run(*words, "-p", BOARD, "--micro", "tflm", "--out", "w4", "--no-sandbox")
    assert done.returncode == 0, done.stderr + done.stdout
    (path,) = (bench.root / "w4").glob("*.edgepack")
    held = archive.unpack(path.read_bytes(), path.name)
    steps = {step.stage: step for step in held.manifest.steps}
    assert steps["narrow"].flatbuffer_bytes < steps["int8"].flatbuffer_bytes
    assert "int4" in {kernel.dtype for kernel in read(held.model).kernels}
    assert any("int4 weights in" in note for note in held.manifest.notes)


def test_the_demo_brings_its_own_data_into_a_new_folder(bench: Bench) -> None:
    words = ["demo", "-p", TABLET, "-r", "int8", "--out", "fresh/demo", "--no-sandbox"]
    done = bench.run(*words)
    assert done.returncode == 0, done.stderr
    assert len(list((bench.root / "fresh/demo").glob("*.edgepack"))) == 1


@pytest.mark.parametrize(
    ("recipe", "device", "says"),
    [
        ("int4.toml", BOARD, "--micro tflm"),
        ("int4.toml", TABLET, "nothing could be proven"),
        ("blocks-qat", BOARD, "TFLM reads sparse weights as if they were dense"),
    ],
)
def test_a_form_that_gains_nothing_is_refused_before_any_work(
    bench: Bench, recipe: str, device: str, says: str
) -> None:
    (bench.root / "int4.toml").write_text("schema = 1\n[narrow]\nmax_error = 0.5\n")
    words = ["build", "digits.h5", "--data", "digits.npz", "--recipe", recipe]
    done = bench.run(*words, "-p", device, "--out", "none")
    assert done.returncode == 2
    assert "weights gain nothing on" in done.stderr.splitlines()[-1]
    assert says in done.stderr
    assert not (bench.root / "none").exists()


TEACH = """
import sys
from converters.keras2 import keras, seed
seed(1)
layers = keras.layers
for name, side, last in (("big", 8, "softmax"), ("wide", 9, "softmax"), ("sure", 8, "sigmoid")):
    model = keras.Sequential([
        layers.Input((side, 8, 1)), layers.Conv2D(24, 3, activation="relu"),
        layers.GlobalAveragePooling2D(), layers.Dense(10, activation=last),
    ])
    model.save(f"{name}.h5")
"""


def test_views_and_a_teacher_of_its_own_are_told_in_the_bundle(bench: Bench) -> None:
    subprocess.run([sys.executable, "-c", TEACH], cwd=bench.root, check=True)
    # The teacher is not trained: what it says must not move the model far.
    gentle = "sparsity = 0.1\nlearning_rate = 1e-6\nepochs = 1\nfeatures = 0.1\n"
    text = f'schema = 1\n[[stage]]\nkind = "prune"\n{gentle}'
    (bench.root / "one.toml").write_text(text)
    words = bench.words("taught", "-p", TABLET, "--augment", "shift", "--teacher", "big.h5")
    words[words.index("short.toml")] = "one.toml"
    done = bench.run(*words)
    assert done.returncode == 0, done.stderr
    (path,) = (bench.root / "taught").glob("*.edgepack")
    made = archive.unpack(path.read_bytes(), path.name).manifest.provenance
    digest = hashlib.sha256((bench.root / "big.h5").read_bytes()).hexdigest()
    assert (made.augment, made.teacher_sha256) == (("translate",), digest)
    assert made.model_sha256 != digest
    for more, says in (
        (("--teacher", "wide.h5"), "wanted input shape (8, 8, 1)"),
        (("--teacher", "absent.h5"), "absent.h5"),
        (("--teacher", "sure.h5"), "Received: sigmoid"),
    ):
        refused = bench.run(*words, *more)
        assert refused.returncode == 1, more
        assert says in refused.stderr.splitlines()[-1]
    words[words.index("digits.h5")] = "wide.h5"
    refused = bench.run(*words, "--task", "classification", "--augment", "turn")
    assert refused.returncode == 1
    assert "rotate90 needs square images" in refused.stderr.splitlines()[-1]
