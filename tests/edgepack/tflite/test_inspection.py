"""What checks of a conversion ask a finished file, in the words that they are answered in."""

from __future__ import annotations

import numpy as np
import pytest

from converters.draft import Training
from converters.inspection import TfliteInspector, distinct_codes, distinct_per_channel
from edgepack.errors import InputError
from edgepack.tflite.inspection import FactsInspector
from tests.edgepack.tinymodels import Net

READER: TfliteInspector = FactsInspector()


def test_float_tensors_are_named_with_operator_and_direction() -> None:
    net = Net()
    x, q = net.tensor((1, 8), "float32"), net.tensor((1, 8))
    net.op("QUANTIZE", [x], [q], 1)
    y = net.dense(q, 3)
    assert READER.float_accesses(net.done([x], [y])) == ("QUANTIZE reads float32 't0'",)
    assert READER.float_accesses(net.done([q], [y])[:]) != ()


@pytest.mark.parametrize(("depthwise", "axis"), [(False, 0), (True, 3)])
def test_kernels_come_in_order_with_codes_and_axis(depthwise: bool, axis: int) -> None:
    net = Net(3)
    x = net.tensor((1, 6, 6, 4))
    y = net.conv(x, 4, 3, depthwise=depthwise)
    flat = net.reshape(y, (1, 144))
    found = READER.int8_kernels(net.done([x], [net.dense(flat, 3)]))
    name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    assert [kernel.operator for kernel in found] == [name, "FULLY_CONNECTED"]
    assert found[0].codes.shape == ((1, 3, 3, 4) if depthwise else (4, 3, 3, 4))
    assert found[0].channel_axis in (axis, None)
    assert not found[0].codes.flags.writeable
    assert distinct_codes(found[0]) == len(np.unique(found[0].codes))
    assert distinct_per_channel(found[0]) <= distinct_codes(found[0])


def test_bytes_that_are_no_tflite_are_refused() -> None:
    with pytest.raises(InputError):
        READER.int8_kernels(b"no model")


def test_a_conversion_without_a_reader_says_what_to_hand_in() -> None:
    with pytest.raises(ValueError, match=r"edgepack\.tflite\.inspection\.FactsInspector\(\)"):
        Training().inspects()
