"""What is in a bundle: one reproducible zip whose manifest vouches for every byte in it.

A bundle from elsewhere is hostile until ``unpack`` has checked it: names, sizes, digests
and the manifest's own form, before anything in it is used.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from edgepack.errors import InputError
from edgepack.files import sha256
from edgepack.gates.absolute_accuracy import AccuracyScore
from edgepack.gates.accuracy import HALF, AccuracyComparison
from edgepack.gates.expected import Origin
from edgepack.gates.finding import Finding, Outcome
from edgepack.npy import NotPlainError, read_npy

SUFFIX = ".edgepack"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
MODEL, PROFILE, LABELS = "model.tflite", "profile.json", "labels.txt"
CEILING_BYTES = 1024**3
#: Largest of each member whose whole content is parsed, far above any that was ever packed
#: (a manifest of 46 devices' gates is 20 KiB, an ImageNet label file 30 KiB): a parser takes
#: many times the bytes that it reads. The others are only measured and compared.
_MEMBER_CEILINGS = {
    MANIFEST: 4 * 1024**2,
    SIGNATURE: 4 * 1024,
    PROFILE: 1024**2,
    LABELS: 4 * 1024**2,
}
_NPY_CEILING_BYTES = 512 * 1024**2
_PIECE_BYTES = 1024**2
_MEMBERS = 512
# The oldest moment a zip can name: a bundle must not change with the clock.
_EPOCH = (1980, 1, 1, 0, 0, 0)


_Parsed = TypeVar("_Parsed", bound=BaseModel)


class _StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


RowCount = Annotated[int, Field(ge=0, le=2**31)]


class Member(_StrictModel):
    """One file of the bundle."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0, le=CEILING_BYTES)


class TensorSpec(_StrictModel):
    """The model's input or output, without its batch of one."""

    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


#: What later releases added to a manifest, and how a bundle that lacks it is read. Left out
#: where it says no more than that: what an older release wrote and signed stays those bytes.
_LATER: dict[str, Any] = {
    "decision_threshold": HALF,
    "origin": "keras",
    "score": None,
    "min_accuracy": None,
}
_LATER_COMPARED: dict[str, Any] = {"float_recalls": [], "columns": []}


def _whole(kind: type[Finding] | type[AccuracyComparison], what: str) -> BeforeValidator:
    """Refuse ``what`` from a file that leaves one of its first release's keys out."""
    keys = frozenset(field.name for field in fields(kind)) - _LATER_COMPARED.keys()

    def checked(given: object) -> object:
        absent = keys - given.keys() if isinstance(given, dict) else frozenset[str]()
        if absent:
            raise ValueError(
                f"wanted every key of {what}. Missing: {', '.join(sorted(absent))}"
            )
        return given

    return BeforeValidator(checked)


KeptFinding = Annotated[Finding, _whole(Finding, "a finding")]
KeptComparison = Annotated[AccuracyComparison, _whole(AccuracyComparison, "a comparison")]


class Step(_StrictModel):
    """What one stage gained and lost.

    Attributes:
        score, score_name: on the test part, by the stage's own model.
        flatbuffer_bytes, download_bytes: of the stage's model as int8 (float for the first).
        zeros_share: of all kernel weights; codes: most distinct values in one kernel.
    """

    stage: str
    score_name: str
    score: float
    flatbuffer_bytes: int = Field(ge=0, le=CEILING_BYTES)
    download_bytes: int = Field(ge=0, le=CEILING_BYTES)
    zeros_share: float = Field(ge=0, le=1)
    codes: int = Field(ge=0, le=CEILING_BYTES)


class Provenance(_StrictModel):
    """Digests and versions of all that a bundle was made from.

    What an older or newer edgepack wrote is kept as it was written, key by key: the
    manifest is under a signature.

    Attributes:
        edgepack, packages: versions of what made it.
        model_sha256, model_kind: of the user's model file.
        bridge_max_abs_diff: how far the rebuilt model was from it (Keras 3), else null.
        data_sha256: of all samples.
        recipe, stages: its name, and each step as (class, settings).
        seed, augment: of the training.
        teacher_sha256: of another model that was learned from, else null.
        reference_sha256, reference_kind: of the float model that one which came as a .tflite
            was compared with, else null.
    """

    model_config = ConfigDict(extra="allow")

    edgepack: str = ""
    packages: dict[str, str] = Field(default_factory=dict)
    model_sha256: str = ""
    model_kind: str = ""
    bridge_max_abs_diff: float | None = None
    data_sha256: str = ""
    recipe: str = ""
    stages: tuple[tuple[str, dict[str, JsonValue]], ...] = ()
    seed: int = 0
    augment: tuple[str, ...] = ()
    teacher_sha256: str | None = None
    reference_sha256: str | None = None
    reference_kind: str | None = None

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if key in self.model_fields_set}


