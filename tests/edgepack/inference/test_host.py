"""Laws of the host runtime: the worker's answer, and every bad ending told apart."""

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgepack.inference import worker
from edgepack.inference.host import HostRuntime
from edgepack.inference.protocol import ExitStatus, Job

pytestmark = pytest.mark.tools

HOST = HostRuntime()


def tiny(shared_data: Callable[[str], Path]) -> bytes:
    return shared_data("third_party_models/tflm/hello_world_int8.tflite").read_bytes()


def test_rows_come_out_as_the_interpreter_computes_them(
    shared_data: Callable[[str], Path],
) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    model = tiny(shared_data)
    rows = np.arange(-128, 128, 8, dtype=np.int8).reshape(-1, 1)
    trace = HOST.run(Job(model=model, inputs=rows, kernels="reference", repeats=5, warmup=1))
    oracle = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    oracle.allocate_tensors()
    wanted = []
    for row in rows:
        oracle.set_tensor(oracle.get_input_details()[0]["index"], row[None])
        oracle.invoke()
        wanted.append(oracle.get_tensor(oracle.get_output_details()[0]["index"])[0])
    assert trace.status is ExitStatus.OK, trace.says
    assert trace.outputs is not None
    np.testing.assert_array_equal(trace.outputs, wanted)
    assert len(trace.wall_ms) == len(trace.cpu_ms) == 5
    assert trace.memory is not None
    assert 0 < trace.memory.peak_rss_bytes - trace.memory.baseline_rss_bytes < 20 * 2**20
    assert trace.runtime in HOST.name


def test_timed_inferences_go_on_until_both_minima_are_met(
    shared_data: Callable[[str], Path],
) -> None:
    rows = np.zeros((1, 1), np.int8)
    trace = HOST.run(Job(model=tiny(shared_data), inputs=rows, repeats=3, min_seconds=0.3))
    assert trace.inferences > 100
    assert len(trace.wall_ms) <= worker.KEPT
    assert trace.memory is not None
    assert trace.memory.anon_samples[-1][0] == pytest.approx(0.3, abs=0.1)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (np.zeros((1, 1), np.float32), "wants int8"),
        (np.zeros((1, 2), np.int8), "wants rows of"),
        (np.zeros((1, 1, 1, 1), np.int8), "wants rows of"),
    ],
)
def test_an_input_that_does_not_fit_is_an_error_naming_both(
    shared_data: Callable[[str], Path], rows: np.ndarray, says: str
) -> None:
    trace = HOST.run(Job(model=tiny(shared_data), inputs=rows))
    assert trace.status is ExitStatus.ERROR
    assert says in trace.says
    assert "Received" in trace.says


@pytest.mark.parametrize("model", [b"", b"nonsense", bytes(1000)])
def test_a_file_that_is_no_model_is_an_error_and_no_exception(model: bytes) -> None:
    trace = HOST.run(Job(model=model, inputs=np.zeros((1, 1), np.int8)))
    assert trace.status is ExitStatus.ERROR
    assert "model" in trace.says.lower()


@pytest.mark.parametrize(
    ("what", "status"),
    [("hang", ExitStatus.TIMEOUT), ("crash", ExitStatus.CRASH), ("fail", ExitStatus.ERROR)],
)
def test_bad_endings_are_told_apart(what: str, status: ExitStatus) -> None:
    assert HOST.run_worker("-", "--pretend", what, timeout_s=1.0).status is status


def test_a_process_above_its_limit_runs_out_of_its_memory_and_the_limit_is_named() -> None:
    trace = HostRuntime(address_bytes=200 * 2**20).run_worker(
        "-", "--pretend", "exhaust-memory", timeout_s=20
    )
    assert trace.status is ExitStatus.OOM
    assert "200.0 MiB" in trace.says


def test_the_worker_needs_nothing_of_edgepack_and_no_young_python() -> None:
    source = inspect.getsource(worker)
    assert "import edgepack" not in source
    assert "from edgepack" not in source
    compile(source, "worker.py", "exec", dont_inherit=True)
    import ast

    ast.parse(source, feature_version=(3, 9))


def test_thinning_keeps_an_even_share_and_never_more_than_its_room() -> None:
    kept = worker.EvenlyThinned(np, 1)
    total = worker.KEPT * 4 + 3
    for number in range(total):
        kept.add(float(number))
    column = kept.column(0)
    assert kept.seen == total
    assert len(column) <= worker.KEPT
    assert set(np.diff(column)) == {float(kept.stride)}
    assert column[-1] > total - 2 * kept.stride


def test_a_frame_written_is_a_frame_read(tmp_path: Path) -> None:
    from edgepack.inference.wire_format import read_frame

    path = tmp_path / "frame"
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    with path.open("wb") as out:
        worker.write_frame(out, {"status": "ok", "says": "s"}, [array])
    frame = read_frame(path.read_bytes())
    np.testing.assert_array_equal(frame.arrays[0], array)
    assert frame.header.says == "s"


def test_where_no_limit_bites_it_says_so_instead_of_eating_the_machine() -> None:
    trace = HOST.run_worker("-", "--pretend", f"exhaust-memory:{32 * 2**20}", timeout_s=20)
    assert trace.status is ExitStatus.ERROR
    assert "32 MiB were allocated" in trace.says
