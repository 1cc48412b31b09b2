"""Every kind of Keras model loads as the function it was saved as, or is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from converters.errors import ModelRefused
from converters.loading import Loaded, load

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore:You are saving your model:UserWarning"),
]
KINDS = ("tf_keras-zip", "h5", "savedmodel", "keras-v3-zip", "keras-v3-h5")


@pytest.fixture(scope="module")
def k2() -> Any:
    from converters.keras2 import keras

    return keras


@pytest.fixture(scope="module")
def k3() -> Any:
    from converters import keras3

    return keras3.door()


def small(k: Any, sequential: bool = False) -> Any:
    layers = [
        k.layers.Conv2D(4, 3, activation="relu", name="conv"),
        k.layers.BatchNormalization(name="norm"),
        k.layers.Flatten(name="flat"),
        k.layers.Dense(3, activation="softmax", name="scores"),
    ]
    if sequential:
        made = k.Sequential([k.Input((8, 8, 2)), *layers])
    else:
        x = inputs = k.Input((8, 8, 2))
        for layer in layers:
            x = layer(x)
        made = k.Model(inputs, x)
    rng = np.random.default_rng(0)
    made.set_weights([rng.uniform(0.02, 0.2, w.shape) for w in made.get_weights()])
    made.compile("adam", k.losses.CategoricalCrossentropy(label_smoothing=0.1), ["accuracy"])
    return made


def save(model: Any, kind: str, folder: Path) -> Path:
    name = {"savedmodel": "saved", "h5": "m.h5", "keras-v3-h5": "m.h5"}.get(kind, "m.keras")
    path = folder / name
    model.save(path, **({"save_format": "tf"} if kind == "savedmodel" else {}))
    return path


def outputs(model: Any, x: Any) -> Any:
    return np.asarray(model(x, training=False))


@pytest.fixture(scope="module", params=KINDS)
def saved(request: Any, k2: Any, k3: Any, tmp_path_factory: Any) -> tuple[str, Any, Path]:
    kind = request.param
    original = small(k3 if kind.startswith("keras-v3") else k2)
    return kind, original, save(original, kind, tmp_path_factory.mktemp("saved"))


def test_each_kind_loads_as_the_function_it_was(saved: tuple[str, Any, Path]) -> None:
    kind, original, path = saved
    loaded = load(path)
    x = np.random.default_rng(1).random((5, 8, 8, 2), np.float32)
    np.testing.assert_allclose(outputs(loaded.model, x), outputs(original, x), atol=1e-6)
    assert loaded.kind == kind
    assert type(loaded.model).__module__.startswith("tf_keras.")
    assert type(loaded.model).__name__ == "Functional"
    assert (loaded.bridge_max_abs_diff is not None) == kind.startswith("keras-v3")
    assert loaded.notes == ()


def test_the_compiled_loss_comes_along(saved: tuple[str, Any, Path]) -> None:
    loss = load(saved[2]).model.loss
    assert type(loss).__module__.startswith("tf_keras.")
    assert loss.name == "categorical_crossentropy"
    assert loss.get_config()["label_smoothing"] == pytest.approx(0.1)


def test_the_digest_is_of_the_files_bytes(saved: tuple[str, Any, Path]) -> None:
    _, _, path = saved
    digest = load(path).digest
    if path.is_file():
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
        return
    assert digest == load(path).digest
    (path / "assets" / "more.txt").write_text("x")
    assert digest != load(path).digest
    (path / "assets" / "more.txt").unlink()
    assert digest == load(path).digest


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_off_file_is_refused(
    saved: tuple[str, Any, Path], tmp_path: Path, share: float
) -> None:
    _, _, path = saved
    for name in ("", "saved_model.pb", "variables/variables.index") if path.is_dir() else ("",):
        copy = tmp_path / path.name
        if path.is_dir():
            shutil.copytree(path, copy, dirs_exist_ok=True)
        if path.is_dir() and not name:
            continue
        whole = (path / name).read_bytes() if name else path.read_bytes()
        (copy / name if name else copy).write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ModelRefused) as caught:
            load(copy)
        assert str(caught.value).isprintable()


def test_flipped_bits_are_refused_or_load(saved: tuple[str, Any, Path], tmp_path: Path) -> None:
    kind, _, path = saved
    chance = random.Random(kind)
    copy = tmp_path / path.name
    for _ in range(25):
        if path.is_dir():
            shutil.copytree(path, copy, dirs_exist_ok=True)
        else:
            shutil.copy(path, copy)
        files = sorted(p for p in copy.rglob("*") if p.is_file()) if path.is_dir() else [copy]
        damaged = chance.choice(files)
        content = bytearray(damaged.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        damaged.write_bytes(content)
        try:
            load(copy)
        except ModelRefused as fault:
            assert str(fault).isprintable()


@pytest.mark.parametrize("kind", ["tf_keras-zip", "keras-v3-zip", "savedmodel"])
def test_changed_settings_are_refused_or_load(
    k2: Any, k3: Any, tmp_path: Path, kind: str
) -> None:
    """Whole files whose config was changed at random: checksums do not help here."""
    path = save(small(k3 if kind == "keras-v3-zip" else k2), kind, tmp_path)
    chance = random.Random(kind)
    odd = [None, True, 0, -1, 3, 10**9, 2**70, 1e308, "", "relu", "Lambda", [], {}, [10**5] * 2]
    for _ in range(20):
        if kind == "savedmodel":
            # the metadata are a length-prefixed text: swap one character for another
            raw = bytearray((path / "keras_metadata.pb").read_bytes())
            raw[chance.randrange(60, len(raw))] = ord(chance.choice('0189"[]{},:aZ'))
            (path / "keras_metadata.pb").write_bytes(raw)
        else:
            with zipfile.ZipFile(path) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            config = json.loads(members["config.json"])
            holder, key = chance.choice(list(_places(config)))
            holder[key] = chance.choice(odd)
            members["config.json"] = json.dumps(config).encode()
            with zipfile.ZipFile(tmp_path / "odd.keras", "w") as archive:
                for name, data in members.items():
                    archive.writestr(name, data)
        try:
            load(path if kind == "savedmodel" else tmp_path / "odd.keras")
        except ModelRefused as fault:
            assert str(fault).isprintable()


def _places(value: Any) -> Any:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from _places(inner)


def changed_config(path: Path, change: Callable[[Any], None]) -> Path:
    """Rewrite the config inside a .h5 file."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"])
        file.attrs["model_config"] = json.dumps(config)
    return path


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(ModelRefused) as caught:
        load(path)
    said = str(caught.value)
    assert said.isprintable()
    for part in (path.name, *parts):
        assert part in said, said


