"""Every kind of Keras model loads as the function it was saved as."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.reading.loading import Loaded, load
from tests.converters.saved_models import KINDS, outputs, save, small

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore:You are saving your model:UserWarning"),
]


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


def test_the_current_folder_and_relative_paths(
    saved: tuple[str, Any, Path], monkeypatch: Any
) -> None:
    monkeypatch.chdir(saved[2].parent)
    assert isinstance(load(Path(saved[2].name)), Loaded)
    if saved[2].is_dir():
        os.chdir(saved[2])
        assert load(Path()).kind == "savedmodel"
