"""A bundle is the same bytes for the same content, and no damaged one is believed."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from edgepack.bundle import archive as bundle
from edgepack.bundle import signing
from edgepack.errors import InputError
from edgepack.gates.finding import Finding, How, Outcome
from tests.edgepack.manifests import manifest

FILES = {
    bundle.MODEL: b"TFL3 model",
    bundle.PROFILE: b"{}",
    "golden/inputs.npy": bundle.npy(np.arange(6, dtype=np.int8).reshape(2, 3)),
}


def packed() -> bytes:
    return bundle.pack(manifest(FILES), FILES, None)


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_the_same_content_gives_the_same_bytes() -> None:
    assert bundle.pack(manifest(FILES), dict(reversed(FILES.items())), None) == packed()


def test_what_was_packed_comes_back() -> None:
    back = bundle.unpack(packed(), "b")
    assert back.files == FILES
    assert back.manifest == manifest(FILES)
    assert back.array("golden/inputs.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_every_flipped_bit_is_noticed() -> None:
    good = packed()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(good), 300):
        bad = bytearray(good)
        bad[place] ^= 1 << int(rng.integers(8))
        try:
            assert bundle.unpack(bytes(bad), "b").files == FILES  # an unread zip field
        except InputError as error:
            assert str(error).startswith("b: ")


@pytest.mark.parametrize("cut", [0, 1, 30, 500])
def test_a_truncated_bundle_is_refused(cut: int) -> None:
    with pytest.raises(InputError, match="not a bundle"):
        bundle.unpack(packed()[:cut], "b")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../x", "a//x", "..\\x"])
def test_a_path_that_escapes_is_refused(name: str) -> None:
    files = {**FILES, name: b"x"}
    whole = {bundle.MANIFEST: bundle.manifest_bytes(manifest(files)), **files}
    with pytest.raises(InputError, match="would leave its folder"):
        bundle.unpack(zipped(whole), "b")


def test_a_swapped_model_is_refused() -> None:
    files = {**FILES, bundle.MODEL: b"another"}
    whole = {bundle.MANIFEST: bundle.manifest_bytes(manifest(FILES)), **files}
    with pytest.raises(InputError, match=r"model\.tflite differs from its digest"):
        bundle.unpack(zipped(whole), "b")


def test_a_member_nobody_named_is_refused() -> None:
    whole = {bundle.MANIFEST: bundle.manifest_bytes(manifest(FILES)), **FILES, "extra": b"x"}
    with pytest.raises(InputError, match="extra is not named in the manifest"):
        bundle.unpack(zipped(whole), "b")


def test_a_bundle_larger_than_the_ceiling_is_not_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = packed()
    monkeypatch.setattr(bundle, "CEILING_BYTES", 1000)
    with pytest.raises(InputError, match="more than 1,000 B unpacked"):
        bundle.unpack(data, "b")


def test_a_member_larger_than_it_declares_is_not_inflated() -> None:
    whole = {bundle.MANIFEST: bundle.manifest_bytes(manifest(FILES)), **FILES}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in whole.items():
            archive.writestr(name, data)
        archive.writestr("bomb", bytes(50_000_000))
        archive.infolist()[-1].file_size = 100
    with pytest.raises(InputError, match="bomb"):
        bundle.unpack(out.getvalue(), "b")


@pytest.mark.parametrize(
    "name", [bundle.MANIFEST, bundle.SIGNATURE, bundle.PROFILE, "labels.txt", "golden/x.npy"]
)
def test_what_is_parsed_has_a_ceiling_of_its_own(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = bundle.ceiling_of(name)
    assert most < bundle.ceiling_of(bundle.MODEL) == bundle.CEILING_BYTES
    whole = {bundle.MANIFEST: bundle.manifest_bytes(manifest(FILES)), **FILES, name: b""}
    data = zipped(whole)
    with monkeypatch.context() as patch:
        patch.setattr(bundle, "_inflated", lambda *_: pytest.fail("inflated before asked"))
        out = io.BytesIO(data)
        with zipfile.ZipFile(out, "a") as archive:
            archive.getinfo(name).file_size = most + 1
            archive.comment = b"rewritten"
        with pytest.raises(InputError, match=f"'{name}' has {most + 1:,} B; more than"):
            bundle.unpack(out.getvalue(), "b")


def test_no_bundle_is_packed_that_could_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(FILES["golden/inputs.npy"])
    monkeypatch.setattr(bundle, "_NPY_CEILING_BYTES", size)
    assert bundle.unpack(packed(), "b").files == FILES
    monkeypatch.setattr(bundle, "_NPY_CEILING_BYTES", size - 1)
    with pytest.raises(InputError, match=r"bundle m: 'golden/inputs\.npy' has"):
        packed()


def test_a_slow_packing_is_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x", bytes(1000))
    with pytest.raises(InputError, match="neither plain nor by deflate"):
        bundle.unpack(out.getvalue(), "b")


def test_numbers_that_are_none_are_refused() -> None:
    text = bundle.manifest_bytes(manifest(FILES)).replace(b'"drop": 0.0', b'"drop": NaN')
    with pytest.raises(InputError, match=r"manifest\.json: fidelity\.drop"):
        bundle.unpack(zipped({bundle.MANIFEST: text, **FILES}), "b")


def test_a_manifest_of_another_form_names_the_place() -> None:
    with pytest.raises(InputError, match=r"manifest\.json: schema"):
        bundle.unpack(zipped({bundle.MANIFEST: b"{}", **FILES}), "b")


def keys() -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    return (
        key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()),
        key.public_key().public_bytes(
            form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
        ),
    )


def test_a_signature_holds_for_its_key_and_manifest_only() -> None:
    (private, public), (_, stranger) = keys(), keys()
    data = bundle.manifest_bytes(manifest(FILES))
    mark = signing.sign(data, private, "key.pem")
    assert signing.verify(data, mark, public, "pub.pem")
    assert not signing.verify(data + b" ", mark, public, "pub.pem")
    assert not signing.verify(data, mark, stranger, "pub.pem")
    with pytest.raises(InputError, match=r"key\.pem: wanted an unencrypted Ed25519"):
        signing.sign(data, b"nonsense", "key.pem")


FINDING = Finding(
    gate="storage", verdict=Outcome.PASS, says="of 9 B", how=How.PLANNED, value=5, limit=9
)


def with_finding(**changes: object) -> bytes:
    plain: dict[str, object] = {**FINDING.as_json(), **changes}
    kept = {name: value for name, value in plain.items() if value is not ...}
    text = json.loads(bundle.manifest_bytes(manifest(FILES)))
    text["findings"] = [kept]
    return zipped({bundle.MANIFEST: json.dumps(text).encode(), **FILES})


def test_a_manifest_keeps_findings_as_the_gates_made_them() -> None:
    kept = bundle.unpack(with_finding(), "b").manifest.findings
    assert kept == (FINDING,)
    assert json.loads(bundle.manifest_bytes(manifest(FILES, findings=[FINDING.as_json()])))[
        "findings"
    ] == [FINDING.as_json()]


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"value": float("nan")}, r"findings\.0\.value"),
        ({"limit": float("-inf")}, r"findings\.0\.limit"),
        ({"verdict": "open"}, r"findings\.0\.verdict"),
        ({"how": "guessed"}, r"findings\.0\.how"),
        ({"says": None}, r"findings\.0\.says"),
        ({"extra": 1}, r"findings\.0\.extra"),
        ({"value": ...}, r"findings\.0: .*Missing: value"),
    ],
)
def test_a_finding_of_another_form_is_refused(changes: dict[str, object], place: str) -> None:
    with pytest.raises(InputError, match=rf"b: manifest\.json: {place}"):
        bundle.unpack(with_finding(**changes), "b")


def test_no_manifest_is_written_with_a_finding_it_could_not_read() -> None:
    wrong = replace(FINDING, value=float("nan"))
    plain = manifest(FILES).model_dump(by_alias=True)
    with pytest.raises(ValidationError):
        bundle.Manifest.model_validate({**plain, "findings": (wrong,)})


def test_a_manifest_of_an_older_release_keeps_its_bytes() -> None:
    old = json.loads(bundle.manifest_bytes(manifest(FILES)))
    assert not {"decision_threshold"} & old.keys()
    assert not {"columns", "float_recalls"} & old["fidelity"].keys()
    back = bundle.Manifest.model_validate(old)
    assert back.decision_threshold == 0.5
    assert json.loads(bundle.manifest_bytes(back)) == old


def test_what_a_newer_release_says_comes_back() -> None:
    column = {
        "float_score": 0.9,
        "score_now": 0.8,
        "drop": 0.1,
        "drop_interval": [0.05, 0.15],
        "constant": False,
        "range_share": 1.0,
    }
    old = json.loads(bundle.manifest_bytes(manifest(FILES)))
    old["fidelity"] |= {"float_recalls": [[1, 1], [0, 1]], "columns": [column, column]}
    new = bundle.Manifest.model_validate(old | {"decision_threshold": 0.0})
    assert (new.decision_threshold, new.fidelity.columns[1].drop) == (0.0, 0.1)
    assert bundle.Manifest.model_validate_json(bundle.manifest_bytes(new)) == new


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"samples": -1}, "greater than or equal to 0"),
        ({"drop": float("nan")}, "finite number"),
        ({"score": "luck"}, "'accuracy', 'exact_match' or 'r2'"),
        ({"more": 1}, "Unexpected keyword argument"),
        ({"columns": [{"drop": 0.0}]}, "float_score"),
    ],
)
def test_a_strange_comparison_is_refused(change: dict[str, object], says: str) -> None:
    old = json.loads(bundle.manifest_bytes(manifest(FILES)))
    old["fidelity"] |= change
    with pytest.raises(ValidationError, match=says):
        bundle.Manifest.model_validate(old)


def test_a_comparison_without_a_key_is_refused() -> None:
    old = json.loads(bundle.manifest_bytes(manifest(FILES)))
    del old["fidelity"]["recalls"]
    with pytest.raises(ValidationError, match=r"every key of a comparison\. Missing: recalls"):
        bundle.Manifest.model_validate(old)


def said(**changes: Any) -> bytes:
    """Return a bundle of FILES whose manifest says ``changes``, digests right."""
    text = json.loads(bundle.manifest_bytes(manifest(FILES)))
    return zipped({bundle.MANIFEST: json.dumps(text | changes).encode(), **FILES})


def test_a_key_that_is_there_twice_is_refused() -> None:
    """Which of the two is read is up to the reader: a signature would hold for both."""
    text = bundle.manifest_bytes(manifest(FILES)).replace(
        b'"proven"', b'"proven":false,"proven"'
    )
    with pytest.raises(
        InputError, match=r"manifest\.json: its text: the key 'proven' is twice"
    ):
        bundle.unpack(zipped({bundle.MANIFEST: text, **FILES}), "b")


def test_a_gate_has_one_finding() -> None:
    twice = [FINDING.as_json(), {**FINDING.as_json(), "verdict": "fail"}]
    with pytest.raises(InputError, match="two findings of the gate 'storage'"):
        bundle.unpack(said(findings=twice, verdict="fail", proven=False), "b")


@pytest.mark.parametrize("found", ["fail", "inconclusive"])
@pytest.mark.parametrize(
    ("claim", "proven", "refused"),
    [("pass", False, "verdict"), ("fail", True, "proven"), ("fail", False, "")],
)
def test_a_claim_that_its_own_findings_deny_is_refused(
    found: str, claim: str, proven: bool, refused: str
) -> None:
    data = said(
        findings=[{**FINDING.as_json(), "verdict": found}], verdict=claim, proven=proven
    )
    if not refused:
        assert bundle.unpack(data, "b").manifest.findings[0].verdict == found
        return
    with pytest.raises(InputError, match=rf"{refused}: claims .*'storage' is {found}"):
        bundle.unpack(data, "b")


@pytest.mark.parametrize("field", ["findings", "steps", "notes", "labels"])
def test_a_flood_of_mistakes_ends_at_the_first(field: str) -> None:
    """A million empty findings took 49 s and 2.7 GiB to list as a million mistakes."""
    text = json.loads(bundle.manifest_bytes(manifest(FILES))) | {field: [{}] * 50}
    with pytest.raises(ValidationError) as caught:
        bundle.Manifest.model_validate_json(json.dumps(text))
    assert {error["loc"][1] for error in caught.value.errors()} == {0}


def test_labels_of_the_app_are_those_of_the_gates() -> None:
    for text, held in ((b"healthy\nill\n", True), (b"ill\nhealthy\n", False), (b"", False)):
        files = {**FILES, bundle.LABELS: text}
        data = bundle.pack(manifest(files, labels=["healthy", "ill"]), files, None)
        if held:
            assert bundle.unpack(data, "b").files[bundle.LABELS] == text
        else:
            with pytest.raises(InputError, match=r"labels\.txt and the labels of"):
                bundle.unpack(data, "b")
