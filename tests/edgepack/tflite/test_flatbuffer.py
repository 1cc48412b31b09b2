"""What is read is what the generated accessors read; what is damaged is refused in a line."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgepack.errors import InputError
from edgepack.tflite.facts import Facts, compressed_size
from edgepack.tflite.flatbuffer import read
from edgepack.tflite.flattable import FlatFile
from edgepack.tflite.operators import operator_name
from tests.edgepack.tinymodels import Net, pack, unpack

REAL = (
    "mlperf_tiny/anomaly_detection/ad01_fp32.tflite",
    "mlperf_tiny/anomaly_detection/ad01_int8.tflite",
    "mlperf_tiny/image_classification/pretrainedResnet_quant.tflite",
    "mlperf_tiny/keyword_spotting/kws_ref_model.tflite",
    "mlperf_tiny/keyword_spotting/kws_ref_model_float32.tflite",
    "mlperf_tiny/streaming_wakeword/str_ww_ref_model.tflite",
    "mlperf_tiny/visual_wake_words/vww_96_int8.tflite",
    "third_party_models/coral/mobilenet_v1_0.25_128_quant.tflite",
    "third_party_models/mltk/autoencoder_example/autoencoder_example.tflite",
    "third_party_models/mltk/tflite_micro_magic_wand/tflite_micro_magic_wand.tflite",
    "third_party_models/tflm/hello_world_float.tflite",
    "third_party_models/tflm/micro_speech_quantized.tflite",
    "third_party_models/tflm/trained_lstm_int8.tflite",
)


def small() -> bytes:
    """Return a model with every kind of part: convolution, pool, dense, softmax."""
    net = Net()
    x = net.tensor((1, 8, 8, 2))
    y = net.pool(net.conv(x, 4), 2)
    y = net.reshape(net.conv(y, 4, depthwise=True), (1, 64))
    return net.done([x], [net.softmax(net.dense(y, 3))])


def agrees(facts: Facts, data: bytes) -> None:
    """Assert that ``facts`` say what flatc's own accessors say."""
    model = schema.Model.GetRootAs(data, 0)
    assert len(facts.subgraphs) == model.SubgraphsLength()
    for graph, mine in enumerate(facts.subgraphs):
        other = model.Subgraphs(graph)
        assert mine.inputs == tuple(other.InputsAsNumpy())
        assert mine.outputs == tuple(other.OutputsAsNumpy())
        assert len(mine.tensors) == other.TensorsLength()
        for tensor in mine.tensors:
            theirs = other.Tensors(tensor.index)
            shape = () if theirs.ShapeIsNone() else tuple(theirs.ShapeAsNumpy())
            assert tensor.shape == shape
            assert tensor.name.encode() == theirs.Name()
            assert getattr(schema.TensorType, tensor.dtype.upper()) == theirs.Type()
            assert tensor.variable == theirs.IsVariable()
            held = model.Buffers(theirs.Buffer())
            raw = b"" if held.DataIsNone() else held.DataAsNumpy().tobytes()
            assert bytes(facts.values(tensor)) == raw
            quantization = theirs.Quantization()
            if tensor.quantization:
                assert tensor.quantization.scales == tuple(quantization.ScaleAsNumpy())
                assert tensor.quantization.zero_points == tuple(quantization.ZeroPointAsNumpy())
                assert tensor.quantization.axis == quantization.QuantizedDimension()
        assert len(mine.ops) == other.OperatorsLength()
        for op in mine.ops:
            node = other.Operators(op.index)
            code = model.OperatorCodes(node.OpcodeIndex())
            assert op.code == max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            assert op.version == code.Version()
            assert op.inputs == tuple(node.InputsAsNumpy())
            assert op.outputs == tuple(node.OutputsAsNumpy())
            if op.name == "CONV_2D":
                options = schema.Conv2DOptions()
                options.Init(node.BuiltinOptions().Bytes, node.BuiltinOptions().Pos)
                assert op.options["stride_w"] == options.StrideW()
                assert op.options["padding"] == options.Padding()
                assert op.options["activation"] == options.FusedActivationFunction()
                assert op.options["dilation_h"] == options.DilationHFactor()


@pytest.mark.parametrize("name", REAL)
def test_real_files_read_as_the_generated_accessors_read_them(
    shared_data: Callable[[str], Path], name: str
) -> None:
    data = shared_data(name).read_bytes()
    facts = read(data)
    agrees(facts, data)
    assert facts.flatbuffer_bytes == len(data)
    assert facts.macs > 0


def test_a_written_model_reads_as_the_generated_accessors_read_it() -> None:
    agrees(read(small()), small())


