"""A report is believed only where it is whole, and the published schema says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgepack.errors import InputError
from edgepack.measurements import device_report

SCHEMA = Path(__file__).parents[3] / "android_harness/schema/device_report.schema.json"


def test_the_published_schema_is_the_one_that_is_checked() -> None:
    assert SCHEMA.read_text("utf-8") == device_report.schema_text()


def test_the_schema_itself_is_sound() -> None:
    jsonschema.Draft202012Validator.check_schema(device_report.schema())


def test_a_true_report_passes_both_and_survives_a_round_trip(agreed: Any) -> None:
    text = agreed.text()
    jsonschema.validate(json.loads(text), device_report.schema())
    once = device_report.read(text.encode(), "r")
    assert device_report.read(device_report.text(once), "again") == once
    jsonschema.validate(json.loads(device_report.text(once)), device_report.schema())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "edgepack.device-report/2"),
        ("bundle__sha256", "A" * 64),
        ("run__threads", 0),
        ("run__threads", "1"),
        ("run__samples_ms", [0.0]),
        ("run__mode", "short"),
        ("before__thermal_status", 7),
        ("device__model", "two\nlines"),
        ("device__model", "\u202eevil"),
        ("device__sdk", 0),
        ("ending", "fine"),
        ("started_at", "yesterday"),
        ("surprise", 1),
    ],
)
def test_what_the_schema_refuses_is_refused_and_named(
    agreed: Any, path: str, value: object
) -> None:
    text = agreed.text(**{path: value})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(text), device_report.schema())
    with pytest.raises(InputError, match=path.rsplit("__", maxsplit=1)[-1]):
        device_report.read(text.encode(), "r")


def test_a_run_is_there_only_where_it_ended_well(agreed: Any) -> None:
    for text in (agreed.text(run=None), agreed.text(ending="crash")):
        with pytest.raises(InputError, match="only if, the ending is ok"):
            device_report.read(text.encode(), "r")
    assert device_report.read(agreed.text(run=None, ending="crash").encode(), "r").run is None


@pytest.mark.parametrize("wrong", [{"outputs_hex": "00"}, {"rows": 5}, {"sha256": "0" * 64}])
def test_golden_answers_must_be_whole(agreed: Any, wrong: dict[str, Any]) -> None:
    goldens = agreed.plain["goldens"] | wrong
    with pytest.raises(InputError, match="golden"):
        device_report.read(agreed.text(goldens=goldens).encode(), "r")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"NaN"])
def test_noise_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(InputError, match=r"no report of edgepack\.device-report/1"):
        device_report.read(data, "noise")
