"""Files that a runtime runs are read, whatever else is odd about them; gates say who refuses.

Each oddity was put to LiteRT and TFLM: ``litert`` and ``tflm`` say which of them runs it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgepack.compat.operators import incompatible_operators
from edgepack.errors import RuntimeFailure
from edgepack.firmware import goldens
from edgepack.profiles import catalogue
from edgepack.tflite.flatbuffer import read
from tests.edgepack.tinymodels import Net, pack, unpack


def network() -> Any:
    net = Net(1)
    x = net.tensor((1, 6, 6, 2))
    flat = net.reshape(net.conv(x, 4, 3), (1, 144))
    return unpack(net.done([x], [net.softmax(net.dense(flat, 3))]))


def tensor_of(tree: Any, slot: int) -> Any:
    graph = tree.subgraphs[0]
    return graph.tensors[graph.operators[0].inputs[slot]]


def quantize(tensor: Any, scales: int, axis: int, points: int) -> None:
    tensor.quantization.scale = np.full(scales, 0.01, np.float32)
    tensor.quantization.zeroPoint = np.zeros(points, np.int64)
    tensor.quantization.quantizedDimension = axis


def no_names(tree: Any) -> None:
    for tensor in tree.subgraphs[0].tensors:
        tensor.name = None


def empty_buffers(tree: Any) -> None:
    for buffer in tree.buffers:
        buffer.data = np.zeros(0, np.uint8) if buffer.data is None else buffer.data


def longer_buffer(tree: Any) -> None:
    buffer = tree.buffers[tensor_of(tree, 2).buffer]
    buffer.data = np.concatenate([buffer.data, np.zeros(4, np.uint8)])


def lost_metadata(tree: Any) -> None:
    metadata = schema.MetadataT()
    metadata.name, metadata.buffer = b"note", 999
    tree.metadata = [metadata]


def other_signature(tree: Any) -> None:
    tree.subgraphs[0].tensors[0].shapeSignature = np.array([-1, 6], np.int32)


def second_graph(tree: Any) -> None:
    tree.subgraphs.append(copy.deepcopy(tree.subgraphs[0]))


def no_intermediate(tree: Any) -> None:
    tree.subgraphs[0].operators[0].intermediates = np.array([-1], np.int32)


@dataclass(frozen=True)
class Odd:
    change: Callable[[Any], None]
    litert: bool = True
    tflm: bool = True


ODD = {
    "bias along dimension 3": Odd(lambda t: quantize(tensor_of(t, 2), 4, 3, 4), litert=False),
    "bias along dimension -1": Odd(lambda t: quantize(tensor_of(t, 2), 4, -1, 4), litert=False),
    "one scale along dimension 3": Odd(
        lambda t: quantize(tensor_of(t, 2), 1, 3, 1), litert=False
    ),
    "too few scales of a bias": Odd(lambda t: quantize(tensor_of(t, 2), 3, 0, 3), litert=False),
    "weights along dimension 7": Odd(
        lambda t: quantize(tensor_of(t, 1), 4, 7, 4), litert=False, tflm=False
    ),
    "one zero point for four scales": Odd(
        lambda t: quantize(tensor_of(t, 1), 4, 0, 1), litert=False
    ),
    "two zero points of a bias": Odd(
        lambda t: quantize(tensor_of(t, 2), 1, 0, 2), litert=False
    ),
    "no names": Odd(no_names),
    "buffers of no bytes": Odd(empty_buffers),
    "a buffer longer than its tensor": Odd(longer_buffer),
    "metadata without a buffer": Odd(lost_metadata),
    "a signature of another rank": Odd(other_signature),
    "a subgraph that nobody calls": Odd(second_graph),
}


def odd(name: str) -> bytes:
    tree = network()
    ODD[name].change(tree)
    return bytes(pack(tree))


@pytest.mark.parametrize("name", ODD)
def test_it_is_read_with_the_values_of_the_plain_file(name: str) -> None:
    plain, found = read(pack(network())), read(odd(name))
    for mine, theirs in zip(plain.main.tensors, found.main.tensors, strict=True):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        if mine.constant:
            assert (plain.array(mine) == found.array(theirs)).all()


def test_an_intermediate_that_is_left_out_is_read() -> None:
    """LiteRT runs it (an LSTM leaves some out), TFLM does not."""
    tree = network()
    no_intermediate(tree)
    assert read(pack(tree)).main.ops[0].intermediates == (-1,)


@pytest.mark.parametrize("runtime", ["litert", "tflm"])
@pytest.mark.parametrize("name", ODD)
def test_the_operators_gate_says_who_refuses_it(name: str, runtime: str) -> None:
    profile = catalogue.load({"litert": "pixel-6", "tflm": "nucleo-l4r5zi"}[runtime])
    found = incompatible_operators(read(odd(name)), profile.runtime)
    assert (not found) is getattr(ODD[name], runtime), found
    assert all("refuses" in refused.says for refused in found)


@pytest.mark.tools
@pytest.mark.parametrize("name", ODD)
def test_litert_runs_it_or_not(name: str) -> None:
    from ai_edge_litert import interpreter as litert

    resolver = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

    def run() -> None:
        runner = litert.Interpreter(
            model_content=odd(name), num_threads=1, experimental_op_resolver_type=resolver
        )
        runner.allocate_tensors()
        runner.invoke()

    if ODD[name].litert:
        run()
    else:
        with pytest.raises(ValueError, match=r"[Qq]uantiz|num_scales"):
            run()


@pytest.mark.tools
@pytest.mark.parametrize("name", ODD)
def test_tflm_runs_it_as_the_plain_file_or_not(name: str) -> None:
    pytest.importorskip("tflite_micro", reason="pip install 'edgepack[micro]'")
    rows = np.random.default_rng(0).integers(-128, 128, (2, 6, 6, 2)).astype(np.int8)
    if not ODD[name].tflm:
        with pytest.raises(RuntimeFailure):
            goldens.golden_vectors(odd(name), rows)
        return
    wanted = goldens.golden_vectors(bytes(pack(network())), rows)
    if tensor_scales_changed(name):
        assert goldens.golden_vectors(odd(name), rows).rows == wanted.rows
    else:
        assert wanted.differing(goldens.golden_vectors(odd(name), rows).outputs) == 0


def tensor_scales_changed(name: str) -> bool:
    """Return whether the weights' scales, which answers depend on, are others."""
    return "zero point" in name