def test_a_config_may_not_ask_for_more_weights_than_the_file_holds(
    k2: Any, tmp_path: Path
) -> None:
    path = save(small(k2), "h5", tmp_path)
    changed_config(path, lambda layers: layers[-1]["config"].update(units=10**9))
    refused(path, "layer scores", "bytes of weights where the file holds")


def test_a_layer_output_beyond_any_device_is_refused(k2: Any, tmp_path: Path) -> None:
    inputs = k2.Input((100, 100, 3))
    path = save(
        k2.Model(inputs, k2.layers.UpSampling2D(200, name="huge")(inputs)), "h5", tmp_path
    )
    refused(path, "layer huge with 4,800,000,000 bytes")


@pytest.mark.parametrize("kind", KINDS)
def test_nan_weights_are_refused_by_name(k2: Any, k3: Any, tmp_path: Path, kind: str) -> None:
    model = small(k3 if kind.startswith("keras-v3") else k2)
    kernel, bias = model.get_layer("scores").get_weights()
    kernel[0, 0], kernel[1, 1] = np.nan, np.inf
    model.get_layer("scores").set_weights([kernel, bias])
    refused(save(model, kind, tmp_path), "scores/kernel", "with 2 of 432 NaN or infinite")


def test_a_weight_that_is_not_in_the_file_is_missed(k2: Any, tmp_path: Path) -> None:
    from converters import admission, hdf5_check

    path = save(small(k2), "h5", tmp_path)
    other = small(k2)
    other.get_layer("scores").set_weights(
        [w + 1 for w in other.get_layer("scores").get_weights()]
    )
    admission.check_held(small(k2), hdf5_check.examine(path, path), path)
    with pytest.raises(ModelRefused, match=r"no values for scores/kernel"):
        admission.check_held(other, hdf5_check.examine(path, path), path)


