"""What a build made, as files, as one JSON object, and as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepack.cli import output
from edgepack.gates.finding import Outcome
from edgepack.units import format_bytes

if TYPE_CHECKING:
    from edgepack.pipeline.pack import Product


def write(products: Sequence[Product], out: Path, *, strict: bool) -> dict[str, Path]:
    """Write what may be written, and return where, by profile.

    Never a failed bundle; with ``strict`` no open one. One of an earlier build stays, and
    is named on stderr: it is not what this build has to show.
    """
    from edgepack.pipeline.pack import place

    paths: dict[str, Path] = {}
    for product in products:
        open_ = product.verdict.outcome is Outcome.INCONCLUSIVE
        path = place(out, product.result.options.name, product.profile.name)
        if product.data is None or (open_ and strict):
            if path.exists():
                output.warn(f"{path}: of an earlier build; this one gives no bundle")
            continue
        paths[product.profile.name] = product.save(out)
    return paths


def as_json(
    products: Sequence[Product],
    paths: dict[str, Path],
    seconds: float,
) -> dict[str, Any]:
    """Return the object of ``build --json``."""
    from edgepack.files import sha256

    outcomes = [product.verdict.outcome for product in products]
    made = [
        output.as_json(
            "edgepack.product/1",
            product.verdict,
            profile=product.profile.name,
            bundle=str(paths[product.profile.name]) if product.profile.name in paths else None,
            bundle_sha256=sha256(product.data) if product.data else None,
            fidelity=_comparison(product),
            score=_score(product),
            steps=[step.model_dump() for step in product.result.evaluation.steps],
            notes=list(product.result.notes),
        )
        for product in products
    ]
    return {
        "schema": "edgepack.build/1",
        "verdict": output.worst(outcomes).value,
        "findings": [f | {"profile": m["profile"]} for m in made for f in m["findings"]],
        "seconds": round(seconds, 1),
        "products": made,
    }


def show(products: Sequence[Product], paths: dict[str, Path], seconds: float) -> None:
    """Print what each step gained and lost, then each device's judgement."""
    # Devices may be given different files; without answers a file has no steps to show.
    first = next((p for p in products if p.result.evaluation.steps), products[0]).result
    steps = first.evaluation.steps
    if steps:
        rows = f"{len(first.evaluation.targets):,} test samples"
        output.table(
            f"What each step gained and lost ({rows})",
            ("step", steps[0].score_name, "flatbuffer", "download", "zeros", "values/kernel"),
            [
                (
                    step.stage,
                    f"{step.score:.4f}",
                    format_bytes(step.flatbuffer_bytes),
                    format_bytes(step.download_bytes),
                    f"{step.zeros_share:.1%}",
                    str(step.codes),
                )
                for step in steps
            ],
        )
    for note in first.notes:
        output.print_lines(f"note: {note}")
    for product in products:
        output.print_lines("")
        output.print_verdict(product.profile.title, product.profile.name, product.verdict)
        path = paths.get(product.profile.name)
        if path is not None:
            mark = "" if product.verdict.outcome is Outcome.PASS else " (marked unproven)"
            output.print_lines(f"  bundle: {path}{mark}")
        else:
            output.print_lines("  no bundle was written")
    output.print_lines("", f"{seconds:.0f} s in all")


def _comparison(product: Product) -> dict[str, Any] | None:
    found = product.result.comparison
    return None if found is None else found.as_json()


def _score(product: Product) -> dict[str, Any] | None:
    found = product.result.score
    return None if found is None else found.as_json()
