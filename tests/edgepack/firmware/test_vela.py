"""Vela as a process: what it compiles, what it refuses, what compression saves there."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.errors import InputError
from edgepack.firmware import vela
from edgepack.firmware.package.tflm_sources import operator_names
from edgepack.tflite.flatbuffer import read
from tests.edgepack.firmware import nets
from tests.edgepack.tinymodels import Net

pytestmark = pytest.mark.qemu  # a second each; Vela models the hardware
pytest.importorskip("ethosu", reason="pip install 'edgepack[micro]'")


def layer(weights: np.ndarray) -> bytes:
    net = Net()
    units, inputs = weights.shape
    x = net.tensor((1, inputs))
    w = net.tensor(weights.shape, "int8", weights.astype(np.int8), scale=0.01)
    y = net.tensor((1, units))
    net.op("FULLY_CONNECTED", [x, w, -1], [y], 4, "FullyConnectedOptions")
    return net.done([x], [y])


def test_an_int8_model_runs_whole_on_the_npu() -> None:
    made = vela.compile_model(nets.residual(1), "ethos-u55-128")
    assert made.cpu_operators == ()
    assert made.npu_operators > 5
    assert made.cycles > 0
    assert made.sram_bytes > 9 * 9 * 8
    assert operator_names(read(made.model)) == ("ETHOS_U",)


def test_a_float_model_stays_on_the_cpu_and_is_named() -> None:
    net = Net()
    x, y = net.tensor((1, 8), "float32"), net.tensor((1, 3), "float32")
    net.op(
        "FULLY_CONNECTED", [x, net.weights((3, 8), "float32"), -1], [y], 1,
        "FullyConnectedOptions",
    )  # fmt: skip
    made = vela.compile_model(net.done([x], [y]), "ethos-u55-128")
    assert made.npu_operators == 0
    assert made.cpu_operators == ("FullyConnected at 't1'",)


def test_pruning_and_clustering_save_flash_on_the_npu() -> None:
    rng = np.random.default_rng(0)
    dense = rng.integers(-127, 128, (128, 256))
    half = np.where(rng.random(dense.shape) < 0.5, 0, dense)
    clustered = np.round(dense / 16) * 16
    sizes = [
        vela.compile_model(layer(w), "ethos-u55-128").weight_bytes
        for w in (dense, half, clustered)
    ]
    assert sizes[1] < 0.8 * sizes[0]
    assert sizes[2] < 0.8 * sizes[0]


@pytest.mark.parametrize("model", [b"", b"nonsense", nets.residual(1)[:500]])
def test_what_is_no_model_is_refused_in_one_line(model: bytes) -> None:
    with pytest.raises(InputError, match="Vela refused the model") as caught:
        vela.compile_model(model, "ethos-u55-128")
    assert "\n" not in str(caught.value)


def test_an_unknown_accelerator_is_refused() -> None:
    with pytest.raises(InputError, match="ethos-u99"):
        vela.compile_model(nets.residual(1), "ethos-u99-1")
