"""What a block of the zoo is, and how blocks are made of layers.

A row is (group, name, input shape, block); a block is a function of (keras, tensor).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Block = Callable[[Any, Any], Any]
Row = tuple[str, str, tuple[int, ...], Block]

IMAGE, SERIES, VECTOR, VOLUME = (8, 8, 4), (8, 4), (12,), (4, 4, 4, 2)


def layer(kind: str, *args: Any, **settings: Any) -> Block:
    """Return a block of the one layer ``kind`` with these settings."""
    return lambda k, x: getattr(k.layers, kind)(*args, **settings)(x)


def chain(*blocks: Block) -> Block:
    """Return a block of ``blocks``, one after the other."""

    def run(k: Any, x: Any) -> Any:
        for block in blocks:
            x = block(k, x)
        return x

    return run


def after_conv(block: Block) -> Block:
    """Return ``block`` behind a 1x1 convolution."""
    return chain(layer("Conv2D", 8, 1), block)


def act(name: str) -> Block:
    """Return a convolution and the named activation as a layer."""
    return after_conv(layer("Activation", name))


def merged(kind: str, **settings: Any) -> Block:
    """Return two convolutions of one input, merged by the layer ``kind``."""

    def run(k: Any, x: Any) -> Any:
        pair = [k.layers.Conv2D(8, 1)(x), k.layers.Conv2D(8, 1, activation="relu")(x)]
        return getattr(k.layers, kind)(**settings)(pair)

    return run


def wrapped(wrapper: str, kind: str, *args: Any, **settings: Any) -> Block:
    """Return the layer ``kind`` inside the layer ``wrapper``."""
    return lambda k, x: getattr(k.layers, wrapper)(getattr(k.layers, kind)(*args, **settings))(
        x
    )


def rows(group: str, shape: tuple[int, ...], blocks: dict[str, Block]) -> list[Row]:
    """Return the rows of ``blocks`` that take one input shape."""
    return [(group, name, shape, block) for name, block in blocks.items()]
