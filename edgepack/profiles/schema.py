"""The JSON Schema of a profile, for editors and for tools that do not speak Python.

``python -m edgepack.profiles.schema > device_profiles/schema/profile.schema.json``
"""

from __future__ import annotations

import json
import sys
from typing import Any

from edgepack.profiles.profile import Profile


def schema_text() -> str:
    """Return the schema of a whole profile, as ``edgepack profiles show`` prints it.

    A file that ``extends`` another may leave out what it inherits, so the schema requires
    nothing there; everywhere it forbids unknown keys and bare numbers of bytes.
    """
    schema: dict[str, Any] = Profile.model_json_schema(by_alias=True)
    required = schema.pop("required")
    schema["properties"]["extends"] = {
        "type": "string",
        "pattern": "^[a-z0-9][a-z0-9.-]*$",
        "description": "Profile or family whose tables this one is laid over.",
    }
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "anyOf": [{"required": ["extends"]}, {"required": required}],
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
