"""Empty blocks are left out of the file and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from converters.errors import ModelRefused
from converters.tflite import tflite_edit
from converters.tflite.blocks import Blocks
from edgepack.gates.finding import Outcome
from edgepack.gates.static import check
from edgepack.profiles import catalogue
from edgepack.tflite.flatbuffer import read
from tests.edgepack.tinymodels import Net

ROWS = np.random.default_rng(2).normal(0, 1, (8, 64)).astype(np.float32)


def dense(empty: float, *, inputs: int = 64, units: tuple[int, ...] = (48, 32)) -> bytes:
    """Return dense layers of which a share of the 1x16 blocks is empty, drawn."""
    net = Net(4)
    x = y = net.tensor((1, inputs))
    for size in units:
        y = net.dense(y, size)
    model = tflite_edit.parse(net.done([x], [y]))
    for operator in model.subgraphs[0].operators:
        tensor = model.subgraphs[0].tensors[operator.inputs[1]]
        codes = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int8)
        blocks = np.where(codes == 0, np.int8(1), codes).reshape(-1, 16)
        blocks[: round(empty * len(blocks))] = 0
        drawn = np.random.default_rng(5).permutation(blocks)
        tflite_edit.hold(model, tensor, drawn.reshape(-1).view(np.uint8))
    return tflite_edit.pack(model)


def step_of(tflite: bytes) -> float:
    """Return the size of one output code."""
    quantization = read(tflite).outputs[0].quantization
    assert quantization is not None
    return quantization.scales[0]


@pytest.mark.parametrize("empty", [0.3, 0.5, 0.9, 1.0])
def test_an_output_moves_by_one_rounding_at_most(empty: float) -> None:
    before = dense(empty, units=(48,))
    after, _ = Blocks()(before)
    step = step_of(before)
    moved = tflite_edit.outputs(after, ROWS) - tflite_edit.outputs(before, ROWS)
    assert np.abs(moved).max() <= step * 1.001  # dense and sparse kernels round differently


@pytest.mark.parametrize("inputs", [16 * 255, 16 * 256, 16 * 257])
def test_lists_of_blocks_are_as_wide_as_their_numbers_need(inputs: int) -> None:
    before = dense(0.6, inputs=inputs, units=(4,))
    after, _ = Blocks()(before)
    rows = np.random.default_rng(1).normal(0, 1, (3, inputs))
    step = step_of(before)
    moved = tflite_edit.outputs(after, rows) - tflite_edit.outputs(before, rows)
    assert np.abs(moved).max() <= step * 1.001


def test_the_file_shrinks_by_the_empty_blocks() -> None:
    before = dense(0.75, inputs=512, units=(256, 256))
    after, (note,) = Blocks()(before)
    weights = 512 * 256 + 256 * 256
    assert len(before) - len(after) == pytest.approx(weights * (0.75 - 0.25 / 16), rel=0.05)
    assert f"{len(before) - len(after):,} B less" in note
    assert [(op.name, op.version) for op in read(after).main.ops] == [
        ("FULLY_CONNECTED", 8)
    ] * 2


def test_a_share_at_the_floor_is_stored_and_one_below_is_not() -> None:
    blocks = 64 * 48 // 16
    for short, wanted in ((0, True), (1, False)):
        before = dense((blocks // 2 - short) / blocks, units=(48,))
        if wanted:
            assert read(Blocks(min_empty=0.5)(before)[0]).main.ops[0].version == 8
        else:
            with pytest.raises(ModelRefused, match=r"at least 50% empty blocks of 1x16; the e"):
                Blocks(min_empty=0.5)(before)


def test_a_kernel_that_does_not_divide_into_blocks_is_left() -> None:
    with pytest.raises(ModelRefused, match="there is none"):
        Blocks()(_odd())


def _odd() -> bytes:
    net = Net(1)
    x = net.tensor((1, 24))
    return net.done([x], [net.dense(x, 8)])


def test_only_runtimes_that_read_blocks_pass() -> None:
    after, _ = Blocks()(dense(0.5))
    outcomes = {}
    for name in ("clinic-tablet-1gb-armv7", "midrange-phone-arm64", "nucleo-l4r5zi"):
        _, verdict = check(after, catalogue.load(name))
        (found,) = [f for f in verdict.findings if f.gate == "operators"]
        outcomes[name] = found.verdict
    assert outcomes == {
        "clinic-tablet-1gb-armv7": Outcome.PASS,
        "midrange-phone-arm64": Outcome.PASS,
        "nucleo-l4r5zi": Outcome.FAIL,
    }


@pytest.mark.parametrize("wrong", [-0.1, 1.0])
def test_settings_out_of_range_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"min_empty: wanted .*Received"):
        Blocks(min_empty=wrong)
