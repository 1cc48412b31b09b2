"""Results told for people: one self-contained page; a pure function of the bundles."""

from edgepack.report.html import page

__all__ = ["page"]
