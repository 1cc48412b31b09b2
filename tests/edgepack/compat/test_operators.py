"""What the gate says about an operator is what the runtimes do with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgepack.compat import measured_support
from edgepack.compat.operators import incompatible_operators, kernel_signature
from edgepack.profiles.profile import CarriedRuntime
from edgepack.tflite.facts import Facts
from edgepack.tflite.flatbuffer import read
from tests.edgepack.asking import ask
from tests.edgepack.opcase import Case
from tests.edgepack.opzoo import cases
from tests.edgepack.tinymodels import Net, pack, unpack

RELEASES = {"tflite": "2.14.0", "litert": "2.3.0", "tflm": "0.dev20261023182759"}
ZOO = list(cases())


def runtime(line: str, version: str = "", **more: object) -> CarriedRuntime:
    made = {"name": line, "version": version or RELEASES[line], "source": "test", **more}
    return CarriedRuntime.model_validate(made)


def kinds(facts: Facts, carried: CarriedRuntime) -> list[str]:
    return [refused.kind for refused in incompatible_operators(facts, carried)]


def dense(*, per_channel: bool, version: int = 4) -> Facts:
    net = Net()
    x = net.tensor((1, 16))
    y = net.dense(x, 8, per_channel=per_channel)
    model = unpack(net.done([x], [y]))
    model.operatorCodes[0].version = version
    return read(pack(model))


@pytest.mark.tools
@pytest.mark.parametrize("line", ["litert", "tflm", "tflite"])
def test_no_use_of_an_operator_passes_that_its_runtime_refuses(
    line: str, tmp_path: Path
) -> None:
    """Every operator in every dtype, at the version converters write and at the first."""
    carried = runtime(line)
    passed = [c for c in ZOO if not incompatible_operators(read(c.model), carried)]
    answers = ask("run", line, ((str(c), c.model, None) for c in passed), tmp_path)
    wrong = {key: says for key, says in answers.items() if says != "ok"}
    assert not wrong
    assert len(passed) > 300


@pytest.mark.tools
@pytest.mark.parametrize("line", ["litert", "tflm", "tflite"])
def test_nothing_is_refused_that_its_runtime_runs(line: str, tmp_path: Path) -> None:
    """Of the uses that converters write; what is computed wrong runs and is refused."""
    carried = runtime(line)
    refused = []
    for case in ZOO:
        found = incompatible_operators(read(case.model), carried)
        if case.honest and found and found[0].kind != "wrong":
            refused.append(case)
    answers = ask("run", line, ((str(c), c.model, None) for c in refused), tmp_path)
    assert not [key for key, says in answers.items() if says == "ok"]


@pytest.mark.tools
@pytest.mark.parametrize("line", ["litert", "tflite"])
def test_the_version_above_the_highest_is_refused_and_the_highest_is_not(
    line: str, tmp_path: Path
) -> None:
    """Boundary triples of every operator, put to the runtime's own resolver."""
    release = measured_support.measured_release(line, RELEASES[line])
    assert release is not None
    models, expected = [], {}
    for name in sorted(measured_support.table("versions")["ops"]):
        highest = measured_support.highest_version(name, line, release)
        for version in (highest - 1, highest, highest + 1):
            if version < (2 if name == "BROADCAST_TO" else 1):
                continue
            key = f"{name} {version}"
            models.append((key, _listed(name, version), None))
            expected[key] = version <= highest
    answers = ask("run", line, models, tmp_path)
    assert {key: says == "ok" for key, says in answers.items()} == expected
    for key, model, _ in models:
        assert (not incompatible_operators(read(model), runtime(line))) is expected[key], key


def _listed(name: str, version: int) -> bytes:
    """Return a model that lists an operator and uses none: the resolver sees all the same."""
    net = Net()
    x = net.tensor((1,), "float32")
    net.op(name, [x], [x], version)
    model = unpack(net.done([x], [x]))
    model.subgraphs[0].operators = []
    return pack(model)


@pytest.mark.parametrize(
    ("version", "found"),
    [("2.7.0", ["wrong"]), ("2.9.1", ["wrong"]), ("2.10.0", []), ("2.14.0", [])],
)
def test_per_channel_dense_is_refused_where_it_is_computed_wrong(
    version: str, found: list[str]
) -> None:
    facts = dense(per_channel=True)
    assert kinds(facts, runtime("tflite", version)) == found
    assert kinds(dense(per_channel=False), runtime("tflite", version)) == []


def test_a_wrong_kernel_is_named_with_release_and_option() -> None:
    (refused,) = incompatible_operators(dense(per_channel=True), runtime("tflite", "2.9.1"))
    assert "FULLY_CONNECTED" in refused.says
    assert "silently wrong" in refused.says
    assert "2.10.0" in refused.says
    assert "_experimental_disable_per_channel_quantization_for_dense_layers" in refused.remedy


def test_a_version_too_new_is_named_with_the_release_that_has_it() -> None:
    (refused,) = incompatible_operators(dense(per_channel=False, version=12), runtime("tflite"))
    assert refused.kind == "version"
    assert "FULLY_CONNECTED version 12" in refused.says
    assert "first in TensorFlow Lite 2.17.1" in refused.says
    assert refused.remedy


