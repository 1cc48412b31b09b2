"""One HTML page of bundles, with nothing fetched and nothing run: style inline, no script.

Every text comes from a bundle and is escaped; a bundle may be hostile.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from edgepack.bundle.archive import MODEL, Bundle, Manifest
from edgepack.bundle.validation import profile_of
from edgepack.tflite.facts import compressed_size
from edgepack.units import format_bytes


def page(bundles: Sequence[tuple[Bundle, str]]) -> str:
    """Return the page about ``(bundle, its SHA-256)`` pairs, in the given order."""
    from jinja2 import Environment

    frame = Environment(autoescape=True, trim_blocks=True)
    text = (resources.files("edgepack.report") / "page.html.j2").read_text("utf-8")
    shown = [_shown(bundle, digest) for bundle, digest in bundles]
    scores = {str(b["score_name"]) for b in shown}
    return frame.from_string(text).render(
        bundles=shown, size=format_bytes, score=" / ".join(sorted(scores))
    )


def _shown(bundle: Bundle, digest: str) -> dict[str, Any]:
    manifest = bundle.manifest
    name, score, comparison = _accuracy(manifest)
    return {
        "name": manifest.name,
        "title": profile_of(bundle).title,
        "verdict": manifest.verdict.value,
        "proven": manifest.proven,
        "score": score,
        "score_name": name,
        "flatbuffer": format_bytes(len(bundle.files[MODEL])),
        "download": format_bytes(compressed_size(bundle.files[MODEL])),
        "comparison": comparison,
        "findings": [finding.as_json() for finding in manifest.findings],
        "steps": [step.model_dump() for step in manifest.steps],
        "notes": manifest.notes,
        "provenance": [
            (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for key, value in manifest.provenance.model_dump(mode="json").items()
        ],
        "digest": digest,
    }


def _accuracy(manifest: Manifest) -> tuple[str, float, str]:
    """Return the score's name, its value, and a sentence about it."""
    found, alone = manifest.fidelity, manifest.score
    if found is not None:
        low, high = found.drop_interval
        says = (
            f"{found.score} {found.score_now:.4f} against {found.float_score:.4f}"
            f" of the float model: drop {found.drop:+.4f} [{low:+.4f}, {high:+.4f}] on"
            f" {found.samples:,} test samples."
        )
        return found.score, found.score_now, says
    assert alone is not None  # a manifest has one of the two
    low, high = alone.interval
    says = (
        f"{alone.score} {alone.value:.4f} [{low:.4f}, {high:.4f}] on {alone.samples:,} test"
        " samples, without a float model to compare with."
    )
    return alone.score, alone.value, says
