"""The report a device sends back, as strict data: it comes from outside and is not trusted.

One report is one run: one back end, one delegate, one number of threads. The JSON Schema in
``android_harness/schema`` is made from these classes and a test holds them equal.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from edgepack.errors import InputError
from edgepack.files import digest_of
from edgepack.measurements.report_model import (
    BackendName,
    BackendRef,
    BundleRef,
    Conditions,
    DelegateAvailability,
    Device,
    Goldens,
    Memory,
    Run,
    RunSettings,
    RuntimeRef,
    Sha256,
    StrictModel,
)
from edgepack.profiles.hardware import Text

SCHEMA = "edgepack.device-report/1"
CEILING_BYTES = 64 * 2**20


class Report(StrictModel):
    """One run on one device.

    Attributes:
        ending: ``ok``; ``unavailable`` (no such delegate there); ``error`` or ``crash``.
            Only ``ok`` has a run.
        identity: what the caller asked for, so that a report is taken for that run only.
    """

    schema_version: Literal["edgepack.device-report/1"] = Field(alias="schema")
    identity: Sha256
    started_at: Annotated[
        str, Field(pattern=r"^20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\dZ$")
    ]
    ending: Literal["ok", "unavailable", "error", "crash"]
    says: Text
    backend: BackendRef
    bundle: BundleRef
    device: Device
    runtime: RuntimeRef
    before: Conditions
    after: Conditions
    run: Run | None = None
    memory: Memory | None = None
    goldens: Goldens | None = None
    delegates: Annotated[tuple[DelegateAvailability, ...], Field(max_length=8)] = ()

    @model_validator(mode="after")
    def _run_only_if_ok(self) -> Report:
        if (self.ending == "ok") != (self.run is not None):
            raise ValueError(
                f"wanted a run if, and only if, the ending is ok. Received: {self.ending}"
            )
        return self

    @property
    def answered_identity(self) -> str | None:
        """The identity of the run that the report is really about; None where none ran."""
        if self.run is None:
            return None
        backend, settings = self.backend, self.run.settings
        return run_identity(self.bundle.sha256, backend.name, backend.sha256, settings)


def run_identity(
    bundle_sha256: str, backend: BackendName, backend_sha256: str | None, settings: RunSettings
) -> str:
    """Return the digest that identifies one run, 64 hexadecimal digits."""
    return digest_of(
        "edgepack.device-run/1",
        bundle_sha256,
        backend,
        backend_sha256,
        settings.mode,
        settings.delegate,
        settings.threads,
        settings.affinity,
        settings.warmup,
    )


def read(data: bytes, where: str) -> Report:
    """Return the report in ``data``.

    Raises:
        InputError: too large, no JSON, or not of the schema; names the first wrong key.
    """
    if len(data) > CEILING_BYTES:
        raise InputError(
            f"{where}: {len(data):,} B; a report above {CEILING_BYTES:,} B is refused"
        )
    try:
        return Report.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "its text"
        raise InputError(
            f"{where}: no report of {SCHEMA}: {place}: {first['msg']}; run it again with this"
            " edgepack's harness"
        ) from error


def text(report: Report) -> bytes:
    """Return the report as it is kept: the same bytes for the same report."""
    plain = report.model_dump(mode="json", by_alias=True)
    return (json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a report."""
    made = Report.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **made}


def schema_text() -> str:
    """Return the schema as ``android_harness/schema/device_report.schema.json`` holds it."""
    return json.dumps(schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