def test_resnet8_counts_the_products_of_its_layers(
    shared_data: Callable[[str], Path],
) -> None:
    stem = 32 * 32 * 16 * 27
    stages = 2 * (32 * 32 * 16 * 144)
    for size, channels in ((16, 32), (8, 64)):
        before = channels // 2
        stages += size * size * channels * (9 * before + 9 * channels + before)
    data = shared_data("mlperf_tiny/image_classification/pretrainedResnet_quant.tflite")
    assert read(data.read_bytes()).macs == stem + stages + 64 * 10


def test_int8_model_has_no_float_op_and_float_model_nothing_else(
    shared_data: Callable[[str], Path],
) -> None:
    quantized = shared_data("mlperf_tiny/keyword_spotting/kws_ref_model.tflite")
    plain = shared_data("mlperf_tiny/keyword_spotting/kws_ref_model_float32.tflite")
    assert read(quantized.read_bytes()).float_ops == ()
    facts = read(plain.read_bytes())
    assert facts.float_ops == facts.ops


def test_quantize_and_dequantize_at_the_ends_count_as_float(
    shared_data: Callable[[str], Path],
) -> None:
    data = shared_data(REAL[8]).read_bytes()
    assert [op.name for op in read(data).float_ops] == ["QUANTIZE", "DEQUANTIZE"]


def test_zeros_and_codes_of_a_kernel_are_counted_over_all_its_values() -> None:
    net = Net()
    x = net.tensor((1, 10))
    codes = np.array([[0] * 6 + [1, 2, 3, 3], [0] * 10], np.int8)
    w, y = net.tensor((2, 10), data=codes), net.tensor((1, 2))
    net.op("FULLY_CONNECTED", [x, w, -1], [y], 4, "FullyConnectedOptions")
    (kernel,) = read(net.done([x], [y])).kernels
    assert kernel.zeros_share == 16 / 20
    assert kernel.distinct == 4
    assert kernel.elements == 20


def test_zero_of_an_unsigned_kernel_is_its_zero_point() -> None:
    net = Net()
    x = net.tensor((1, 4), "uint8", zero=128)
    w = net.tensor((1, 4), "uint8", np.array([[128, 128, 128, 0]], np.uint8), zero=128)
    y = net.tensor((1, 1), "uint8", zero=128)
    net.op("FULLY_CONNECTED", [x, w, -1], [y], 1, "FullyConnectedOptions")
    assert read(net.done([x], [y])).kernels[0].zeros_share == 0.75


def test_download_bytes_are_those_of_deflate() -> None:
    data = small()
    assert read(data).download_bytes == compressed_size(data) == len(zlib.compress(data, 9))


def test_an_operator_number_from_the_future_keeps_its_number() -> None:
    assert operator_name(9999) == "BUILTIN_9999"
    assert operator_name(3) == "CONV_2D"


def test_a_dynamic_dimension_is_told_from_a_static_one() -> None:
    net = Net()
    x = net.tensor((1, 4), signature=(-1, 4))
    facts = read(net.done([x], [net.dense(x, 2)]))
    assert facts.inputs[0].signature == (-1, 4)
    assert not facts.inputs[0].static
    assert facts.outputs[0].static


