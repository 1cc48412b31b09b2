"""What the gate says is delegated is what the runtime delegates; what falls back is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgepack.compat import measured_support
from edgepack.compat.delegates import by_xnnpack, delegate, support_tables
from edgepack.profiles.profile import CarriedRuntime, Delegate
from edgepack.tflite.facts import Facts
from edgepack.tflite.flatbuffer import read
from tests.edgepack.asking import ask
from tests.edgepack.delegatezoo import variants
from tests.edgepack.networks import mixed
from tests.edgepack.opzoo import cases
from tests.edgepack.tinymodels import Net

RELEASES = {"tflite": "2.14.0", "litert": "2.3.0"}


def runtime(line: str = "litert", version: str = "") -> CarriedRuntime:
    return CarriedRuntime.model_validate(
        {"name": line, "version": version or RELEASES[line], "source": "test"}
    )


def accelerator(name: str, **more: object) -> Delegate:
    return Delegate.model_validate({"name": name, "source": "test", **more})


@pytest.mark.tools
@pytest.mark.parametrize("line", ["litert", "tflite"])
def test_xnnpack_takes_what_the_gate_says(line: str, tmp_path: Path) -> None:
    """1,300 single operators and 30 networks; the runtime's execution plan decides."""
    models = [(str(c), c.model, None) for c in cases()]
    models += [(name, model, None) for name, model in variants()]
    models += [(f"network {seed}", mixed(seed), None) for seed in range(30)]
    answers = ask("delegated", line, models, tmp_path)
    asked, wrong = 0, {}
    for key, model, _ in models:
        if answers[key] is None:
            continue  # the runtime refuses it
        asked += 1
        gate = sorted(by_xnnpack(read(model), runtime(line)).taken)
        if gate != answers[key]:
            wrong[key] = (gate, answers[key])
    assert not wrong
    assert asked > 1000


@pytest.mark.tools
@pytest.mark.parametrize("line", ["litert", "tflite"])
def test_xnnpack_takes_what_the_gate_says_of_other_peoples_models(
    line: str, tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    folders = (shared_data("mlperf_tiny"), shared_data("third_party_models"))
    files = sorted(path for folder in folders for path in folder.rglob("*.tflite"))
    models = [(path.name, path.read_bytes(), None) for path in files]
    answers = ask("delegated", line, models, tmp_path)
    for name, model, _ in models:
        assert sorted(by_xnnpack(read(model), runtime(line)).taken) == answers[name], name
    assert len(models) >= 20


def small(dtype: str = "int8") -> Facts:
    net = Net()
    x = net.tensor((1, 8, 8, 4))
    y = net.reshape(net.pool(net.conv(x, 4), 8), (1, 4))
    return read(net.done([x], [net.softmax(net.dense(y, 3))]))


def test_old_tensorflow_lite_hands_no_int8_to_xnnpack() -> None:
    found = by_xnnpack(small(), runtime("tflite"))
    assert found.taken == frozenset()
    assert found.share_left == 1.0


def test_the_share_that_falls_back_is_of_multiply_accumulates() -> None:
    found = by_xnnpack(small(), runtime("litert"))
    assert [op.name for op, _ in found.left] == ["AVERAGE_POOL_2D", "SOFTMAX"]
    assert found.share_left == 0.0  # neither multiplies
    assert found.macs_total == small().macs


def test_a_release_too_old_to_have_been_measured_takes_nothing() -> None:
    found = by_xnnpack(small(), runtime("tflite", "1.15.0"))
    assert found.taken == frozenset()
    assert "measured" in found.left[0][1]


@pytest.mark.parametrize("name", sorted(support_tables()))
def test_every_support_table_names_source_dtypes_and_known_operators(name: str) -> None:
    row = support_tables()[name]
    known = set(measured_support.table("versions")["ops"])
    assert len(row["source"]) > 20
    assert row["dtypes"]
    assert not set(row["ops"]) - known - {"RELU_0_TO_1"}


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("cmsis-nn", ["RESHAPE"]),
        ("esp-nn", ["RESHAPE"]),
        ("ethos-u55-128", []),
        ("ethos-u85-256", []),
        ("hexagon", []),
        ("edgetpu", []),
        ("gpu", []),
        ("coreml", ["CONV_2D", "AVERAGE_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]),
    ],
)
def test_a_documented_delegate_leaves_what_its_table_lacks(name: str, left: list[str]) -> None:
    found = delegate(small(), accelerator(name), runtime("litert"))
    assert [op.name for op, _ in found.left] == left
    assert not found.measured
    assert found.source == support_tables()[_row(name)]["source"]


def _row(name: str) -> str:
    return name.rpartition("-")[0] if name.startswith("ethos-u") else name


def test_a_profile_may_list_fewer_operators_and_dtypes() -> None:
    few = accelerator("gpu", ops=("CONV_2D",), dtypes=("int8",), supports="https://example.org")
    found = delegate(small(), few, runtime())
    assert found.taken == frozenset({0})
    assert found.source == "https://example.org"
    floats = accelerator("gpu", dtypes=("float32",))
    assert delegate(small(), floats, runtime()).taken == frozenset()


def test_a_file_compiled_for_an_npu_is_taken_whole() -> None:
    net = Net()
    x, y = net.tensor((1, 8)), net.tensor((1, 4))
    net.op("ethos-u", [x], [y], custom=b"command stream")
    facts = read(net.done([x], [y]))
    found = delegate(facts, accelerator("ethos-u55-128"), runtime("litert"))
    assert found.taken == frozenset({0})
    assert found.share_left == 0.0
