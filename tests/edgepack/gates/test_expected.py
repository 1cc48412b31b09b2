"""No pass without every question: which gates a device must be asked, and what a gap means."""

from __future__ import annotations

import pytest

from edgepack.gates import expected, static
from edgepack.gates.expected import (
    BUNDLE,
    FIRMWARE,
    REPORT,
    SANDBOX,
    Route,
    complete,
    data_gates,
    dynamic_gates,
    expected_gates,
    route_of,
    static_gates,
)
from edgepack.gates.finding import Outcome, Verdict, failed, inconclusive, passed
from edgepack.profiles import catalogue
from edgepack.profiles.profile import Profile
from edgepack.tflite.flatbuffer import read
from tests.edgepack.commands import tiny_tflite

PROFILES = [catalogue.load(name) for name in catalogue.names()]
ROUTES: tuple[Route | None, ...] = (None, "c", "tflm")


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_the_static_gates_are_the_ones_that_are_asked(profile: Profile) -> None:
    asked = static.judge(read(tiny_tflite()), profile).findings
    assert tuple(finding.gate for finding in asked) == static_gates(profile)


@pytest.mark.parametrize(
    ("name", "route", "dynamic"),
    [
        ("clinic-tablet-1gb-armv7", "c", SANDBOX),
        ("midrange-phone-arm64", "tflm", SANDBOX),
        ("raspberry-pi-4", None, SANDBOX),
        ("nucleo-l4r5zi", "c", FIRMWARE["c"]),
        ("nucleo-l4r5zi", None, FIRMWARE["c"]),
        ("nucleo-l4r5zi", "tflm", FIRMWARE["tflm"]),
        ("corstone-300", "c", FIRMWARE["npu"]),
        ("corstone-300", "tflm", FIRMWARE["npu"]),
    ],
)
def test_what_is_run_depends_on_the_kind_of_device_and_its_firmware(
    name: str, route: Route | None, dynamic: tuple[str, ...]
) -> None:
    assert dynamic_gates(catalogue.load(name), route) == dynamic


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("route", ROUTES)
def test_every_device_is_asked_for_goldens_accuracy_and_calibration(
    profile: Profile, route: Route | None
) -> None:
    gates = expected_gates(profile, route)
    assert len(gates) == len(set(gates))
    assert {"accuracy_drop", "calibration", "latency"} <= set(gates)
    assert any(gate.startswith("goldens_") for gate in gates)


def test_only_classes_have_a_recall_and_only_where_it_is_asked_for() -> None:
    tablet = catalogue.load("clinic-tablet-1gb-armv7")
    assert "class_recall" in data_gates(tablet)
    assert "class_recall" not in data_gates(tablet, "regression")
    careless = tablet.accuracy.model_copy(update={"min_class_recall": None})
    assert "class_recall" not in data_gates(tablet.model_copy(update={"accuracy": careless}))


def test_a_download_is_asked_where_the_profile_names_its_budget() -> None:
    assert "download" in static_gates(catalogue.load("clinic-tablet-1gb-armv7"))
    assert "download" not in static_gates(catalogue.load("nucleo-l4r5zi"))


def test_a_missing_gate_is_inconclusive_and_no_pass() -> None:
    verdict = complete(Verdict((passed("a", "x"),)), ("a", "calibration", "a"))
    assert [finding.gate for finding in verdict.findings] == ["a", "calibration"]
    assert verdict.findings[1].verdict is Outcome.INCONCLUSIVE
    assert "ask its maker to build it again" in verdict.findings[1].says
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_a_gate_that_was_asked_is_left_as_it_is() -> None:
    findings = (passed("a", "x"), failed("b", "y"), inconclusive("c", "z"))
    assert complete(Verdict(findings), ("c", "b", "a")).findings == findings


def test_the_callers_reason_is_told_instead() -> None:
    verdict = complete(Verdict(()), ("arena",), "TFLM refused the model")
    assert verdict.findings == (inconclusive("arena", "TFLM refused the model"),)


@pytest.mark.parametrize("gate", [*SANDBOX, *FIRMWARE["npu"], *BUNDLE, *REPORT, "storage"])
def test_every_gap_says_why_and_what_to_do(gate: str) -> None:
    (finding,) = complete(Verdict(()), (gate,)).findings
    assert finding.says.startswith("not asked")
    assert finding.says.count(";") == 1


@pytest.mark.parametrize(
    ("paths", "route"),
    [
        (["firmware/c/src/m.c", "model.tflite"], "c"),
        (["firmware/tflm/m.cc", "firmware/vela/m.tflite"], "tflm"),
        (["model.tflite", "firmware/vela/m.tflite"], None),
        (["firmware/cc/x"], None),
        ([], None),
    ],
)
def test_the_route_is_read_from_the_folders(paths: list[str], route: Route | None) -> None:
    assert route_of(paths) == route


def test_every_name_of_a_gate_is_listed_once() -> None:
    named = [*expected.STATIC, *expected.DATA, *BUNDLE, *REPORT, *expected.OTHER]
    assert len(named) == len(set(named))
