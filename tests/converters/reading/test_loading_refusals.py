"""A whole model that no stage can take is refused by name, with the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from converters.errors import ModelRefused
from converters.reading.loading import load
from tests.converters.saved_models import KINDS, save, small

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore:You are saving your model:UserWarning"),
]


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
    from converters.reading import admission, hdf5_check

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


@pytest.mark.parametrize("kind", ["h5", "tf_keras-zip", "savedmodel", "keras-v3-zip"])
def test_code_runs_when_asked(k2: Any, k3: Any, tmp_path: Path, kind: str) -> None:
    model = lambda_model(k3 if kind.startswith("keras-v3") else k2, tmp_path / "ran")
    path = save(model, kind, tmp_path)
    (tmp_path / "ran").unlink()
    load(path, allow_code=True)
    assert (tmp_path / "ran").exists()


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
