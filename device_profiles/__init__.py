"""The device catalogue: one TOML file a device, a source beside every number.

This package holds data only; ``edgepack.profiles.catalogue`` reads it. Files here are devices,
files in ``families/`` are what devices inherit with ``extends``.
"""

from __future__ import annotations

from pathlib import Path


def folder() -> Path:
    """Return the folder that holds the built-in profiles."""
    return Path(__file__).parent


def schema_file() -> Path:
    """Return the JSON Schema of a whole profile, as generated from the code."""
    return folder() / "schema" / "profile.schema.json"
