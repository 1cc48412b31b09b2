"""Results for people: one self-contained page; a pure function of the bundles."""

from edgepack.report.page import page

__all__ = ["page"]
