"""``edgepack check``: the static gates for anybody's .tflite; no TensorFlow, no engine."""

from __future__ import annotations

from edgepack.cli import output
from edgepack.cli.options import Json, Profiles, Strict, TfliteFile


def check(
    model: TfliteFile,
    profile: Profiles,
    json_: Json = False,
    strict: Strict = False,
) -> int:
    """Run the static gates of a .tflite for given devices."""
    from edgepack.errors import InputError
    from edgepack.file_kinds import read_tflite
    from edgepack.gates.static import check as judge
    from edgepack.profiles import catalogue

    devices = catalogue.load_all(profile)
    data = read_tflite(model)
    try:
        judged = [(device, judge(data, device)[1]) for device in devices]
    except InputError as error:
        raise InputError(f"{model}: {error}") from error
    outcomes = [verdict.outcome for _, verdict in judged]
    if json_:
        found = [
            finding.as_json() | {"profile": device.name}
            for device, verdict in judged
            for finding in verdict.findings
        ]
        output.print_json(
            {
                "schema": "edgepack.check/2",
                "model": str(model),
                "verdict": output.worst(outcomes).value,
                "findings": found,
                "verdicts": {device.name: v.outcome.value for device, v in judged},
            }
        )
    else:
        for device, verdict in judged:
            output.print_verdict(f"{model.name} on {device.title}", device.name, verdict)
    return output.exit_code(outcomes, strict)
