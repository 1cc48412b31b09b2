"""The self-contained C bundle: what an engineer drops into a project, path -> content."""

from __future__ import annotations

from edgepack.firmware.compiler import c99
from edgepack.firmware.compiler.lower.program import Program
from edgepack.firmware.goldens import GoldenVectors, golden_header, shipped_vectors
from edgepack.firmware.package import layouts


def c_bundle(program: Program, name: str, goldens: GoldenVectors) -> dict[str, bytes]:
    """Return sources, self-test and every layout of a compiled model.

    The same model, name and goldens give the same bytes.

    Raises:
        UsageError: ``name`` is not a C identifier.
    """
    sources = c99.sources(program, name)
    facts, vectors = program.facts, shipped_vectors(goldens)
    output = facts.outputs[0].dtype
    constants = sum(a.bytes for a in c99.constants(program))
    table = {
        "RAM (arena)": f"{program.arena_bytes:,} B, planned; a stack of a few hundred besides",
        "Flash (constants)": f"{constants:,} B, planned; the code besides",
    }
    state = f"\nThe model keeps a state: call `{name}_reset()` before each sequence.\n"
    values = {
        **layouts.name_values(name),
        **layouts.model_ends(facts, name),
        "output_ctype": "float" if output == "float32" else f"{output}_t",
        "facts": layouts.facts(facts, table),
        "state": state if program.states else "",
        "paragraph": f"{name} as self-contained C99, made by edgepack",
    }
    files = {f"src/{path}": text for path, text in sources.items()}
    files |= {
        f"src/{name}_golden.h": golden_header(vectors, facts, name).encode(),
        f"src/{name}_self_test.h": layouts.fill("c/self_test.h", values),
        f"src/{name}_self_test.c": layouts.fill("c/self_test.c", values),
        "test/main.c": layouts.fill("c/main.c", values),
    }
    return files | layouts.packaging(values, cpp=False)