@pytest.mark.parametrize("kind", ["h5", "keras-v3-zip"])
def test_unknown_sizes_are_refused_with_the_remedy(
    k2: Any, k3: Any, tmp_path: Path, kind: str
) -> None:
    k = k3 if kind == "keras-v3-zip" else k2
    inputs = k.Input((None, None, 3), name="photo")
    x = k.layers.GlobalAveragePooling2D()(k.layers.Conv2D(4, 3)(inputs))
    refused(
        save(k.Model(inputs, x), kind, tmp_path), "photo", "(batch, None, None, 3)", "Input("
    )


@pytest.mark.parametrize("kind", KINDS)
def test_several_ends_are_refused_by_name(k2: Any, k3: Any, tmp_path: Path, kind: str) -> None:
    k = k3 if kind.startswith("keras-v3") else k2
    left, right = k.Input((4,), name="left"), k.Input((4,), name="right")
    both = k.layers.Add()([left, right])
    refused(save(k.Model([left, right], both), kind, tmp_path), "left", "right", "2 inputs")
    ends = [k.layers.Dense(2, name="cat")(left), k.layers.Dense(2, name="dog")(left)]
    (tmp_path / "out").mkdir()
    refused(save(k.Model(left, ends), kind, tmp_path / "out"), "2 outputs: cat, dog")


def test_whole_numbers_out_are_refused(k2: Any, tmp_path: Path) -> None:
    inputs = k2.Input((4,))
    from converters.keras2 import tf

    path = save(k2.Model(inputs, tf.math.argmax(inputs, axis=-1)), "tf_keras-zip", tmp_path)
    refused(path, "of int64", "before argmax")


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_float16_loads_as_float32(k2: Any, k3: Any, tmp_path: Path, kind: str) -> None:
    k = k3 if kind.startswith("keras-v3") else k2
    k.mixed_precision.set_global_policy("mixed_float16")
    try:
        path = save(small(k), kind, tmp_path)
    finally:
        k.mixed_precision.set_global_policy("float32")
    loaded = load(path)
    assert {w.dtype.name for w in loaded.model.weights} == {"float32"}
    assert loaded.model.output.dtype.name == "float32"
    assert loaded.model.get_layer("conv").compute_dtype == "float32"
    assert any("loaded in float32" in note for note in loaded.notes)


@pytest.mark.parametrize("kind", KINDS)
def test_sequential_becomes_functional(k2: Any, k3: Any, tmp_path: Path, kind: str) -> None:
    original = small(k3 if kind.startswith("keras-v3") else k2, sequential=True)
    model = load(save(original, kind, tmp_path)).model
    x = np.random.default_rng(2).random((2, 8, 8, 2), np.float32)
    assert type(model).__name__ == "Functional"
    np.testing.assert_allclose(outputs(model, x), outputs(original, x), atol=1e-6)


def test_sequential_without_an_input_shape_is_refused(k2: Any, tmp_path: Path) -> None:
    model = k2.Sequential([k2.layers.Dense(2)])
    path = tmp_path / "unbuilt.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": model.get_config()}
        )
        file.attrs["keras_version"] = "2.15.0"
        file.create_group("model_weights").attrs["layer_names"] = []
    refused(path, "input size is not known", "Input(shape=")


@pytest.mark.parametrize("kind", KINDS)
def test_adapted_statistics_survive_a_copy(k2: Any, k3: Any, tmp_path: Path, kind: str) -> None:
    from converters import keras2

    k = k3 if kind.startswith("keras-v3") else k2
    norm = k.layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(7, 3, (500, 4)).astype(np.float32))
    inputs = k.Input((4,))
    inner = k.Sequential([k.Input((4,)), norm, k.layers.Dense(3)])
    original = k.Model(inputs, k.layers.Dense(2)(inner(inputs)))
    twin = keras2.copy(load(save(original, kind, tmp_path)).model)
    x = np.random.default_rng(1).normal(7, 3, (5, 4)).astype(np.float32)
    np.testing.assert_allclose(outputs(twin, x), outputs(original, x), rtol=1e-4, atol=1e-6)


