"""Each gate alone: inclusive limits, remarks, and what stays open without a figure."""

from __future__ import annotations

from typing import Any

import pytest

from edgepack.gates import static
from edgepack.gates.finding import How, Outcome
from edgepack.planning.peak import plan_memory
from edgepack.profiles.profile import Profile
from edgepack.tflite.facts import Facts
from edgepack.tflite.flatbuffer import read
from tests.edgepack.networks import mixed, residual
from tests.edgepack.tinymodels import Net

MICRO = {"name": "tflm", "version": "0.dev20261023182759", "source": "test"}
LITERT = {"name": "litert", "version": "2.3.0", "source": "test"}
OLD = {"name": "tflite", "version": "2.9.1", "source": "test"}


def device(kind: str = "mcu", **more: Any) -> Profile:
    """Return a profile with what a test names and nothing else."""
    isa = "armv7e-m" if kind == "mcu" else "arm64"
    runtime = more.pop("runtime", MICRO if kind == "mcu" else LITERT)
    made = {
        "schema": 1,
        "name": "device",
        "title": "Device",
        "kind": kind,
        "cpu": {"isa": isa, "cores": [{"name": "core", "count": 1, "source": "test"}]},
        "runtimes": [runtime],
        "accuracy": {"max_drop": {"value": 0.01, "source": "test"}},
        **more,
    }
    return Profile.model_validate(made)


def limit(value: int) -> dict[str, Any]:
    return {"value": value, "source": "test"}


def facts_of(model: bytes) -> Facts:
    return read(model)


def float_model() -> bytes:
    net = Net()
    x, y = net.tensor((1, 8), "float32"), net.tensor((1, 4), "float32")
    net.op("FULLY_CONNECTED", [x, net.weights((4, 8), "float32"), -1], [y], 1,
           "FullyConnectedOptions")  # fmt: skip
    return net.done([x], [y])


@pytest.mark.parametrize(
    ("more", "outcome"), [(-1, Outcome.FAIL), (0, Outcome.PASS), (1, Outcome.PASS)]
)
def test_storage_and_download_limits_are_inclusive(more: int, outcome: Outcome) -> None:
    facts = facts_of(residual(8, 16))
    room = {"budget": limit(facts.flatbuffer_bytes + more)}
    assert static.storage(facts, device(storage=room)).verdict is outcome
    room = {"download_budget": limit(facts.download_bytes + more)}
    assert static.download(facts, device(storage=room)).verdict is outcome


@pytest.mark.parametrize(
    ("more", "outcome"), [(-1, Outcome.FAIL), (0, Outcome.PASS), (1, Outcome.PASS)]
)
@pytest.mark.parametrize("kind", ["mcu", "tablet"])
def test_the_ram_limit_is_inclusive(kind: str, more: int, outcome: Outcome) -> None:
    facts = facts_of(residual(8, 16))
    planned = plan_memory(facts, device(kind)).total
    found = static.peak_ram(facts, device(kind, ram={"budget": limit(planned + more)}))
    assert found.verdict is outcome
    assert found.value == planned
    assert found.how is How.PLANNED


def test_less_ram_than_the_interpreter_takes_is_no_fault_of_the_model() -> None:
    facts = facts_of(residual(8, 16))
    takes = dict(plan_memory(facts, device("tablet")).parts)["interpreter"]
    for room, remedy in ((takes - 1, "a larger budget"), (takes, "fewer channels")):
        found = static.peak_ram(facts, device("tablet", ram={"budget": limit(room)}))
        assert found.verdict is Outcome.FAIL
        assert remedy in found.says


def test_a_budget_that_no_source_gives_leaves_its_gate_open() -> None:
    facts = facts_of(residual(8, 16))
    assert static.storage(facts, device()).verdict is Outcome.INCONCLUSIVE
    assert static.peak_ram(facts, device()).verdict is Outcome.INCONCLUSIVE


def test_a_device_without_a_download_budget_is_not_asked_about_one() -> None:
    facts = facts_of(residual(8, 16))
    asked = {finding.gate for finding in static.judge(facts, device()).findings}
    assert "download" not in asked
    room = {"download_budget": limit(1 << 20)}
    asked = {finding.gate for finding in static.judge(facts, device(storage=room)).findings}
    assert "download" in asked


def test_memory_of_an_unmeasured_operator_is_open_and_never_a_pass() -> None:
    net = Net()
    x, y = net.tensor((1, 4)), net.tensor((1, 4))
    net.op("SIGN", [x], [y])
    facts = facts_of(net.done([x], [y]))
    found = static.peak_ram(facts, device(ram={"budget": limit(1 << 20)}))
    assert found.verdict is Outcome.INCONCLUSIVE
    assert "SIGN" in found.says
    found = static.peak_ram(facts, device(ram={"budget": limit(16)}))
    assert found.verdict is Outcome.FAIL


