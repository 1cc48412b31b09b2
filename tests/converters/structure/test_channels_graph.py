"""What goes together, told on networks written by hand; no TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converters.errors import ModelRefused
from converters.graph.network import Call, Network
from converters.structure.channels_graph import ChannelGraph, channel_graph

SIZE = 4


class Sketch:
    """A network drawn call by call; a tensor is its number."""

    def __init__(self, width: int = 3) -> None:
        self.calls: list[Call] = []
        self.shapes: dict[int, tuple[int | None, ...]] = {0: (SIZE, SIZE, width)}

    def call(self, kind: str, *inputs: int, shape: tuple[int | None, ...], **more: Any) -> int:
        made = len(self.shapes)
        self.shapes[made] = shape
        name, kernel = more.pop("name", f"layer{made}"), more.pop("kernel", ())
        self.calls.append(
            Call(
                layer=name,
                kind=kind,
                settings=more,
                inputs=inputs,
                outputs=(made,),
                kernel=kernel,
            )
        )
        return made

    def conv(self, tensor: int, width: int, **more: Any) -> int:
        size = self.shapes[tensor][0]
        reads = int(self.shapes[tensor][-1] or 0)
        return self.call(
            "Conv2D",
            tensor,
            shape=(size, size, width),
            kernel=(1, 1, reads, width),
            **more,
        )

    def same(self, kind: str, *tensors: int, **more: Any) -> int:
        return self.call(kind, *tensors, shape=self.shapes[tensors[0]], **more)

    def done(self, *outputs: int) -> ChannelGraph:
        return channel_graph(
            Network(calls=tuple(self.calls), shapes=self.shapes, inputs=(0,), outputs=outputs)
        )


def test_what_is_added_goes_together() -> None:
    net = Sketch()
    one, other = net.conv(0, 8), net.conv(0, 8)
    found = net.done(net.conv(net.same("Add", one, other), 5))
    assert (found.tensors[one] == found.tensors[other]).all()
    assert found.sizes.tolist() == [8]


def test_what_is_joined_stays_apart_and_is_read_in_order() -> None:
    net = Sketch()
    one, other = net.conv(0, 8), net.conv(0, 4)
    both = net.call("Concatenate", one, other, shape=(SIZE, SIZE, 12), axis=-1)
    found = net.done(net.conv(both, 5))
    assert found.tensors[both].tolist() == [*found.tensors[one], *found.tensors[other]]
    assert sorted(found.sizes) == [4, 8]


def test_flatten_repeats_each_channel_at_every_place() -> None:
    net = Sketch()
    wide = net.conv(0, 8)
    flat = net.call("Flatten", wide, shape=(SIZE * SIZE * 8,))
    found = net.done(net.call("Dense", flat, shape=(5,), kernel=(SIZE * SIZE * 8, 5)))
    assert (found.tensors[flat].reshape(-1, 8) == found.tensors[wide]).all()
    assert found.sizes.tolist() == [8]


def test_inputs_and_outputs_are_whole_without_a_word() -> None:
    net = Sketch()
    found = net.done(net.conv(0, 8, activation="softmax"))
    assert (found.group == -1).all()
    assert found.frozen == ()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("LayerNormalization", {}),
        ("my.module.Odd", {}),
        ("Activation", {"activation": "softmax"}),
        ("BatchNormalization", {"axis": [1]}),
        ("Permute", {"dims": [3, 1, 2]}),
        ("MaxPooling2D", {"data_format": "channels_first"}),
    ],
)
def test_a_layer_that_is_not_understood_keeps_its_channels_and_is_named(
    kind: str, settings: dict[str, Any]
) -> None:
    net = Sketch()
    first, second = net.conv(0, 8), net.conv(0, 8)
    odd = net.same(kind, first, name="odd", **settings)
    found = net.done(net.conv(odd, 5), net.conv(second, 5))
    assert (found.group[found.tensors[first]] == -1).all()
    assert found.sizes.tolist() == [8]  # the other branch is free
    assert found.frozen == (f"odd ({kind})",)


def test_grouped_convolutions_are_kept_whole() -> None:
    net = Sketch()
    first = net.conv(0, 8)
    found = net.done(net.conv(net.conv(first, 8, groups=2, name="pairs"), 5))
    assert found.frozen == ("pairs (Conv2D)",)


@pytest.mark.parametrize(("left", "cost"), [(8, 16), (7, 16), (1, 16), (0, 16)])
def test_costs_are_products_of_the_channels_on_both_sides(left: int, cost: int) -> None:
    net = Sketch()
    found = net.done(net.conv(net.conv(0, 8), 5))
    assert found.macs(np.array([left])) == cost * (3 * left + 5 * left)


def test_an_input_of_unknown_size_is_refused() -> None:
    net = Sketch()
    net.shapes[0] = (None, None, 3)
    with pytest.raises(ModelRefused, match="known size"):
        net.done(net.conv(0, 8))
