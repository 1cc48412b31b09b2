"""Images that stand in for devices: what exists, how it is made, what is stale."""

from edgepack.runtimes.images.maker import build
from edgepack.runtimes.images.shelf import Listed, find, listing
from edgepack.runtimes.images.spec import ARCHES, ImageSpec, choose, known

__all__ = ["ARCHES", "ImageSpec", "Listed", "build", "choose", "find", "known", "listing"]