@pytest.mark.parametrize("kind", ["mcu", "npu"])
def test_float_fails_where_only_integers_are_promised(kind: str) -> None:
    found = static.dtype(facts_of(float_model()), device(kind, runtime=MICRO))
    assert found.verdict is Outcome.FAIL
    assert "TFLITE_BUILTINS_INT8" in found.says


def float_ends(*, between: bool = False, back: bool = False) -> bytes:
    """Return an int8 layer behind QUANTIZE and before DEQUANTIZE, ends of 8 and 4 floats.

    With ``between`` an addition in float stands before QUANTIZE, with ``back`` a pair of
    conversions inside.
    """
    net = Net()
    x = net.tensor((1, 8), "float32")
    start = x
    if between:
        start = net.tensor((1, 8), "float32")
        net.op("ADD", [x, x], [start], 1, "AddOptions")
    codes, hidden = net.tensor((1, 8)), net.tensor((1, 4))
    y = net.tensor((1, 4), "float32")
    net.op("QUANTIZE", [start], [codes])
    net.op("FULLY_CONNECTED", [codes, net.weights((4, 8)), -1], [hidden], 1,
           "FullyConnectedOptions")  # fmt: skip
    if back:
        middle, again = net.tensor((1, 4), "float32"), net.tensor((1, 4))
        net.op("DEQUANTIZE", [hidden], [middle], 2)
        net.op("QUANTIZE", [middle], [again])
        hidden = again
    net.op("DEQUANTIZE", [hidden], [y], 2)
    return net.done([x], [y])


@pytest.mark.parametrize("kind", ["mcu", "npu"])
def test_float_ends_of_an_integer_model_pass_and_tell_what_they_cost(kind: str) -> None:
    found = static.dtype(facts_of(float_ends()), device(kind, runtime=MICRO))
    assert found.verdict is Outcome.PASS
    assert "QUANTIZE, DEQUANTIZE and 48 B of buffers, 12 B as bytes" in found.says
    assert "inference_input_type" in found.says


@pytest.mark.parametrize("inside", ["between", "back"])
def test_float_behind_the_ends_fails_where_only_integers_are_promised(inside: str) -> None:
    facts = facts_of(float_ends(**{inside: True}))
    found = static.dtype(facts, device("mcu", runtime=MICRO))
    assert found.verdict is Outcome.FAIL
    assert "compute in float" in found.says


@pytest.mark.parametrize("kind", ["tablet", "phone", "sbc", "host"])
def test_float_passes_with_a_remark_where_a_cpu_runs_it(kind: str) -> None:
    found = static.dtype(facts_of(float_model()), device(kind))
    assert found.verdict is Outcome.PASS
    assert "1 of 1 operators compute in float" in found.says


def test_an_int8_model_has_no_remark() -> None:
    found = static.dtype(facts_of(mixed(0)), device())
    assert found.verdict is Outcome.PASS
    assert "no float operator" in found.says


@pytest.mark.parametrize(
    ("shape", "signature", "outcome", "says"),
    [
        ((1, 8), None, Outcome.PASS, "int8[1, 8]"),
        ((1, 8), (-1, 8), Outcome.PASS, "batch is left open"),
        ((1, 8), (1, -1), Outcome.FAIL, "is open"),
        ((4, 8), None, Outcome.FAIL, "batch 4"),
    ],
)
def test_shapes_are_fixed_but_for_the_batch(
    shape: tuple[int, ...], signature: tuple[int, ...] | None, outcome: Outcome, says: str
) -> None:
    net = Net()
    x = net.tensor(shape, signature=signature)
    found = static.signature(facts_of(net.done([x], [net.dense(x, 3)])), device())
    assert found.verdict is outcome
    assert says in found.says


def test_more_than_one_input_or_output_is_named() -> None:
    net = Net()
    a, b = net.tensor((1, 8)), net.tensor((1, 8))
    y = net.add(a, b)
    found = static.signature(facts_of(net.done([a, b], [y, a])), device())
    assert found.verdict is Outcome.FAIL
    assert "2 inputs" in found.says
    assert "2 outputs" in found.says


def test_an_old_runtime_refuses_per_channel_dense_with_the_option_that_helps() -> None:
    net = Net()
    x = net.tensor((1, 16))
    facts = facts_of(net.done([x], [net.dense(x, 4, per_channel=True)]))
    found = static.operators(facts, device("tablet", runtime=OLD))
    assert found.verdict is Outcome.FAIL
    assert "silently wrong" in found.says
    assert "_experimental_disable_per_channel_quantization_for_dense_layers" in found.says


def test_a_release_nobody_measured_leaves_operators_open() -> None:
    ancient = {"name": "tflite", "version": "1.12.0", "source": "test"}
    found = static.operators(facts_of(mixed(0)), device("tablet", runtime=ancient))
    assert found.verdict is Outcome.INCONCLUSIVE
    assert "older than" in found.says


