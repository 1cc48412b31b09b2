"""One model a core, counted again: the table's counts are of exactly that core's code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.latency_nets import NETS, convert
from edgepack.cost.work import INSTRUCTION_SETS, counted, work_of
from edgepack.inference.protocol import Job
from edgepack.sandbox.container import ContainerRuntime
from edgepack.tflite import flatbuffer

pytestmark = [pytest.mark.container, pytest.mark.train]

NAME = "mobilenet_v1_0.25_128"
CASES = [
    (cpu, kernels)
    for cpu in ("cortex-a53", "cortex-a57", "cortex-a72", "cortex-a76")
    for kernels in ("builtin", "default")
]


@pytest.fixture(scope="module")
def model() -> bytes:
    pytest.importorskip("tensorflow")
    return convert(NETS[NAME], "int8")


@pytest.mark.parametrize(("cpu", "kernels"), CASES)
def test_the_table_holds_what_the_core_runs(
    cpu: str, kernels: str, model: bytes, stand_in: Callable[..., ContainerRuntime]
) -> None:
    base = stand_in("ai-edge-litert", "1.4.0", "arm64")
    runtime = ContainerRuntime(engine=base.engine, spec=base.spec, qemu_cpu=cpu, counted=True)
    inputs = np.zeros((1, 128, 128, 3), np.int8)
    trace = runtime.run(Job(model=model, inputs=inputs, kernels=kernels, repeats=5, warmup=1))
    assert trace.instructions is not None, trace.says
    found = work_of(flatbuffer.read(model), trace.instructions.by_class)
    code = "xnnpack" if trace.delegates else "builtin"
    table = counted(NAME, "int8", INSTRUCTION_SETS[cpu], code)
    assert table is not None
    assert found.instructions == pytest.approx(table.instructions, rel=1e-3)
    assert (found.operators, found.kinds) == (table.operators, table.kinds)