def test_weights_behind_the_flatbuffer_are_read_where_they_are() -> None:
    """Buffer.offset and Buffer.size: how files above 2 GiB keep their weights."""
    net = Net()
    x = net.tensor((1, 4), "float32")
    w, y = net.tensor((2, 4), "float32", np.zeros((2, 4), "f4")), net.tensor((1, 2), "float32")
    net.op("FULLY_CONNECTED", [x, w, -1], [y], 1, "FullyConnectedOptions")
    model = unpack(net.done([x], [y]))
    values = np.arange(8, dtype="<f4").tobytes()
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, 2, len(values)
    size = len(pack(model))
    model.buffers[1].offset = size
    data = pack(model) + values
    facts = read(data)
    assert bytes(facts.values(facts.main.tensors[1])) == values
    with pytest.raises(InputError, match="the file ends at"):
        read(data[:-1])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes that start with nothing"),
        (b"TFL3", "wanted the identifier TFL3"),
        (b"PK\x03\x04" + bytes(100), "wanted the identifier TFL3"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "not a .tflite"),
        (struct.pack("<I4s", 2**31, b"TFL3") + bytes(100), "an offset into the file"),
        (struct.pack("<I4s", 0, b"TFL3") + bytes(100), "an offset into the file"),
    ],
)
def test_what_is_no_tflite_is_refused_in_one_line(data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        read(data)
    assert "\n" not in str(error.value)


def test_every_truncation_is_refused() -> None:
    data = small()
    cuts = [*range(0, len(data), 37), len(data) - 4, len(data) - 40]
    for cut in cuts:
        try:
            read(data[:cut])
        except InputError as error:
            assert "\n" not in str(error)
        else:
            pytest.fail(f"a file cut to {cut} of {len(data)} bytes was read")


def _changed(change: Callable[[Any], None]) -> bytes:
    model = unpack(small())
    change(model)
    return pack(model)


def _aim(attribute: str, value: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        target = model
        *path, last = attribute.split(".")
        for step in path:
            target = target[int(step)] if step.isdigit() else getattr(target, step)
        if last.isdigit():
            target[int(last)] = value
        else:
            setattr(target, last, value)

    return change


@pytest.mark.parametrize(
    ("attribute", "value", "says"),
    [
        ("subgraphs.0.operators.0.inputs", [0, 99, 2], "names tensor 99"),
        ("subgraphs.0.operators.0.inputs", [0, -2, 2], "names tensor -2"),
        ("subgraphs.0.operators.0.outputs", [-1], "names tensor -1"),
        ("subgraphs.0.inputs", [50], "names tensor 50"),
        ("subgraphs.0.operators.0.opcodeIndex", 40, "wants operator code 40"),
        ("subgraphs.0.tensors.1.buffer", 4000, "wants buffer 4000"),
        ("subgraphs.0.tensors.1.shape", [4, 3, 3, 3], "wants 108 bytes"),
        ("subgraphs.0.tensors.0.shape", [1, -8, 8, 2], "wanted a shape of whole sizes"),
        ("subgraphs.0.tensors.0.shape", [2**30, 2**30], "wanted a shape of whole sizes"),
        ("subgraphs.0.tensors.0.shape", [1] * 65, "at most 64 items"),
        ("subgraphs.0.tensors.0.type", 77, "no known dtype"),
        ("subgraphs.0.tensors.1.externalBuffer", 1, "in another file"),
        ("version", 2, "wanted version 3, got 2"),
        ("subgraphs", [], "at least one subgraph"),
    ],
)
def test_a_part_that_points_nowhere_is_named(attribute: str, value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(_changed(_aim(attribute, value)))


def test_a_subgraph_that_is_called_must_exist() -> None:
    net = Net()
    x, y = net.tensor((1,), "bool"), net.tensor((1,), "float32")
    net.op("IF", [x], [y], 1, "IfOptions", thenSubgraphIndex=0, elseSubgraphIndex=7)
    with pytest.raises(InputError, match="else_subgraph_index is 7, the file has 1"):
        read(net.done([x], [y]))


def test_one_part_shared_without_end_costs_no_more_than_the_file_is_large() -> None:
    """A vector of many offsets to one table that holds a long vector: work squared."""
    net = Net()
    x = net.tensor((1, 4))
    data = bytearray(net.done([x], [x]))
    file = FlatFile(bytes(data))
    with pytest.raises(InputError, match="parts shared without end"):
        for _ in range(100_000):
            file.spend(1_000, "tensor")


@given(
    flips=st.lists(
        st.tuples(st.integers(0, 1 << 20), st.integers(0, 7)), min_size=1, max_size=12
    )
)
@example(flips=[(0, 7)])
@settings(max_examples=200, deadline=None)
def test_flipped_bits_give_facts_or_one_line(flips: list[tuple[int, int]]) -> None:
    data = bytearray(small())
    for place, bit in flips:
        data[place % len(data)] ^= 1 << bit
    _facts_or_line(bytes(data))


@given(garbage=st.binary(max_size=400), keep=st.integers(0, 64))
@settings(max_examples=100, deadline=None)
def test_garbage_with_a_good_beginning_gives_facts_or_one_line(
    garbage: bytes, keep: int
) -> None:
    _facts_or_line(small()[:keep] + garbage)


def test_flipped_bits_of_real_files_give_facts_or_one_line(
    shared_data: Callable[[str], Path],
) -> None:
    rng = np.random.default_rng(0)
    for name in REAL[-3:]:
        whole = shared_data(name).read_bytes()
        for _ in range(120):
            data = bytearray(whole)
            # structure is where no weights are: spread flips evenly, then near the end
            low = 0 if rng.random() < 0.5 else max(0, len(data) - 3000)
            for place in rng.integers(low, len(data), rng.integers(1, 9)):
                data[place] ^= 1 << int(rng.integers(8))
            _facts_or_line(bytes(data))


def _facts_or_line(data: bytes) -> None:
    try:
        facts = read(data)
        _ = facts.kernels, facts.float_ops, facts.macs
    except InputError as error:
        assert "\n" not in str(error)
