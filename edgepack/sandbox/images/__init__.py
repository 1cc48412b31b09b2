"""Images that stand in for devices: what exists, how it is made, what is stale."""

from edgepack.sandbox.images.inventory import Listed, find, listing
from edgepack.sandbox.images.maker import build
from edgepack.sandbox.images.spec import ARCHES, ImageSpec, choose, known

__all__ = ["ARCHES", "ImageSpec", "Listed", "build", "choose", "find", "known", "listing"]
