"""Other people's models load as what their authors converted: checked on their .tflite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.reading.loading import load

pytestmark = pytest.mark.train
Find = Callable[[str], Path]

# The authors' own float conversion: an oracle that shares no code with ours. Two more are
# published, but of other weights: ad01_fp32.tflite and kws_ref_model_float32.tflite.
FLOAT = [
    (
        "image_classification/pretrainedResnet.h5",
        "image_classification/pretrainedResnet.tflite",
    ),
    ("visual_wake_words/vww_96.h5", "visual_wake_words/vww_96_float.tflite"),
]
OTHERS = [
    "mlperf_tiny/anomaly_detection/ad01.h5",
    "mlperf_tiny/keyword_spotting/kws_ref_model",  # load_model runs its graph, load() does not
    "mlperf_tiny/streaming_wakeword/str_ww_ref_model.h5",
    "third_party_models/malaria_jitensinha98/Malaria_cells_Classifier.h5",
    "third_party_models/mltk/autoencoder_example/autoencoder_example.h5",
    "third_party_models/mltk/image_classification/image_classification.h5",
    "third_party_models/mltk/keyword_spotting/keyword_spotting.h5",
    "third_party_models/mltk/tflite_micro_magic_wand/tflite_micro_magic_wand.h5",
    "third_party_models/st/miniresnet_1_stacks_backbone.h5",
]


@pytest.mark.parametrize(("model", "converted"), FLOAT)
def test_mlperf_tiny_models_are_their_published_float_files(
    shared_data: Find, model: str, converted: str
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    loaded = load(shared_data(f"mlperf_tiny/{model}")).model
    interpreter = Interpreter(str(shared_data(f"mlperf_tiny/{converted}")))
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    x = np.random.default_rng(0).random((8, *into["shape"][1:]), np.float32)
    theirs = []
    for row in x:
        interpreter.set_tensor(into["index"], row[np.newaxis])
        interpreter.invoke()
        theirs.append(interpreter.get_tensor(out["index"])[0])
    ours = np.asarray(loaded(x.reshape(-1, *loaded.input_shape[1:]), training=False))
    np.testing.assert_allclose(ours, np.stack(theirs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OTHERS)
def test_other_peoples_models_are_what_tf_keras_loads(shared_data: Find, name: str) -> None:
    from converters.keras2 import keras

    path = shared_data(name)
    loaded = load(path)
    reference: Any = keras.models.load_model(path, compile=False)
    x = np.random.default_rng(0).random((4, *loaded.model.input_shape[1:]), np.float32)
    np.testing.assert_array_equal(
        np.asarray(loaded.model(x, training=False)), np.asarray(reference(x, training=False))
    )
    assert loaded.notes == ()
