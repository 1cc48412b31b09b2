"""edgepack: Keras models in, proven bundles for low-end devices out.

What a program may call is documented in ``edgepack.api``; these are the same names. They
are looked up when they are first asked for, so that ``import edgepack`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from edgepack.version import __version__

if TYPE_CHECKING:
    from edgepack.api import (
        BenchOptions,
        BenchResult,
        Bundle,
        Finding,
        Outcome,
        Product,
        Profile,
        Verdict,
        bench,
        build,
        bundle_tflite,
        check,
        load_bundle,
        load_profile,
        validate,
    )

__all__ = [
    "BenchOptions",
    "BenchResult",
    "Bundle",
    "Finding",
    "Outcome",
    "Product",
    "Profile",
    "Verdict",
    "__version__",
    "bench",
    "build",
    "bundle_tflite",
    "check",
    "load_bundle",
    "load_profile",
    "validate",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("edgepack.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
