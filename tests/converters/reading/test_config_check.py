"""A config is data: no name in it makes Keras import, unmarshal or open anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h5py", reason="the train extra is not installed")

from converters.errors import ModelRefused
from converters.reading import config as keras_config
from converters.reading import keras3_ops
from tests.converters.hostile_files import layer, model

HERE = Path("model.keras")
DENSE = layer("Dense", "dense", units=2)


def checked(config: Any, *, allow_code: bool = False) -> keras_config.Prepared:
    bare = keras_config.without_compile(config)
    safe = keras_config.check_config(bare, HERE, allow_code=allow_code)
    ready = keras_config.prepare(safe, HERE)
    keras_config.check_wiring(ready.config, HERE)
    return ready


def part(kind: str, config: Any, module: Any, registered: Any = None) -> dict[str, Any]:
    return {
        "class_name": kind,
        "config": config,
        "module": module,
        "registered_name": registered,
    }


CODE = {
    "a Lambda": layer("Lambda", "evil", function=["4wEAAA==", None, None]),
    "a Lambda in a wrapper": layer(
        "TimeDistributed", "evil", layer=layer("Lambda", "evil", function=["x"])
    ),
    "a Lambda in a nested model": layer("Functional", "n")
    | {"config": model(layer("Lambda", "evil", function=["x"]))["config"]},
    "a marshalled activation": layer(
        "Dense", "evil", activation=part("__lambda__", {"code": "x"}, "builtins")
    ),
    "a function of os": layer(
        "Dense", "evil", activation=part("function", "system", "os", "system")
    ),
    "a download by keras.utils": layer(
        "Dense", "evil", activation=part("function", "get_file", "keras.utils", "get_file")
    ),
    "a class of another module": layer("Dense", "evil") | {"module": "subprocess"},
    "a test module of Keras": layer("Dense", "evil") | {"module": "keras.src.testing.x"},
    "a registered class": layer("Dense", "evil") | {"registered_name": "mine>Dense"},
    "an unknown class": layer("Attack", "evil"),
    "an initializer that is code": layer(
        "Dense", "evil", kernel_initializer=part("Popen", {}, "subprocess")
    ),
    "an op that writes": layer("TFOpLambda", "evil", function="io.write_file"),
    "an op that deserializes": layer(
        "TFOpLambda", "evil", function="keras.activations.deserialize"
    ),
    "a look-up that reads a file": layer("StringLookup", "evil", vocabulary="/etc/passwd"),
    "a SavedModel by path": layer("TFSMLayer", "evil", filepath="/srv/model"),
    "a pickled torch module": layer("TorchModuleWrapper", "evil", module="gASV"),
    "jax code": layer("JaxLayer", "evil", call_fn="x"),
}


@pytest.mark.parametrize("case", CODE)
def test_what_can_run_or_open_is_refused_and_its_layer_named(case: str) -> None:
    with pytest.raises(ModelRefused, match=r"layer evil .*--allow-code"):
        checked(model(CODE[case]))


@pytest.mark.parametrize("case", CODE)
def test_allow_code_lets_it_through(case: str) -> None:
    checked(model(CODE[case]), allow_code=True)


def test_compile_settings_are_never_built(tmp_path: Path) -> None:
    config = model(DENSE)
    evil = part("function", "system", "os", "system")
    config["compile_config"] = {"loss": evil}
    config["config"]["layers"][1]["compile_config"] = {"loss": evil}
    assert "compile_config" not in str(checked(config).config)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (layer("MyNet", "net"), "MyNet (subclassed?)"),
        ({"class_name": "Functional", "config": {"name": "x"}}, "without a list of layers"),
        ({"class_name": ["Functional"], "config": {}}, "subclassed?"),
        ([], "describes no model"),
        (model(layer("QuantizeWrapperV2", "q")), "layer q (QuantizeWrapperV2), already"),
        (model(layer("TensorFlowModelOptimization>PruneLowMagnitude", "p")), "layer p ("),
        (model(layer("Conv2D", "c", data_format="channels_first")), "layer c with data_format"),
        (model(layer("LSTM", "memory", stateful=True)), "layer memory with stateful"),
        (model(layer("Dense", "d", dtype="bfloat16")), "layer d in bfloat16"),
        (model(DENSE, inputs=[["a", 0, 0], ["b", 0, 0]]), "2 inputs: a, b"),
        (model(DENSE, outputs=[["a", 0, 0], ["b", 0, 0], ["c", 0, 0]]), "3 outputs: a, b, c"),
        (model(DENSE, outputs={"scores": ["a", 0, 0], "box": ["b", 0, 0]}), "scores, box"),
        (model(DENSE, outputs=[]), "0 outputs: none"),
    ],
)
def test_what_no_stage_can_take_is_refused_by_name(config: Any, word: str) -> None:
    with pytest.raises(ModelRefused) as caught:
        checked(config)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    "node",
    [
        [["dense", 0, 0, {}]],  # reads itself
        [["start", 0, 0, {"y": ["later", 0, 0]}]],  # reads a layer that reads it
        [["later", 0, 0, {}]],
        [["first", 1, 0, {}]],  # a call that is never made
        [["first", 0, 0, {"y": ["first", 0, 3]}]],  # an output it does not have
        [["nowhere", 0, 0, {}]],
        [["_CONSTANT_VALUE", -1, ["_COMPOSITE_TYPE", "{}"], {}]],
    ],
)
def test_a_graph_that_tf_keras_would_search_for_ever_is_refused(node: Any) -> None:
    config = model(layer("Dense", "first"), layer("Dense", "dense"), layer("Dense", "later"))
    checked(config)
    config["config"]["layers"][2]["inbound_nodes"] = [node]
    with pytest.raises(ModelRefused, match="called one after the other"):
        checked(config)


def test_shared_and_nested_calls_are_in_order() -> None:
    inner = layer("Functional", "inner") | {"config": model(DENSE)["config"]}
    config = model(inner, layer("Add", "add"), layer("TFOpLambda", "halves", function="split"))
    layers = config["config"]["layers"]
    layers[1]["inbound_nodes"] = [[["start", 0, 0, {}]], [["inner", 1, 0, {}]]]
    layers[2]["inbound_nodes"] = [[["inner", 1, 0, {}], ["inner", 2, 0, {}]]]
    layers[3]["inbound_nodes"] = [["add", 0, 0, {"num_or_size_splits": 2, "axis": 1}]]
    gate = layer("TFOpLambda", "gate", function="math.multiply")
    gate["inbound_nodes"] = [["halves", 0, 0, {"y": ["halves", 0, 1], "name": None}]]
    layers.append(gate)
    config["config"]["output_layers"] = [["gate", 0, 0]]
    checked(config)


@pytest.mark.parametrize(
    "dtype",
    [
        "float16",
        "float64",
        {"class_name": "Policy", "config": {"name": "mixed_float16"}},
        part("DTypePolicy", {"name": "mixed_bfloat16"}, "keras"),
    ],
)
def test_other_floats_become_float32_and_that_is_said(dtype: Any) -> None:
    ready = checked(model(layer("Dense", "d", dtype=dtype)))
    assert ready.config["config"]["layers"][1]["config"]["dtype"] == "float32"
    (note,) = ready.notes
    assert "loaded in float32" in note


def test_a_fixed_batch_becomes_free_and_that_is_said() -> None:
    config = model(DENSE)
    config["config"]["layers"][0]["config"]["batch_input_shape"] = [8, 4]
    ready = checked(config)
    assert ready.config["config"]["layers"][0]["config"]["batch_input_shape"] == [None, 4]
    assert ready.notes == ("the file fixes the batch size at 8; loaded with any",)


def test_the_config_given_is_left_alone() -> None:
    config = model(layer("Dense", "d", dtype="float16"))
    checked(config)
    assert config["config"]["layers"][1]["config"]["dtype"] == "float16"


@pytest.mark.train
def test_every_name_on_the_lists_is_one_of_keras() -> None:
    from converters import keras2
    from converters.reading import keras3

    both = (keras2.keras, keras3.import_keras3())
    spelled_in_files = {"TFOpLambda", "SlicingOpLambda"} | {
        f"BatchNormalizationV{n}"
        for n in (1, 2)  # written by TensorFlow 1
    }
    for name in keras_config.LAYERS - spelled_in_files:
        assert any(hasattr(keras.layers, name) for keras in both), name
    for name in keras_config.ACTIVATIONS:
        assert any(hasattr(keras.activations, name) for keras in both), name
    assert not keras_config.LAYERS & (keras_config.CODE | keras_config.COMPRESSED)


@pytest.mark.train
def test_every_operator_with_a_row_is_one_of_keras_3() -> None:
    from converters.reading import keras3

    keras3.import_keras3()
    from keras.src.ops import core, math, nn, numpy

    for name in (*keras3_ops.RULES, *keras3_ops.MASKS):
        assert any(hasattr(module, name) for module in (numpy, nn, core, math)), name