class Manifest(_StrictModel):
    """The bundle in words and digests.

    Attributes:
        verdict: of all gates together when the bundle was built.
        proven: every gate passed; an inconclusive one leaves it false.
        decision_threshold: above which one output means class 1, and each of a multi-label
            model's that its label is there; 0 for logits.
        origin: ``tflite`` of a model that was bundled as it came; it is asked nothing about
            calibration rows, which nobody knows.
        fidelity: how it compares with its float model; None where there is none.
        score: how good it is by itself, where there is no float model.
        min_accuracy: the least score that its user named, asked again by whoever validates.
        provenance: digests and versions of all that the bundle was made from.
    """

    schema_version: Literal["edgepack.bundle/1"] = Field(alias="schema")
    name: str = Field(min_length=1, max_length=200)
    profile: str = Field(min_length=1, max_length=200)
    task: Literal["classification", "multilabel", "regression", "reconstruction"]
    verdict: Outcome
    proven: bool
    input: TensorSpec
    output: TensorSpec
    labels: Annotated[tuple[str, ...], FailFast()] = ()
    decision_threshold: float = HALF
    origin: Origin = "keras"
    min_accuracy: float | None = Field(default=None, gt=0, le=1)
    preprocessing: str
    golden_rows: RowCount
    evidence_rows: RowCount
    test_rows: RowCount
    findings: Annotated[tuple[KeptFinding, ...], FailFast()]
    fidelity: KeptComparison | None
    score: AccuracyScore | None = None
    steps: Annotated[tuple[Step, ...], FailFast()]
    notes: Annotated[tuple[str, ...], FailFast()]
    provenance: Provenance
    files: Annotated[dict[str, Member], Field(max_length=_MEMBERS)]

    @model_validator(mode="after")
    def _compared_or_scored(self) -> Manifest:
        if self.fidelity is None and (self.origin == "keras" or self.score is None):
            raise ValueError(
                "fidelity: wanted the comparison with the float model, or the score of a"
                " .tflite that came without one. Received: neither"
            )
        return self

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Manifest:
        """Refuse two answers to one question: which of them is read would be chance."""
        gates: set[str] = set()
        for finding in self.findings:
            if finding.gate in gates:
                raise ValueError(f"findings: two findings of the gate {finding.gate!r}")
            gates.add(finding.gate)
        claims = "verdict" if self.verdict is Outcome.PASS else "proven" if self.proven else ""
        other = next((f for f in self.findings if f.verdict is not Outcome.PASS), None)
        if claims and other is not None:
            raise ValueError(
                f"{claims}: claims that every gate passed, but {other.gate!r} is"
                f" {other.verdict.value}"
            )
        return self


@dataclass(frozen=True, slots=True)
class Bundle:
    """An unpacked bundle whose digests were checked."""

    manifest: Manifest
    files: Mapping[str, bytes]

    @property
    def model(self) -> bytes:
        """The .tflite."""
        return self.files[MODEL]

    def array(self, name: str) -> NDArray[Any]:
        """Return a member .npy.

        Raises:
            InputError: absent, or not an array without pickles.
        """
        if name not in self.files:
            raise InputError(f"{self.manifest.name}: the bundle holds no {name}")
        data = self.files[name]
        try:
            return read_npy(io.BytesIO(data), len(data))
        except NotPlainError as error:
            raise InputError(
                f"{self.manifest.name}: {name} is no plain array: {error}"
            ) from error


def npy(array: NDArray[Any]) -> bytes:
    """Return ``array`` as the bytes of an .npy file."""
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(array), allow_pickle=False)
    return out.getvalue()


