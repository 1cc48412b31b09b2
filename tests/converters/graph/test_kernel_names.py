"""A kernel of a file belongs to the layers named in its path, slashes in names and all."""

from __future__ import annotations

import numpy as np
import pytest

from converters.inspection import belongs_to
from edgepack.tflite.inspection import KernelCodes


@pytest.mark.parametrize(
    ("path", "layer", "owns"),
    [
        ("net/conv/Conv2D", "conv", True),
        ("net/quant_conv/Conv2D", "conv", True),
        ("net/conv/Conv2D", "con", False),
        ("net/conv_1/Conv2D", "conv", False),
        ("net/block/depthwise/depthwise", "block/depthwise", True),
        ("net/block/depthwise/depthwise", "block/dep", False),
        ("net/first/Conv2D;net/second/BiasAdd", "second", True),
        ("net/first;second/BiasAdd", "first/second", False),
    ],
)
def test_a_kernel_belongs_to_whole_names_only(path: str, layer: str, owns: bool) -> None:
    kernel = KernelCodes("CONV_2D", path, np.zeros((1, 1, 1, 1), np.int8), None)
    assert belongs_to(kernel, layer) is owns
