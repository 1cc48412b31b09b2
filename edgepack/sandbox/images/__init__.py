"""Images that stand in for devices: what exists, how it is made, what is stale."""

from edgepack.sandbox.images.inventory import ImageStatus, find, list_images
from edgepack.sandbox.images.maker import build
from edgepack.sandbox.images.spec import ARCHES, ImageSpec, choose, known

__all__ = [
    "ARCHES",
    "ImageSpec",
    "ImageStatus",
    "build",
    "choose",
    "find",
    "known",
    "list_images",
]
