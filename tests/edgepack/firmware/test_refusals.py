"""What the C compiler does not take is refused in one line: op, tensor, limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepack.errors import InputError, UsageError
from edgepack.firmware.compiler import c99
from edgepack.firmware.compiler.model import UnsupportedModel
from edgepack.firmware.package.tflm_sources import operator_names, resolver_method
from edgepack.tflite.flatbuffer import read
from tests.edgepack.firmware import nets
from tests.edgepack.tinymodels import Net, pack, unpack


def refusal(model: bytes) -> str:
    with pytest.raises(UnsupportedModel) as caught:
        c99.compile_model(model)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_an_unknown_operator_is_named_with_its_tensor_and_the_known_ones() -> None:
    net = Net()
    x = net.tensor((1, 8))
    y = net.tensor((1, 8))
    net.op("EXP", [x], [y], 2)
    line = refusal(net.done([x], [y]))
    assert line.startswith("op 0 EXP at 't1' int8[1, 8]: no C kernel")
    assert "CONV_2D" in line


def test_a_float_model_is_told_to_be_quantized() -> None:
    net = Net()
    x = net.tensor((1, 8), "float32")
    y = net.tensor((1, 3), "float32")
    net.op(
        "FULLY_CONNECTED", [x, net.weights((3, 8), "float32"), -1], [y], 1,
        "FullyConnectedOptions",
    )  # fmt: skip
    line = refusal(net.done([x], [y]))
    assert "FULLY_CONNECTED at 't0' float32" in line
    assert "quantize the whole model to int8" in line


def test_a_custom_operator_is_named() -> None:
    net = Net()
    x = net.tensor((1, 8))
    net.op("MyOwnOp", [x], [x])
    assert "CUSTOM 'MyOwnOp'" in refusal(net.done([x], [x]))


@pytest.mark.parametrize(("batch", "taken"), [(1, True), (2, False)])
def test_the_limit_of_a_batch_is_one(batch: int, taken: bool) -> None:
    net = Net()
    x = net.tensor((batch, 6, 6, 4))
    model = net.done([x], [net.conv(x, 4)])
    if taken:
        assert c99.compile_model(model).steps
    else:
        assert f"batch {batch}; the limit is 1" in refusal(model)


@pytest.mark.parametrize(("classes", "taken"), [(4094, True), (4095, True), (4096, False)])
def test_the_limit_of_classes_is_inclusive(classes: int, taken: bool) -> None:
    net = Net()
    x = net.tensor((1, classes))
    model = net.done([x], [net.softmax(x)])
    if taken:
        assert c99.compile_model(model).steps
    else:
        assert "the limit is 4095" in refusal(model)


def test_grouped_convolutions_are_refused() -> None:
    net = Net()
    x = net.tensor((1, 6, 6, 8))
    weights = net.weights((4, 1, 1, 4), scale=0.01)
    y = net.tensor((1, 6, 6, 4))
    net.op(
        "CONV_2D", [x, weights, -1], [y], 3, "Conv2DOptions",
        strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1,
    )  # fmt: skip
    assert "8 input channels in groups of 4" in refusal(net.done([x], [y]))


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_dynamic_dimension_is_named(axis: int) -> None:
    net = Net()
    signature = [-1, 6, 6, 4]
    signature[axis] = -1
    x = net.tensor((1, 6, 6, 4), signature=tuple(signature))
    assert "dynamic shape" in refusal(net.done([x], [net.conv(x, 4)]))


def test_a_dynamic_batch_is_taken_as_one() -> None:
    net = Net()
    x = net.tensor((1, 6, 6, 4), signature=(-1, 6, 6, 4))
    assert c99.compile_model(net.done([x], [net.conv(x, 4)])).steps


def test_shape_arithmetic_is_left_out() -> None:
    net = Net()
    x = net.tensor((1, 4, 4, 2))
    shape = net.tensor((4,), "int32", scale=0.0)
    net.op("SHAPE", [x], [shape], 1, "ShapeOptions")
    first = net.tensor((), "int32", scale=0.0)
    net.op(
        "STRIDED_SLICE", [shape, net.ints([0]), net.ints([1]), net.ints([1])], [first], 1,
        "StridedSliceOptions", shrinkAxisMask=1,
    )  # fmt: skip
    both = net.tensor((2,), "int32", scale=0.0)
    net.op("PACK", [first, net.ints([32])], [both], 1, "PackOptions", valuesCount=2)
    flat = net.tensor((1, 32))
    net.op("RESHAPE", [x, both], [flat], 1)
    program = c99.compile_model(net.done([x], [net.dense(flat, 3)]))
    assert [step.op.name for step in program.steps] == ["RESHAPE", "FULLY_CONNECTED"]


def test_several_subgraphs_are_refused() -> None:
    tree = unpack(nets.dense(1))
    tree.subgraphs = [tree.subgraphs[0], tree.subgraphs[0]]
    assert "2 subgraphs; the limit is 1" in refusal(pack(tree))


def test_a_constant_of_the_wrong_size_is_damage() -> None:
    tree = unpack(nets.dense(1))
    largest = max(tree.buffers, key=lambda b: 0 if b.data is None else len(b.data))
    largest.data = largest.data[:-1]
    with pytest.raises(InputError, match=r"tensor 1 \('t1'\): .* wants \d+ bytes"):
        read(pack(tree))


@pytest.mark.parametrize("index", [-2, 99])
def test_a_tensor_that_does_not_exist_is_damage(index: int) -> None:
    tree = unpack(nets.dense(1))
    tree.subgraphs[0].operators[0].inputs = np.array([0, index, -1], np.int32)
    with pytest.raises(InputError, match=f"damaged at .* names tensor {index}"):
        read(pack(tree))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_ends_in_one_line(data: st.DataObject) -> None:
    model = bytearray(nets.residual(1))
    at = data.draw(st.integers(0, len(model) - 1))
    model[at] ^= data.draw(st.integers(1, 255))
    end = data.draw(st.integers(1, len(model)))
    try:
        c99.compile_model(bytes(model[:end]))
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["", "9lives", "a-b", "x" * 49, "a b", "ä"])
def test_a_name_that_is_no_identifier_is_refused(name: str) -> None:
    program = c99.compile_model(nets.dense(1))
    with pytest.raises(UsageError, match="C identifier"):
        c99.sources(program, name)


def test_a_hostile_tensor_name_stays_inside_its_comment() -> None:
    tree = unpack(nets.dense(1))
    tree.subgraphs[0].tensors[0].name = b'x */ #include "/etc/passwd" /*\n#error'
    header = c99.sources(c99.compile_model(pack(tree)), "net")["net.h"].decode()
    assert "/etc/passwd" in header  # kept readable
    assert header.count("*/") == header.count("/*")
    assert "\n#error" not in header
    assert '"' not in header.replace('extern "C"', "")


@pytest.mark.parametrize(
    ("op", "method"),
    [
        ("CONV_2D", "AddConv2D"),
        ("DEPTHWISE_CONV_2D", "AddDepthwiseConv2D"),
        ("BATCH_TO_SPACE_ND", "AddBatchToSpaceNd"),
        ("PADV2", "AddPadV2"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "AddUnidirectionalSequenceLSTM"),
    ],
)
def test_resolver_methods_are_named_as_tflm_names_them(op: str, method: str) -> None:
    assert resolver_method(op) == method


def test_an_operator_that_tflm_lacks_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="HASHTABLE"):
        resolver_method("HASHTABLE")


def test_each_operator_is_named_once() -> None:
    assert operator_names(read(nets.residual(1))) == (
        "ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED",
        "RESHAPE", "SOFTMAX",
    )  # fmt: skip
