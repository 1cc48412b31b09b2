"""edgepack: Keras models in, proven bundles for low-end devices out."""

__version__ = "0.1.0"
