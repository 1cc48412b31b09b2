"""What other forms of weights cost and save: instructions and bytes beside plain int8.

    python benchmarks/forms.py blocks     dense layers by share of empty 1x16 blocks
    python benchmarks/forms.py int4       the published VWW, int4 where the outputs allow it
    python benchmarks/forms.py int16      int16 activations (needs TensorFlow)

Counts repeat to the last instruction (docs/emulation.md). Needs an engine with its images;
``int4`` needs the MLPerf Tiny files below EDGEPACK_DATA.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import real_data
from numpy.typing import NDArray

from converters.tflite import tflite_edit
from converters.tflite.blocks import Blocks
from converters.tflite.narrow import Narrow
from edgepack.inference.protocol import Job
from edgepack.sandbox.container import ContainerRuntime
from edgepack.sandbox.engine import require
from edgepack.sandbox.images import ImageSpec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.edgepack.tinymodels import Net

IMAGES = (
    ("tflite-runtime", "2.14.0", "armv7"),
    ("tflite-runtime", "2.14.0", "arm64"),
    ("ai-edge-litert", "1.4.0", "arm64"),
)
WIDTH, UNITS = 640, (128, 128, 640)


def count(model: bytes, image: tuple[str, str, str], dtype: type = np.int8) -> int:
    """Return instructions of one warm inference on random input."""
    shape = _input_shape(model)
    rows: NDArray[Any] = np.random.default_rng(0).integers(-128, 128, shape).astype(dtype)
    runtime = ContainerRuntime(engine=require(), spec=ImageSpec(*image), counted=True)
    trace = runtime.run(Job(model=model, inputs=rows, repeats=3, warmup=1))
    if trace.instructions is None:
        raise SystemExit(f"{image}: {trace.says}")
    return trace.instructions.total


def _input_shape(model: bytes) -> tuple[int, ...]:
    graph = tflite_edit.parse(model).subgraphs[0]
    return tuple(int(size) for size in graph.tensors[graph.inputs[0]].shape)


def dense(empty: float) -> bytes:
    """Return an autoencoder of dense layers whose 1x16 blocks are empty by a share."""
    net = Net(1)
    x = y = net.tensor((1, WIDTH))
    for units in UNITS:
        y = net.dense(y, units)
    model = tflite_edit.parse(net.done([x], [y]))
    drawn = np.random.default_rng(0)
    for operator in model.subgraphs[0].operators:
        tensor = model.subgraphs[0].tensors[operator.inputs[1]]
        held: NDArray[np.int8] = np.frombuffer(
            bytes(model.buffers[tensor.buffer].data), np.int8
        ).reshape(-1, 16)
        kept = held * (drawn.random(len(held)) >= empty)[:, np.newaxis].astype(np.int8)
        tflite_edit.hold(model, tensor, kept.reshape(-1).view(np.uint8))
    return tflite_edit.pack(model)


def blocks() -> Iterator[tuple[str, bytes, bytes, type]]:
    """Yield (what, plain, changed, dtype of the changed input) by share of empty blocks."""
    for empty in (0.3, 0.5, 0.7, 0.9):
        plain = dense(empty)
        yield f"{empty:.0%} of blocks empty", plain, Blocks(min_empty=0.0)(plain)[0], np.int8


def int4() -> Iterator[tuple[str, bytes, bytes, type]]:
    """Yield the published visual-wake-words model, narrowed."""
    plain = (real_data.ROOT / "mlperf_tiny/visual_wake_words/vww_96_int8.tflite").read_bytes()
    narrowed, (note,) = Narrow()(plain, real_data.wake_words()["x_train"][:48])
    yield f"VWW, {note}", plain, narrowed, np.int8


def int16() -> Iterator[tuple[str, bytes, bytes, type]]:
    """Yield a small network of convolutions, with int8 and with int16 activations."""
    from converters.keras2 import keras, tf

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 16)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.Conv2D(32, 1),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    rows = np.random.default_rng(1).normal(0, 1, (8, 1, 32, 32, 16)).astype(np.float32)
    wide = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"
    made = []
    for ops, dtype in (("TFLITE_BUILTINS_INT8", tf.int8), (wide, tf.int16)):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row] for row in rows)
        converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, ops)]
        converter.inference_input_type = converter.inference_output_type = dtype
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
        made.append(converter.convert())
    yield "int16 activations", made[0], made[1], np.int16


def main(kind: str) -> None:
    """Print one Markdown row a case and image."""
    print("| case | image | bytes | instructions | of plain int8's |")
    print("|---|---|---|---|---|")
    for what, plain, changed, dtype in {"blocks": blocks, "int4": int4, "int16": int16}[kind]():
        for image in IMAGES:
            before, after = count(plain, image), count(changed, image, dtype)
            sizes = f"{len(plain):,} -> {len(changed):,}"
            counts = f"{before:,} -> {after:,}"
            name = " ".join(image)
            print(
                f"| {what} | {name} | {sizes} | {counts} | {after / before:.2f}x |", flush=True
            )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "blocks")