def lambda_model(k: Any, marker: Path) -> Any:
    inputs = k.Input((4,))
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    x = k.layers.Lambda(lambda t: (eval(code), t * 2)[1], name="evil")(inputs)
    return k.Model(inputs, k.layers.Dense(2)(x))


@pytest.mark.parametrize("kind", KINDS)
def test_code_in_a_model_never_runs_unasked(
    k2: Any, k3: Any, tmp_path: Path, kind: str
) -> None:
    marker = tmp_path / "ran"
    model = lambda_model(k3 if kind.startswith("keras-v3") else k2, marker)
    path = save(model, kind, tmp_path)
    marker.unlink()  # building it ran the code
    refused(path, "layer evil (Lambda), which carries code", "--allow-code")
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["h5", "tf_keras-zip"])
def test_code_runs_when_asked(k2: Any, tmp_path: Path, kind: str) -> None:
    path = save(lambda_model(k2, tmp_path / "ran"), kind, tmp_path)
    (tmp_path / "ran").unlink()
    load(path, allow_code=True)
    assert (tmp_path / "ran").exists()


def test_a_custom_loss_is_left_out_and_said(k2: Any, tmp_path: Path) -> None:
    model = small(k2)

    def my_loss(y: Any, p: Any) -> Any:
        return k2.losses.mean_squared_error(y, p)

    model.compile("adam", my_loss)
    loaded = load(save(model, "h5", tmp_path))
    assert not getattr(loaded.model, "loss", None)
    assert loaded.notes == (
        "compiled loss my_loss is not Keras' own: left out, a task must name one",
    )


@pytest.mark.parametrize(
    "loss", ["mse", "sparse_categorical_crossentropy", "binary_crossentropy"]
)
@pytest.mark.parametrize("kind", ["h5", "tf_keras-zip", "keras-v3-zip", "keras-v3-h5"])
def test_a_loss_by_name_keeps_its_name(
    k2: Any, k3: Any, tmp_path: Path, kind: str, loss: str
) -> None:
    k = k3 if kind.startswith("keras-v3") else k2
    model = small(k)
    rate = 0.0125
    model.compile(k.optimizers.SGD(rate), loss, metrics=["mae", k.metrics.AUC(name="area")])
    compiled = load(save(model, kind, tmp_path)).model
    assert compiled.loss in (loss, "mean_squared_error")
    assert float(compiled.optimizer.learning_rate) == pytest.approx(rate)


def test_exports_and_subclassed_models_are_told_apart(k2: Any, k3: Any, tmp_path: Path) -> None:
    small(k3).export(tmp_path / "exported", verbose=False)
    refused(
        tmp_path / "exported", "no Keras metadata (an inference-only export?)", "model.save("
    )

    class Net(k2.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.dense = k2.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    net = Net()
    net(np.zeros((1, 4), np.float32))
    net.save(tmp_path / "subclassed", save_format="tf")
    refused(tmp_path / "subclassed", "subclassed", "keras.Model(inputs, outputs)")
    net.save(tmp_path / "net.keras")
    refused(tmp_path / "net.keras", "class Net (subclassed?)")


def test_a_graph_that_leaves_the_graph_is_refused(k2: Any, tmp_path: Path) -> None:
    from converters.keras2 import tf

    class Module(tf.Module):  # type: ignore[misc, name-defined]
        @tf.function(input_signature=[tf.TensorSpec((None, 4))])
        def __call__(self, x: Any) -> Any:
            return tf.numpy_function(lambda v: v, [x], tf.float32)

    tf.saved_model.save(Module(), str(tmp_path / "python"))
    refused(tmp_path / "python", "operator PyFunc in function")

    class Reader(tf.Module):  # type: ignore[misc, name-defined]
        @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
        def __call__(self, name: Any) -> Any:
            return tf.io.read_file(name)

    tf.saved_model.save(Reader(), str(tmp_path / "reader"))
    refused(tmp_path / "reader", "operator ReadFile in function")


def test_the_current_folder_and_relative_paths(
    saved: tuple[str, Any, Path], monkeypatch: Any
) -> None:
    monkeypatch.chdir(saved[2].parent)
    assert isinstance(load(Path(saved[2].name)), Loaded)
    if saved[2].is_dir():
        os.chdir(saved[2])
        assert load(Path()).kind == "savedmodel"