def members(files: Mapping[str, bytes]) -> dict[str, Member]:
    """Return the manifest's entries of ``files``."""
    return {
        name: Member(sha256=sha256(data), bytes=len(data))
        for name, data in sorted(files.items())
    }


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the manifest as it is written and signed: sorted, indented, one trailing line."""
    plain = manifest.model_dump(mode="json", by_alias=True)
    for table, later in ((plain, _LATER), (plain["fidelity"] or {}, _LATER_COMPARED)):
        for name, default in later.items():
            if name in table and table[name] == default:
                del table[name]
    return (json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def ceiling_of(name: str) -> int:
    """Return the most bytes that a member of this name may have."""
    if name.endswith(".npy"):
        return min(_NPY_CEILING_BYTES, CEILING_BYTES)
    return min(_MEMBER_CEILINGS.get(name, CEILING_BYTES), CEILING_BYTES)


def pack(manifest: Manifest, files: Mapping[str, bytes], signature: bytes | None) -> bytes:
    """Return the bundle's bytes: the same for the same content, whatever the day.

    Raises:
        InputError: a member larger than ``unpack`` takes.
    """
    whole = {MANIFEST: manifest_bytes(manifest), **dict(sorted(files.items()))}
    if signature is not None:
        whole[SIGNATURE] = signature
    for name, data in whole.items():
        _refuse_large(name, len(data), f"bundle {manifest.name}")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in whole.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, compresslevel=9)
    return out.getvalue()


def unpack(data: bytes, where: str) -> Bundle:
    """Return the checked bundle in ``data``.

    Raises:
        InputError: not a bundle, damaged, too large, a name that escapes, a member that
            the manifest does not name or whose digest differs.
    """
    files = _extract(data, where)
    if MANIFEST not in files:
        raise InputError(f"{where}: not a bundle: it holds no {MANIFEST}")
    manifest = parsed(Manifest, files.pop(MANIFEST), f"{where}: {MANIFEST}")
    signed = {name: data for name, data in files.items() if name != SIGNATURE}
    strange = sorted(signed.keys() ^ manifest.files.keys())
    if strange:
        absent = strange[0] in manifest.files
        raise InputError(
            f"{where}: {strange[0]} is {'missing' if absent else 'not named in the manifest'}"
        )
    for name, member in manifest.files.items():
        if sha256(signed[name]) != member.sha256:
            raise InputError(f"{where}: {name} differs from its digest; get the bundle again")
    for needed in (MODEL, PROFILE):
        if needed not in signed:
            raise InputError(f"{where}: not a bundle: it holds no {needed}")
    if LABELS in signed and signed[LABELS] != labels_bytes(manifest.labels):
        # An app reads the one, the gates the other.
        raise InputError(
            f"{where}: {LABELS} and the labels of {MANIFEST} differ; get the bundle again"
        )
    return Bundle(manifest, files)


def labels_bytes(labels: Sequence[str]) -> bytes:
    """Return the class names as a bundle's ``labels.txt``, a line each."""
    return ("\n".join(labels) + "\n").encode()


def parsed(kind: type[_Parsed], text: bytes, where: str) -> _Parsed:
    """Return the ``kind`` that the JSON of a member says.

    Raises:
        InputError: no JSON, a key twice in one object, or of another form.
    """
    try:
        value = kind.model_validate_json(text)
        json.loads(text, object_pairs_hook=_refuse_twice)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "its text"
        raise InputError(f"{where}: {place}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: its text: {error}") from error
    return value


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object with a key twice: JSON readers differ in which of them they take."""
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise ValueError(f"the key {name[:80]!r} is twice in one object")
        names.add(name)


def _extract(data: bytes, where: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if len(entries) > _MEMBERS or len(set(names)) != len(names):
                raise InputError(f"{where}: {len(entries)} members, some twice; refused")
            if sum(entry.file_size for entry in entries) > CEILING_BYTES:
                raise InputError(f"{where}: more than {CEILING_BYTES:,} B unpacked; refused")
            for entry in entries:
                _refuse_large(entry.filename, entry.file_size, where)
            for name in names:
                parts = name.split("/")
                if name.startswith("/") or "\\" in name or {"", ".", ".."} & set(parts):
                    raise InputError(
                        f"{where}: member {name!r} would leave its folder; refused"
                    )
            return {entry.filename: _inflated(archive, entry, where) for entry in entries}
    except InputError:
        raise
    except Exception as error:
        # A hostile zip can raise from zipfile, zlib, lzma or struct; all mean the same.
        raise InputError(
            f"{where}: not a bundle, or truncated or damaged ({type(error).__name__}: {error})"
        ) from error


def _refuse_large(name: str, size_bytes: int, where: str) -> None:
    most = ceiling_of(name)
    if size_bytes > most:
        remedy = (
            "pack fewer rows with --evidence" if name.endswith(".npy") else "build it again"
        )
        raise InputError(
            f"{where}: {name[:200]!r} has {size_bytes:,} B; more than {most:,} B is refused;"
            f" {remedy}"
        )


def _inflated(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str) -> bytes:
    """Return a member, reading no further than the size it declares."""
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise InputError(f"{where}: {entry.filename} is packed neither plain nor by deflate")
    held = io.BytesIO()  # hands its bytes on without another copy
    with archive.open(entry) as member:
        while held.tell() < entry.file_size and (piece := member.read(_PIECE_BYTES)):
            held.write(piece)
        if held.tell() != entry.file_size or member.read(1):
            raise InputError(
                f"{where}: {entry.filename} is not as large as it declares; refused"
            )
    return held.getvalue()