def test_operator_versions_and_operators_are_two_gates() -> None:
    net = Net()
    x, y = net.tensor((1, 8), "float32"), net.tensor((1, 8), "float32")
    net.op("ADD", [x, x], [y], 6, "AddOptions")
    facts = facts_of(net.done([x], [y]))
    profile = device("tablet", runtime=OLD)
    found = static.operator_versions(facts, profile)
    assert found.verdict is Outcome.FAIL
    assert "ADD version 6" in found.says
    assert "up to 4" in found.says
    assert static.operators(facts, profile).verdict is Outcome.PASS


@pytest.mark.parametrize(("required", "outcome"), [(False, Outcome.PASS), (True, Outcome.FAIL)])
def test_fallback_fails_only_where_the_profile_wants_the_model_whole(
    required: bool, outcome: Outcome
) -> None:
    asked = {"name": "xnnpack", "required": required, "source": "test"}
    profile = device("tablet", delegates=[asked])
    verdict = static.judge(facts_of(residual(8, 16)), profile)
    (found,) = [f for f in verdict.findings if f.gate == "delegate:xnnpack"]
    assert found.verdict is outcome
    assert "SOFTMAX" in found.says
    assert found.unit == "share"


def test_the_share_of_work_that_falls_back_is_the_value() -> None:
    asked = {"name": "coreml", "source": "test"}
    verdict = static.judge(facts_of(mixed(0)), device("phone", delegates=[asked]))
    (found,) = [f for f in verdict.findings if f.gate == "delegate:coreml"]
    assert found.value == 1.0
    assert "takes none of 11" in found.says
    assert "100.0% of the work stays with the runtime's own CPU kernels" in found.says
    assert "requires no accelerator" in found.says


def test_a_reason_why_an_accelerator_refuses_is_said_once() -> None:
    asked = {"name": "coreml", "source": "test"}
    verdict = static.judge(facts_of(mixed(0)), device("phone", delegates=[asked]))
    (found,) = [f for f in verdict.findings if f.gate == "delegate:coreml"]
    reasons = found.says.split("not taken: ")[1].split("; ")
    assert len(reasons) == len({reason.split("(")[1] for reason in reasons})


def dense(batch: int = 1, signature: tuple[int, ...] | None = None) -> Facts:
    """Return an int8 dense layer, its batch or signature as a test wants it."""
    net = Net()
    x = net.tensor((batch, 8), signature=signature)
    return facts_of(net.done([x], [net.dense(x, 3)]))


REQUIRED = {"name": "coreml", "required": True, "source": "test"}
ANCIENT = {"name": "tflite", "version": "1.12.0", "source": "test"}


@pytest.mark.parametrize(
    ("facts", "profile", "gate", "outcome", "remedy"),
    [
        (dense(), device(storage={"budget": limit(1)}), "storage", "fail", "fewer channels"),
        (dense(), device(), "storage", "inconclusive", "set [storage.budget]"),
        (
            dense(),
            device(storage={"download_budget": limit(1)}),
            "download",
            "fail",
            "prune-cluster-qat",
        ),
        (dense(), device(ram={"budget": limit(1)}), "peak_ram", "fail", "smaller input"),
        (dense(), device(), "peak_ram", "inconclusive", "set [ram.budget]"),
        (
            facts_of(float_model()),
            device(
                "tablet",
                ram={
                    "budget": limit(
                        plan_memory(facts_of(float_model()), device("tablet")).total - 1
                    )
                },
            ),
            "peak_ram",
            "fail",
            "quantize it to int8",
        ),
        (dense(signature=(-1, 8)), device(), "signature", "pass", "a batch of 1"),
        (dense(batch=4), device(), "signature", "fail", "a batch of 1"),
        (dense(), device("tablet", runtime=ANCIENT), "operators", "inconclusive", "measured"),
        (dense(), device("phone", delegates=[REQUIRED]), "delegate:coreml", "fail", "replace"),
        (facts_of(float_model()), device(), "dtype", "fail", "representative_dataset"),
    ],
)
def test_what_fails_or_is_open_says_what_to_do(
    facts: Facts, profile: Profile, gate: str, outcome: str, remedy: str
) -> None:
    (found,) = [f for f in static.judge(facts, profile).findings if f.gate == gate]
    assert found.verdict == outcome
    assert remedy in found.says


def test_judge_tells_every_failure_at_once() -> None:
    facts = facts_of(float_model())
    profile = device(
        storage={"budget": limit(1), "download_budget": limit(1)}, ram={"budget": limit(1)}
    )
    failed = {f.gate for f in static.judge(facts, profile).named(Outcome.FAIL)}
    assert failed == {"storage", "download", "peak_ram", "dtype"}


def test_every_finding_is_one_line() -> None:
    delegates = [{"name": name, "source": "test"} for name in ("gpu", "nnapi", "hexagon")]
    verdict = static.judge(facts_of(mixed(1)), device("phone", delegates=delegates))
    assert all("\n" not in finding.says for finding in verdict.findings)
    names = [finding.gate for finding in verdict.findings]
    assert len(names) == len(set(names))
