"""The Keras config of a SavedModel folder, read from its protobufs; its graph never runs.

A SavedModel carries a graph, and running a graph from elsewhere is running its code. The
model is rebuilt from its Keras config instead and its weights are read from the checkpoint,
so a folder without Keras metadata (an inference-only export) cannot be loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import ModelRefused, quote, refusal
from converters.reading.container_checks import parse_json
from converters.reading.snapshot import MAX_MODEL_BYTES, Snapshot

# Ops that leave the graph: they run Python, open files, or call other machines.
_UNSAFE_PREFIXES = (
    "PyFunc",
    "EagerPyFunc",
    "ReadFile",
    "WriteFile",
    "MatchingFiles",
    "ImmutableConst",
    "InitializeTableFromTextFile",
    "TextLine",
    "TFRecord",
    "FixedLengthRecord",
    "WholeFileReader",
    "IdentityReader",
    "LMDB",
    "Sqlite",
    "Rpc",
    "RemoteCall",
    "RemoteFusedGraph",
    "CollectiveBcast",
    "_Send",
    "_Recv",
    "CustomCall",
    "XlaHostCompute",
    "PrintV2",
    "DebugIdentity",
    "SaveSlices",
    "LoadDataset",
    "SaveDataset",
    "LoadLibrary",
)
_REMEDY = "load it where it was trained and save it with model.save('model.keras')"


@dataclass(frozen=True, slots=True)
class SavedKeras:
    """What a SavedModel folder says about its Keras model.

    Attributes:
        config: class and config of the model, not yet checked.
        training: its compile settings, or None.
        checkpoint: prefix of the checkpoint files.
        weight_bytes: all variables in it, as float32.
    """

    config: dict[str, Any]
    training: Any
    checkpoint: Path
    weight_bytes: int


def read(snapshot: Snapshot) -> SavedKeras:
    """Return the Keras model that a SavedModel folder describes.

    Raises:
        ModelRefused: damaged, without Keras metadata, without variables, or a graph with
            operators that run Python or open files.
    """
    from converters import keras2  # noqa: F401 - sets the flags before TensorFlow

    folder, source = snapshot.path, snapshot.source
    graph = _parse(folder / "saved_model.pb", source)
    for op, where in _ops(graph):
        if op.startswith(_UNSAFE_PREFIXES):
            raise refusal(
                source,
                wanted="a graph that only computes",
                got=f"operator {quote(op)} in {quote(where)}, which leaves the graph",
                do="do not trust this model; rebuild it from Keras layers",
            )
    metadata = _metadata(folder, graph, source)
    checkpoint = folder / "variables" / "variables"
    if not checkpoint.with_name("variables.index").is_file():
        raise _lacks(source, "no variables/variables.index, so no weights")
    weight_bytes = _declared_bytes(checkpoint, source)
    kind, config = metadata.get("class_name"), metadata.get("config")
    if not isinstance(config, dict) or "layers" not in config:
        raise refusal(
            source,
            wanted="a functional or Sequential model",
            got=f"a subclassed model ({quote(kind)}), whose code is not in the folder",
            do="rebuild it as keras.Model(inputs, outputs) and save that",
        )
    return SavedKeras(
        config={"class_name": kind, "config": config},
        training=metadata.get("training_config"),
        checkpoint=checkpoint,
        weight_bytes=weight_bytes,
    )


def _parse(path: Path, source: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    saved = _message(saved_model_pb2.SavedModel(), path, source)
    if len(saved.meta_graphs) != 1:
        raise _damaged(source, f"saved_model.pb with {len(saved.meta_graphs)} graphs, not one")
    return saved.meta_graphs[0]


def _message(empty: Any, path: Path, source: Path) -> Any:
    """Return the protobuf message in the file at ``path``, read into ``empty``."""
    try:
        empty.ParseFromString(path.read_bytes())
    except Exception as fault:
        raise _damaged(source, f"{path.name} that does not parse ({quote(fault)})") from fault
    return empty


def _ops(graph: Any) -> Iterator[tuple[str, str]]:
    """Yield each operator with the place it stands in."""
    for node in graph.graph_def.node:
        yield node.op, "the graph"
    for function in graph.graph_def.library.function:
        for node in function.node_def:
            yield node.op, f"function {function.signature.name}"


def _metadata(folder: Path, graph: Any, source: Path) -> dict[str, Any]:
    """Return the root's Keras metadata: in its own file since TF 2.5, in the graph before."""
    from tf_keras.protobuf import saved_metadata_pb2

    text = ""
    own = folder / "keras_metadata.pb"
    if own.is_file():
        nodes = _message(saved_metadata_pb2.SavedMetadata(), own, source)
        text = next((node.metadata for node in nodes.nodes if node.node_path == "root"), "")
    elif graph.object_graph_def.nodes:
        text = graph.object_graph_def.nodes[0].user_object.metadata
    if not text:
        raise _lacks(source, "no Keras metadata (an inference-only export?)")
    metadata = _plain(parse_json(text, "the Keras metadata", source))
    if not isinstance(metadata, dict):
        raise _damaged(source, "Keras metadata that describe no model")
    return metadata


def _plain(value: Any) -> Any:
    """Return the metadata with Keras' marks for tuples and shapes turned into lists."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in ("__tuple__", "TensorShape") and "items" in value:
        return _plain(value["items"])
    return {key: _plain(item) for key, item in value.items()}


def build(config: dict[str, Any], saved: SavedKeras, source: Path, *, allow_code: bool) -> Any:
    """Return the tf_keras model of a checked ``config`` with the checkpoint's weights.

    Raises:
        AssertionError: a weight that is not in the checkpoint.
        ValueError: one of another shape, or a config that does not build.
    """
    from tf_keras.src.saving.serialization_lib import SafeModeScope  # read() set the flags

    from converters.keras2 import keras, tf
    from converters.reading.admission import weight_budget

    def fresh() -> Any:
        budget = weight_budget(keras.layers.Layer, saved.weight_bytes, source)
        with budget, SafeModeScope(safe_mode=not allow_code):
            return keras.models.model_from_config(deepcopy(config))  # it pops from its config

    restored = fresh()
    try:
        status = restored.load_weights(str(saved.checkpoint))
    except (tf.errors.OpError, IndexError) as fault:  # each tensor carries a checksum
        raise _damaged(source, "variables that end early or fail their checksum") from fault
    status.assert_existing_objects_matched()
    status.expect_partial()  # what is left over is the optimizer's
    # A restored model waits for its old optimizer's state and refuses any other optimizer.
    model = fresh()
    model.set_weights(restored.get_weights())
    return model


def _declared_bytes(checkpoint: Path, source: Path) -> int:
    """Return what the checkpoint declares; its blocks and tensors carry checksums."""
    from converters.keras2 import tf

    try:
        shapes = tf.train.load_checkpoint(str(checkpoint)).get_variable_to_shape_map()
    except Exception as fault:
        raise _damaged(source, "a variables.index that does not read") from fault
    declared = sum(4 * math.prod(int(side) for side in shape) for shape in shapes.values())
    if declared > MAX_MODEL_BYTES:
        raise _damaged(source, f"variables of {declared:,} bytes declared")
    return declared


def _lacks(source: Path, what: str) -> ModelRefused:
    return refusal(
        source, wanted="a SavedModel with its Keras model in it", got=what, do=_REMEDY
    )


def _damaged(source: Path, what: str) -> ModelRefused:
    return refusal(
        source,
        wanted="a whole, undamaged SavedModel",
        got=what,
        do=f"copy the folder again, or {_REMEDY}",
    )