def test_sparse_weights_on_tflm_are_computed_wrong() -> None:
    facts = dense(per_channel=False)
    graph = facts.main
    sparse = dataclasses.replace(graph.tensors[1], sparse=True)
    tensors = (graph.tensors[0], sparse, *graph.tensors[2:])
    facts = dataclasses.replace(facts, subgraphs=(dataclasses.replace(graph, tensors=tensors),))
    assert kinds(facts, runtime("tflm")) == ["wrong"]
    assert kinds(facts, runtime("litert")) == []


@pytest.mark.parametrize(
    ("name", "line", "delegates", "found"),
    [
        ("FlexErf", "litert", (), ["missing"]),
        ("edgetpu-custom-op", "litert", (), ["missing"]),
        ("edgetpu-custom-op", "litert", ("edgetpu-custom-op",), []),
        ("ethos-u", "tflm", (), ["missing"]),
        ("ethos-u", "tflm", ("ethos-u",), []),
        ("TFLite_Detection_PostProcess", "litert", (), []),
    ],
)
def test_a_custom_operator_needs_someone_who_runs_it(
    name: str, line: str, delegates: tuple[str, ...], found: list[str]
) -> None:
    net = Net()
    x, y = net.tensor((1, 4)), net.tensor((1, 4))
    net.op(name, [x], [y], custom=b"x")
    facts = read(net.done([x], [y]))
    assert [
        t.kind for t in incompatible_operators(facts, runtime(line), frozenset(delegates))
    ] == found


def test_a_build_with_few_operators_names_the_one_it_lacks() -> None:
    (refused,) = incompatible_operators(
        dense(per_channel=False), runtime("tflm", ops=("CONV_2D", "ADD"))
    )
    assert refused.kind == "missing"
    assert "add FULLY_CONNECTED to the build" in refused.remedy


def test_a_profile_may_know_the_versions_of_its_build_better() -> None:
    carried = runtime("tflite", op_versions={"FULLY_CONNECTED": 3})
    assert kinds(dense(per_channel=False), carried) == ["version"]
    carried = runtime("tflite", op_versions={"FULLY_CONNECTED": 4})
    assert kinds(dense(per_channel=False), carried) == []


def test_a_release_older_than_every_measured_one_is_unknown_not_good() -> None:
    assert kinds(dense(per_channel=False), runtime("tflite", "1.13.1")) == ["unknown"]
    assert kinds(dense(per_channel=False), runtime("tflm", "20200101")) == ["unknown"]


@pytest.mark.parametrize(
    ("line", "version", "stands"),
    [
        ("tflite", "2.16.1", "2.16.2"), ("tflite", "2.14.1", "2.14.0"),
        ("tflite", "2.99", "2.21.0"), ("tflite", "2.4.0", None),
        ("litert", "2.1.5", "2.1.0"), ("litert", "2.1.6", "2.1.6"), ("litert", "1.0.0", None),
        ("tflm", "0.dev20250101000000", "20241219182046"), ("tflm", "2025-01-01", None),
    ],
)  # fmt: skip
def test_an_unmeasured_release_stands_for_an_older_one(
    line: str, version: str, stands: str | None
) -> None:
    assert measured_support.measured_release(line, version) == stands


def test_every_use_names_its_dtypes() -> None:
    def use(case: Case) -> str:
        facts = read(case.model)
        return kernel_signature(facts.ops[0], facts)

    for case in ZOO:
        wanted = f"{case.dtype}/{case.variant}" if case.variant else case.dtype
        assert use(case) == wanted, case


def test_an_operator_without_its_weights_is_named() -> None:
    facts = dense(per_channel=False)
    bare = dataclasses.replace(facts.main.ops[0], inputs=(0,))
    facts = dataclasses.replace(
        facts, subgraphs=(dataclasses.replace(facts.main, ops=(bare,)),)
    )
    (refused,) = incompatible_operators(facts, runtime("litert"))
    assert "FULLY_CONNECTED, has 1 of 2 inputs" in refused.says


@pytest.mark.train
def test_a_model_converted_today_is_refused_where_it_runs_wrong_and_cured_by_the_option(
    tmp_path: Path,
) -> None:
    """TensorFlow's converter writes per-channel dense weights since 2.18, all in version 4."""
    import tensorflow as tf

    weights = np.random.default_rng(0).normal(0, 1, (16, 8)).astype("f4")
    weights *= np.geomspace(0.01, 1, 8, dtype="f4")

    @tf.function(input_signature=[tf.TensorSpec((1, 16), tf.float32)])
    def dense(x):  # type: ignore[no-untyped-def]
        return tf.matmul(x, weights)

    def rows():  # type: ignore[no-untyped-def]
        for seed in range(8):
            yield [np.random.default_rng(seed).normal(0, 1, (1, 16)).astype("f4")]

    def convert(*, per_channel: bool) -> Facts:
        concrete = dense.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = rows
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        option = "_experimental_disable_per_channel_quantization_for_dense_layers"
        setattr(converter, option, not per_channel)
        return read(converter.convert())

    plain, cured = convert(per_channel=True), convert(per_channel=False)
    assert kinds(plain, runtime("tflite", "2.9.1")) == ["wrong"]
    assert kinds(plain, runtime("tflite", "2.14.0")) == []
    assert kinds(cured, runtime("tflite", "2.9.1")) == []
