"""Files a loader meets from elsewhere, made by hand: no Keras, no TensorFlow."""

from __future__ import annotations

import io
import json
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from converters.errors import ModelRefused
from converters.reading.loading import load

Config = dict[str, Any]


def layer(kind: str, name: str, **config: Any) -> Config:
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": name, **config},
        "registered_name": None,
        "name": name,
        "inbound_nodes": [],
    }


def model(*layers: Config, inputs: Any = None, outputs: Any = None) -> Config:
    """Return the config of a chain: an input and the given layers."""
    start = layer("InputLayer", "start", batch_input_shape=[None, 4], dtype="float32")
    chain = [start, *layers]
    for before, after in pairwise(chain):
        after["inbound_nodes"] = [[[before["name"], 0, 0, {}]]]
    return {
        "class_name": "Functional",
        "config": {
            "name": "chain",
            "layers": chain,
            "input_layers": [["start", 0, 0]] if inputs is None else inputs,
            "output_layers": [[chain[-1]["name"], 0, 0]] if outputs is None else outputs,
        },
    }


def weights_file(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.ones((4, 2), np.float32)
    return path


def keras_zip(path: Path, config: Any, *, version: str = "2.15.0", **members: bytes) -> Path:
    """Write a .keras file; ``members`` override or add files, dots as double underscores."""
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        file["layers/dense/vars/0"] = np.ones((4, 2), np.float32)
    content = {
        "config.json": json.dumps(config).encode(),
        "metadata.json": json.dumps({"keras_version": version}).encode(),
        "model.weights.h5": held.getvalue(),
    }
    content |= {name.replace("__", "."): data for name, data in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def keras_h5(path: Path, config: Any, version: str = "2.15.0") -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        file.attrs["keras_version"] = version
        file["model_weights/dense/kernel"] = np.ones((4, 2), np.float32)
    return path


def refused(path: Path, *parts: str, allow_code: bool = False) -> str:
    """Return the message, after checking that it is one clear line with ``parts`` in it."""
    with pytest.raises(ModelRefused) as caught:
        load(path, allow_code=allow_code)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 700
    assert path.name in said
    for word in ("wanted ", "; got ", "; "):
        assert word in said
    for part in parts:
        assert part in said, said
    return said
