"""What a profile promises: units said, numbers sourced, JSON that reads back equal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

import device_profiles
from edgepack.profiles.hardware import WRITTEN, Ram, Sourced, SourcedBytes, Storage
from edgepack.profiles.profile import Accuracy, Profile
from edgepack.profiles.schema import schema_text
from edgepack.units import exact_bytes, parse_bytes

PLAIN: dict[str, Any] = {
    "schema": 1,
    "name": "one",
    "title": "One",
    "kind": "phone",
    "cpu": {"isa": "arm64", "cores": [{"name": "A", "count": 4, "source": "page"}]},
    "runtimes": [{"name": "litert", "version": "1.4.0", "source": "page"}],
    "accuracy": {"max_drop": {"value": 0.01, "source": "policy: one point"}},
}


def with_(path: str, value: object) -> dict[str, Any]:
    """Return the plain profile with the table entry at the dotted ``path`` replaced."""
    data: dict[str, Any] = json.loads(json.dumps(PLAIN))
    table = data
    *tables, key = path.split(".")
    for step in tables:
        table = table.setdefault(step, {})
    table[key] = value
    return data


def read(data: dict[str, Any]) -> Profile:
    return Profile.model_validate(data, context=WRITTEN)


def test_the_plain_profile_is_one() -> None:
    profile = read(PLAIN)
    assert profile.runtime.version == "1.4.0"
    assert profile.page_bytes is None


@pytest.mark.parametrize(
    ("text", "size"),
    [("1 GiB", 2**30), ("1 GB", 10**9), ("64 KiB", 65536), ("64 kB", 64000), ("7 B", 7)],
)
def test_bytes_of_a_file_mean_what_their_unit_says(text: str, size: int) -> None:
    profile = read(with_("ram.total", {"value": text, "source": "page"}))
    assert profile.ram.total is not None
    assert profile.ram.total.value == size


@pytest.mark.parametrize(
    "value", [65536, 1.5, True, "65536", "64 KB", "64 Kib", "64", "", "KiB"]
)
def test_bytes_of_a_file_without_a_known_unit_are_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        read(with_("ram.total", {"value": value, "source": "page"}))


def test_bytes_in_code_may_be_plain() -> None:
    assert SourcedBytes(value=65536, source="page").value == 65536


@pytest.mark.parametrize(
    "size", [1, 999, 1000, 1023, 1024, 1025, 640 * 1024, 10**6, 2**30, 3 * 10**9, 7 * 2**20 + 1]
)
def test_exact_bytes_reads_back(size: int) -> None:
    assert parse_bytes(exact_bytes(size)) == size


@pytest.mark.parametrize("text", ["9" * 400 + " B", "0.5 B", "1.0000001 kB"])
def test_absurd_sizes_are_a_refusal_not_a_crash(text: str) -> None:
    with pytest.raises(ValidationError):
        read(with_("ram.total", {"value": text, "source": "page"}))


def test_json_of_a_profile_reads_back_equal_even_where_units_must_be_said() -> None:
    profile = read(with_("ram.total", {"value": "1536 MiB", "source": "page"}))
    text = profile.model_dump_json(by_alias=True)
    assert '"1536 MiB"' in text
    assert Profile.model_validate_json(text, context=WRITTEN) == profile
    assert Profile.model_validate_json(text) == profile


@pytest.mark.parametrize(
    "path",
    ["ram.total", "ram.budget", "storage.total", "latency.p90_ms", "energy.per_inference_uj"],
)
def test_a_number_without_a_source_does_not_enter(path: str) -> None:
    value = {"value": "1 MiB" if path.split(".", maxsplit=1)[0] in {"ram", "storage"} else 1}
    with pytest.raises(ValidationError, match="source"):
        read(with_(path, value))


@pytest.mark.parametrize(
    ("budget", "fits"), [("1023 KiB", True), ("1 MiB", True), ("1025 KiB", False)]
)
def test_a_budget_is_at_most_the_total(budget: str, fits: bool) -> None:
    for part in (Ram, Storage):
        data = {
            "total": {"value": "1 MiB", "source": "page"},
            "budget": {"value": budget, "source": "policy: all of it"},
        }
        if fits:
            part.model_validate(data, context=WRITTEN)
        else:
            with pytest.raises(ValidationError, match="of at most"):
                part.model_validate(data, context=WRITTEN)


@pytest.mark.parametrize(
    ("contiguous", "fits"), [("511 KiB", False), ("512 KiB", True), ("1 MiB", True)]
)
def test_a_budget_is_at_most_the_block_an_arena_can_lie_in(contiguous: str, fits: bool) -> None:
    data = {
        "total": {"value": "1 MiB", "source": "page"},
        "contiguous": {"value": contiguous, "source": "page"},
        "budget": {"value": "512 KiB", "source": "policy: half"},
    }
    if fits:
        Ram.model_validate(data, context=WRITTEN)
    else:
        with pytest.raises(ValidationError, match=r"ram\.contiguous"):
            Ram.model_validate(data, context=WRITTEN)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("title", "two\nlines"),
        ("title", "red \x1b[31m"),
        ("title", "turned \u202e"),
        ("title", "long " * 200),
        ("name", "Upper"),
        ("name", "../up"),
        ("name", ""),
        ("schema", 2),
        ("kind", "toaster"),
        ("latency.p90_ms", {"value": float("inf"), "source": "page"}),
        ("latency.p90_ms", {"value": float("nan"), "source": "page"}),
        ("latency.p90_ms", {"value": "100 ms", "source": "page"}),
        ("latency.p90_ms", {"value": 0, "source": "page"}),
        ("runtimes", []),
        ("unknown", 1),
    ],
)
def test_what_no_gate_could_use_is_refused(path: str, value: object) -> None:
    with pytest.raises(ValidationError):
        read(with_(path, value))


def test_a_count_is_not_read_out_of_text_or_truth() -> None:
    for count in ("4", True, 4.0, 0, 1025):
        data = with_("cpu.cores", [{"name": "A", "count": count, "source": "page"}])
        with pytest.raises(ValidationError):
            read(data)


def test_a_confidence_in_a_file_says_why() -> None:
    drop = {"value": 0.01, "source": "policy: one point"}
    with pytest.raises(ValidationError, match="confidence_source"):
        Accuracy.model_validate({"max_drop": drop, "confidence": 0.9}, context=WRITTEN)
    said = {"max_drop": drop, "confidence": 0.9, "confidence_source": "policy: a screening"}
    assert Accuracy.model_validate(said, context=WRITTEN).confidence == 0.9


def test_a_profile_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read(PLAIN).kind = "mcu"  # type: ignore[misc]


def test_the_published_schema_is_the_codes() -> None:
    written = device_profiles.schema_file().read_text(encoding="utf-8")
    assert written == schema_text(), (
        "python -m edgepack.profiles.schema > device_profiles/schema/profile.schema.json"
    )


def test_the_schema_names_every_field_and_forbids_others() -> None:
    schema = json.loads(schema_text())
    fields = {field.alias or name for name, field in Profile.model_fields.items()}
    assert set(schema["properties"]) == fields | {"extends"}
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False


def test_a_sourced_value_of_any_type_keeps_it() -> None:
    assert Sourced[str](value="x", source="page").value == "x"
