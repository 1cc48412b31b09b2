"""The LSTM: its table for every 16-bit input, its gates over many random sequences."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepack.firmware import goldens
from edgepack.firmware.compiler import c99
from edgepack.firmware.compiler.lower.recurrent import sigmoid_table
from edgepack.firmware.compiler.model import UnsupportedModel
from edgepack.firmware.emulator import run as emulate
from tests.edgepack.firmware import nets
from tests.edgepack.firmware.randoms import quantization, scales
from tests.edgepack.tinymodels import Net

pytest.importorskip("tflite_micro", reason="pip install 'edgepack[micro]'")
EVERY = np.arange(-(1 << 15), 1 << 15).astype(np.int16)[None]


def interpolated(bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return |3x| against the table with ``bits`` of fraction, and where x is negative."""
    table = sigmoid_table().astype(np.int64)
    x = 3 * EVERY[0].astype(np.int64)
    size = np.abs(x)
    at = np.minimum(size >> bits, 254)
    rest = size & ((1 << bits) - 1)
    y = (table[at] << bits) + rest * (table[at + 1] - table[at])
    return np.where(size >> bits >= 255, -1, y), x


def logistic() -> NDArray[np.int64]:
    y, x = interpolated(9)
    y = np.where(y < 0, 0x7FFF << 10, y)
    return np.where(x >= 0, y + 512, (1 << 25) - y + 511) >> 10


def tanh() -> NDArray[np.int64]:
    y, x = interpolated(8)
    y = np.where(y < 0, 0xFFFF << 8, y)
    return np.where(x >= 0, y - (1 << 23) + 128, -y + (1 << 23) + 127) >> 8


@pytest.mark.tools
@pytest.mark.parametrize(("op", "wanted"), [("LOGISTIC", logistic), ("TANH", tanh)])
def test_the_table_gives_tflms_answer_to_every_input(op: str, wanted: object) -> None:
    net = Net()
    x = net.tensor(EVERY.shape, "int16", scale=2.0**-12)
    y = net.tensor(EVERY.shape, "int16", scale=2.0**-15)
    net.op(op, [x], [y], 3)
    found = goldens.golden_vectors(net.done([x], [y]), EVERY[None]).outputs[0][0]
    assert callable(wanted)
    assert (found == wanted()).all()


def sequence(seed: int, *, clip: float = 0.0, peephole: bool = False) -> bytes:
    """An LSTM of random sizes and scales before a dense layer."""
    rng, net = np.random.default_rng(seed), Net(seed)
    steps, features, units = (int(v) for v in rng.integers(1, 9, 3))
    x_scale, x_zero = quantization(rng, 0.004, 0.02)
    h_scale, h_zero = quantization(rng, 0.004, 0.01)
    x = net.tensor((1, steps, features), scale=x_scale, zero=x_zero)
    weights = [
        net.weights((units, width), scale=scales(rng, 0.003, 0.03, 1)[0])
        for width in [features] * 4 + [units] * 4
    ]
    biases = []
    for k in range(4):
        values = rng.integers(-9000, 9000, units).astype(np.int32)
        scale = x_scale * float(net.tensors[weights[k]].quantization.scale[0])
        biases.append(net.tensor((units,), "int32", values, scale=scale))
    hidden = net.tensor((1, units), scale=h_scale, zero=h_zero, variable=True)
    cell = net.tensor((1, units), "int16", scale=2.0**-11, variable=True)
    extra = [net.weights((units,), "int16", scale=0.01) if peephole else -1, -1, -1]
    y = net.tensor((1, steps, units), scale=h_scale, zero=h_zero)
    net.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        [x, *weights, *extra, *biases, -1, -1, hidden, cell, -1, -1, -1, -1], [y], 1,
        "UnidirectionalSequenceLSTMOptions", fusedActivationFunction=4, cellClip=clip,
    )  # fmt: skip
    flat = net.reshape(y, (1, steps * units))
    net.tensors[flat].quantization = net.tensors[y].quantization
    return net.done([x], [net.dense(flat, 4)])


@pytest.mark.qemu
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
@pytest.mark.parametrize("seed", range(10))
def test_random_sequences_are_bit_exact(seed: int) -> None:
    model = sequence(seed, clip=(0.0, 2.5)[seed % 2])
    program = c99.compile_model(model)
    wanted = goldens.golden_vectors(model, nets.inputs(program.facts, 40, seed))
    mine = emulate.run_on_host(c99.sources(program, "net"), "net", program.facts, wanted.inputs)
    assert wanted.differing(mine) == 0


@pytest.mark.tools
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_a_reset_clears_the_state_to_its_zero_point() -> None:
    """Equal rows give equal answers only because the harness resets before each."""
    program = c99.compile_model(sequence(3))
    rows = np.repeat(nets.inputs(program.facts, 1), 2, axis=0)
    files = c99.sources(program, "net")
    run = emulate.run_on_host(files, "net", program.facts, rows, flags=("-O0",))
    assert (run[0][0] == run[0][1]).all()
    source = files["net.c"].decode()
    reset = source[source.index("void net_reset") : source.index("void net_invoke")]
    assert reset.count("memset") == 2
    files["net.c"] = source.replace(reset, "void net_reset(void)\n{\n}\n\n").encode()
    kept = emulate.run_on_host(files, "net", program.facts, rows, flags=("-O0",))
    assert (kept[0][0] != kept[0][1]).any()


def test_a_peephole_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedModel, match="a peephole has no C kernel"):
        c99.compile_model(sequence(1, peephole=True))
