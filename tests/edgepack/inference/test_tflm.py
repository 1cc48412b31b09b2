"""TFLM as a runtime, and the smallest arena it runs in."""

from __future__ import annotations

import numpy as np
import pytest

from edgepack.errors import RuntimeFailure
from edgepack.firmware import goldens, tflm_arena
from edgepack.firmware.tflm_arena import HostMinimum
from edgepack.inference import tflm, tflm_worker
from edgepack.inference.protocol import ExitStatus, Job
from edgepack.planning.peak import plan_memory
from edgepack.profiles import catalogue
from edgepack.tflite.flatbuffer import read
from tests.edgepack.firmware import nets
from tests.edgepack.tinymodels import Net

pytestmark = pytest.mark.tools

pytest.importorskip("tflite_micro", reason="pip install 'edgepack[micro]'")


def test_a_run_gives_a_row_for_a_row_and_its_times() -> None:
    model = nets.residual(1)
    rows = nets.inputs(read(model), 3)
    trace = tflm.TflmRuntime().run(Job(model=model, inputs=rows, repeats=2, warmup=1))
    assert trace.status is ExitStatus.OK
    assert trace.outputs is not None
    assert trace.outputs.shape == (3, 5)
    assert trace.outputs.dtype == np.int8
    assert len(trace.wall_ms) == 2
    assert trace.runtime.startswith("tflite-micro 0.")


def test_each_row_starts_from_the_same_state() -> None:
    rows = np.repeat(nets.inputs(read(nets.residual(1)), 1), 2, axis=0)
    outputs = goldens.golden_vectors(nets.residual(1), rows).outputs[0]
    assert (outputs[0] == outputs[1]).all()


def test_several_outputs_all_come_back() -> None:
    net = Net()
    x = net.tensor((1, 8))
    model = net.done([x], [net.dense(x, 3), net.dense(x, 5)])
    found = goldens.golden_vectors(model, np.zeros((2, 8), np.int8))
    assert [a.shape for a in found.outputs] == [(2, 3), (2, 5)]


def test_rows_of_the_wrong_dtype_are_an_ending_in_one_line() -> None:
    trace = tflm.TflmRuntime().run(
        Job(model=nets.residual(1), inputs=np.zeros((1, 9, 9, 3), np.float32))
    )
    assert trace.status is ExitStatus.ERROR
    assert "wants <class 'numpy.int8'>" in trace.says


def test_a_damaged_model_is_an_ending() -> None:
    model = nets.residual(1)[:900]
    trace = tflm.TflmRuntime().run(Job(model=model, inputs=np.zeros((1, 9, 9, 3), np.int8)))
    assert trace.status in {ExitStatus.ERROR, ExitStatus.CRASH}
    with pytest.raises(RuntimeFailure):
        goldens.golden_vectors(model, np.zeros((1, 9, 9, 3), np.int8))


@pytest.mark.parametrize(("offset", "works"), [(-16, False), (0, True), (16, True)])
def test_the_arena_found_is_the_smallest(offset: int, works: bool) -> None:
    model = nets.residual(1)
    found = tflm_arena.minimum(model).arena_bytes
    row = np.zeros((1, 9, 9, 3), np.int8)
    wanted = tflm_worker.infer(tflm_worker.load(model, 1 << 20), (row,), 1)
    assert tflm_worker.answers_alike(model, found + offset, (row,), wanted) is works


def test_a_model_that_tflm_does_not_run_is_an_error() -> None:
    net = Net()
    x = net.tensor((1, 8))
    net.op("NotThere", [x], [x])
    with pytest.raises(RuntimeFailure, match="TFLM does not run the model"):
        tflm_arena.minimum(net.done([x], [x]))


@pytest.mark.parametrize(("tried", "estimated"), [(16, True), (1_000_000, False)])
def test_the_arena_to_reserve_is_the_larger_of_planned_and_tried(
    tried: int, estimated: bool
) -> None:
    model, board = nets.residual(1), catalogue.load("esp32-s3")
    found = tflm_arena.reserved(model, board, HostMinimum(tried, 20))
    planned = plan_memory(read(model), board).total
    assert found.needed_bytes == (planned if estimated else tried)
    assert found.needed_bytes % 16 == 0
    assert found.estimated is estimated
    assert ("planned for ESP-NN kernels" in found.basis) is estimated
    assert (
        f"smallest of 20 sizes tried on a 64-bit host with reference kernels: {tried:,} B"
        in (found.basis)
    )
