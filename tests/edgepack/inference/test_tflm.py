"""TFLM as a runtime, and the smallest arena it runs in."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.errors import RuntimeFailure
from edgepack.firmware import goldens
from edgepack.firmware import tflm_arena as arena
from edgepack.firmware.compiler.reading import read
from edgepack.firmware.tflm_arena import ArenaFigures
from edgepack.gates.finding import How
from edgepack.inference import tflm, tflm_worker
from edgepack.inference.protocol import Ending, Job
from tests.edgepack.firmware import nets
from tests.edgepack.tinymodels import Net

pytestmark = pytest.mark.tools

pytest.importorskip("tflite_micro", reason="pip install 'edgepack[micro]'")
FIGURES = ArenaFigures(
    host_bytes=16_000, probes=20, cmsis_nn_scratch_bytes=100, esp_nn_scratch_bytes=5_000
)


def test_a_run_gives_a_row_for_a_row_and_its_times() -> None:
    model = nets.residual(1)
    rows = nets.inputs(read(model), 3)
    trace = tflm.TflmRuntime().run(Job(model=model, inputs=rows, repeats=2, warmup=1))
    assert trace.ending is Ending.OK
    assert trace.outputs is not None
    assert trace.outputs.shape == (3, 5)
    assert trace.outputs.dtype == np.int8
    assert len(trace.wall_ms) == 2
    assert trace.runtime.startswith("tflite-micro 0.")


def test_each_row_starts_from_the_same_state() -> None:
    rows = np.repeat(nets.inputs(read(nets.residual(1)), 1), 2, axis=0)
    outputs = goldens.answered(nets.residual(1), rows).outputs[0]
    assert (outputs[0] == outputs[1]).all()


def test_several_outputs_all_come_back() -> None:
    net = Net()
    x = net.tensor((1, 8))
    model = net.done([x], [net.dense(x, 3), net.dense(x, 5)])
    found = goldens.answered(model, np.zeros((2, 8), np.int8))
    assert [a.shape for a in found.outputs] == [(2, 3), (2, 5)]


def test_rows_of_the_wrong_dtype_are_an_ending_in_one_line() -> None:
    trace = tflm.TflmRuntime().run(
        Job(model=nets.residual(1), inputs=np.zeros((1, 9, 9, 3), np.float32))
    )
    assert trace.ending is Ending.ERROR
    assert "wants <class 'numpy.int8'>" in trace.says


def test_a_damaged_model_is_an_ending() -> None:
    model = nets.residual(1)[:900]
    trace = tflm.TflmRuntime().run(Job(model=model, inputs=np.zeros((1, 9, 9, 3), np.int8)))
    assert trace.ending in {Ending.ERROR, Ending.CRASH}
    with pytest.raises(RuntimeFailure):
        goldens.answered(model, np.zeros((1, 9, 9, 3), np.int8))


@pytest.mark.parametrize(("offset", "works"), [(-16, False), (0, True), (16, True)])
def test_the_arena_found_is_the_smallest(offset: int, works: bool) -> None:
    model = nets.residual(1)
    found = arena.minimum(model).host_bytes
    row = np.zeros((1, 9, 9, 3), np.int8)
    wanted = tflm_worker.infer(tflm_worker.load(model, 1 << 20), (row,), 1)
    assert tflm_worker.fits(model, found + offset, (row,), wanted) is works


def test_a_model_that_tflm_does_not_run_is_an_error() -> None:
    net = Net()
    x = net.tensor((1, 8))
    net.op("NotThere", [x], [x])
    with pytest.raises(RuntimeFailure, match="TFLM does not run the model"):
        arena.minimum(net.done([x], [x]))


@pytest.mark.parametrize(
    ("kernels", "features", "wanted", "how"),
    [
        ("builtin", (), 16_000, How.EMULATED),
        ("cmsis-nn", (), 16_000, How.EMULATED),
        ("cmsis-nn", ("dsp",), 16_112, How.ESTIMATED),
        ("cmsis-nn", ("dsp", "helium"), 18_400, How.ESTIMATED),
        ("esp-nn", ("simd",), 21_008, How.ESTIMATED),
    ],
)
def test_optimised_kernels_need_their_scratch_besides(
    kernels: str, features: tuple[str, ...], wanted: int, how: How
) -> None:
    found, obtained, _ = FIGURES.needed(kernels, features)
    assert (found, obtained) == (wanted, how)
    assert found % 16 == 0
