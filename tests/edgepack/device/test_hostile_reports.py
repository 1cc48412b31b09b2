"""Whatever a device sends: a judged report or one clear error, and never a measured number."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from edgepack.device import description
from edgepack.device.backends.backend import expected_of
from edgepack.errors import InputError
from edgepack.gates import device as judging
from edgepack.gates.finding import How, Outcome
from edgepack.measurements import device_report

#: What breaks parsers and arithmetic, in the place of any one value.
NASTY: tuple[str, ...] = (
    *("null", "true", '""', "[]", "{}", "[[]]", '"0"', "-1", "0", "0.5", "-0.0"),
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "9" * 400, "1e999999999"),
    *('"../../etc/passwd"', '"/data/x"', '"a\\u0000b"', '"\\ud800"', '"\\u202e"', '"x\\ny"'),
    *("[" + "0," * 20000 + "0]", "[" * 2000 + "]" * 2000, '"' + "f" * 100_000 + '"'),
)


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of every value in a JSON document, the whole one included."""
    if isinstance(value, dict):
        return [path, *(leaf for k, v in value.items() for leaf in leaves(v, (*path, k)))]
    if isinstance(value, list):
        return [
            path,
            *(leaf for i, v in enumerate(value[:2]) for leaf in leaves(v, (*path, i))),
        ]
    return [path]


def with_nasty(plain: Any, path: tuple[str | int, ...], nasty: str) -> bytes:
    """Return the document's text with that value's text in its place."""
    mark = "\u2603"
    copied: Any = {"": json.loads(json.dumps(plain))}
    place = copied
    for step in ("", *path[:-1]) if path else ():
        place = place[step]
    place[path[-1] if path else ""] = mark
    text = json.dumps(copied[""], ensure_ascii=False)
    return text.replace(f'"{mark}"', nasty).encode("utf-8", "surrogatepass")


def measured(agreed: Any, data: bytes) -> dict[str, Any]:
    """Return what such a report would replace, by gate; nothing where it is no report."""
    try:
        report = device_report.read(data, "r")
    except InputError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1000
        return {}
    found = judging.judge(report, agreed.profile, agreed.expected)
    assert device_report.read(device_report.text(report), "its own text again") == report
    shown = [f for f in found.findings if f.how is How.MEASURED and f.gate != "device_goldens"]
    return {f.gate: f.value for f in shown}


def test_one_nasty_value_anywhere_is_refused_or_changes_no_number(agreed: Any) -> None:
    plain = json.loads(agreed.text())
    honest = measured(agreed, agreed.text().encode())
    assert honest == {"latency": pytest.approx(59.6), "peak_ram": 2 * 2**20}
    harmless = set()
    for path in leaves(plain):
        for nasty in NASTY:
            found = measured(agreed, with_nasty(plain, path, nasty))
            if path[:1] != ("memory",):  # other numbers there are another device's truth
                assert found in ({}, honest), (path, nasty[:40])
            if found:
                harmless.add(path)
    proofs = [("identity",), ("schema",), ("ending",), ("goldens", "outputs_hex")]
    proofs += [("bundle", "sha256"), ("bundle", "model_sha256"), ("backend", "sha256")]
    assert not harmless & set(proofs)
    assert ("backend", "version") in harmless  # so the changes above really were judged


def test_a_piece_lost_or_doubled_on_the_way_changes_no_number(agreed: Any) -> None:
    rng = random.Random(0)
    whole = agreed.text().encode()
    honest = measured(agreed, whole)
    for _ in range(400):
        start, size = rng.randrange(len(whole)), rng.randrange(1, 200)
        lost = whole[:start] + whole[start + size :]
        doubled = whole[: start + size] + whole[start:]
        for data in (lost, doubled, whole[:start]):
            assert measured(agreed, data) in ({}, honest), data


@pytest.mark.parametrize("schema", ["edgepack.device-report/2", "edgepack.device-report/10"])
def test_a_later_schema_is_refused_with_the_remedy(agreed: Any, schema: str) -> None:
    with pytest.raises(InputError, match="run it again with this edgepack's harness"):
        device_report.read(agreed.text(schema=schema, unknown_part=1).encode(), "r")


def test_a_report_of_another_bundle_replaces_nothing(agreed: Any) -> None:
    """A true report, played again for another bundle of the very same model."""
    report = agreed.report()
    other = expected_of(agreed.bundle, "3" * 64)
    found = judging.judge(report, agreed.profile, other)
    merged = judging.merge_findings(agreed.bundle.manifest.findings, found, ())
    assert [f.how for f in merged.findings if f.gate == "latency"] == [How.ESTIMATED]
    assert found.outcome is Outcome.FAIL


def test_a_clock_that_is_wrong_changes_no_number(agreed: Any) -> None:
    """Times are durations of a monotonic clock; only ``started_at`` is the wall's."""
    honest = measured(agreed, agreed.text().encode())
    for said in ("2000-01-01T00:00:00Z", "2099-12-31T23:59:59Z"):
        assert measured(agreed, agreed.text(started_at=said).encode()) == honest
    backwards = [58.0] * 1023 + [-3.0]
    assert not measured(agreed, agreed.text(run__samples_ms=backwards).encode())
    slept = agreed.text(run__seconds=10.0)  # less than its own times add up to
    assert not measured(agreed, slept.encode())


class Babbling:
    """A device that answers every question with the same noise."""

    name, folder = "babbling", "/x"

    def __init__(self, noise: str) -> None:
        self.noise = noise

    def shell(self, command: str) -> str:
        return self.noise


NUMBERS = ("0", "-1", "10000", "99999", "9" * 40, "9" * 5000, "1e99", "0x10", "\u0663", "")


@pytest.mark.parametrize("number", NUMBERS)
def test_whatever_a_shell_answers_is_a_device_and_a_state(number: str) -> None:
    """An Android between two releases says API level 10000; a vendor's kernel says anything."""
    answers = (
        number,
        f"[ro.build.fingerprint]: [a/b]\n[ro.build.version.sdk]: [{number}]\n"
        f"[ro.product.model]: [\x1b[31m{number}\u202e]\n[ro.product.cpu.abi]: [{number}]",
        f"MemTotal: {number} kB",
        f"@battery\n level: {number}\n temperature: {number}\n AC powered: {number}\n@thermal\n"
        f"Thermal Status: {number}\n@zones\n{number}\n@governor\n{number}\x00\n@clocks\n"
        f"{number}\n@saver\n{number}\n@end",
    )
    for noise in answers:
        link: Any = Babbling(noise)
        device, state = description.read_device(link), description.read_conditions(link)
        assert 1 <= device.cpus <= 1024
        assert device.model.isprintable()
        assert state.battery_percent is None or state.battery_percent <= 100
