"""The choice of channels meets its budget, keeps multiples and gives up the least."""

from __future__ import annotations

import numpy as np
import pytest

from converters.errors import ModelRefused
from converters.structure.channels_graph import ChannelGraph
from converters.structure.cutting import choose, floors
from tests.converters.structure.test_channels_graph import Sketch


def chain(*widths: int) -> ChannelGraph:
    """Return 1x1 convolutions one after another, of these widths, and a head of 4."""
    net, at = Sketch(), 0
    for width in widths:
        at = net.conv(at, width)
    return net.done(net.conv(at, 4))


def left(graph: ChannelGraph, kept: np.ndarray) -> list[int]:
    return np.bincount(graph.group[kept & (graph.group >= 0)]).tolist()


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5, 0.3, 0.15])
@pytest.mark.parametrize("multiple", [1, 4, 8])
def test_the_budget_is_met_in_multiples(share: float, multiple: int) -> None:
    graph = chain(30, 64, 30)
    importance = np.random.default_rng(0).uniform(size=len(graph.group))
    full = graph.macs(graph.sizes)
    kept = choose(graph, importance, share, multiple=multiple, minimum=4)
    assert graph.macs(np.array(left(graph, kept))) <= share * full
    for now, before in zip(left(graph, kept), graph.sizes, strict=True):
        assert now == before or (now % multiple == 0 and now >= 4)


def test_the_least_important_go_first() -> None:
    graph = chain(16)
    importance = np.zeros(len(graph.group))
    members = np.flatnonzero(graph.group == 0)
    importance[members] = np.random.default_rng(0).permutation(16)
    kept = choose(graph, importance, 0.5, multiple=8, minimum=8)
    assert set(importance[members[~kept[members]]]) == set(range(8))


def test_of_two_groups_alike_the_one_that_matters_less_is_cut() -> None:
    graph = chain(16, 16)
    importance = np.ones(len(graph.group))
    importance[graph.group == 1] = 0.01
    kept = choose(graph, importance, 0.6, multiple=8, minimum=8)
    assert left(graph, kept) == [16, 8]


def test_a_budget_out_of_reach_says_how_far_it_came_and_what_to_change() -> None:
    graph = chain(16)
    with pytest.raises(ModelRefused, match=r"10\.0%.*50\.0%.*multiple \(8\), minimum"):
        importance = np.ones(len(graph.group))
        choose(graph, importance, 0.1, multiple=8, minimum=8)


@pytest.mark.parametrize("edge", [-1, 0, 1])
def test_the_budget_is_inclusive(edge: int) -> None:
    graph = chain(16)
    half = (graph.macs(np.array([8])) + edge) / graph.macs(graph.sizes)
    kept = choose(graph, np.ones(len(graph.group)), half, multiple=1, minimum=1)
    assert left(graph, kept) == [8 if edge >= 0 else 7]


def test_where_outputs_cost_the_layer_that_writes_more_is_cut() -> None:
    """The first layer writes 16 times as much, the second multiplies more."""
    net = Sketch()
    early = net.conv(0, 16)
    pooled = net.call("MaxPooling2D", early, shape=(1, 1, 16))
    late = net.call("Conv2D", pooled, shape=(1, 1, 256), kernel=(1, 1, 16, 256))
    dense = net.call("Conv2D", late, shape=(1, 1, 512), kernel=(1, 1, 256, 512))
    graph = net.done(net.call("Conv2D", dense, shape=(1, 1, 4), kernel=(1, 1, 512, 4)))
    importance = np.ones(len(graph.group))
    first = graph.group == graph.group[graph.tensors[early][0]]
    for per_output, cut in ((0.0, False), (1e4, True)):
        kept = choose(graph, importance, 0.9, multiple=8, minimum=8, per_output=per_output)
        assert (~kept[first]).any() == cut


@pytest.mark.parametrize(("floor", "fewest"), [(0.49, 32), (0.5, 32), (0.51, 36)])
def test_a_floor_keeps_its_share_of_every_group(floor: float, fewest: int) -> None:
    """A worthless group is cut as far as the floor lets it, then the other one."""
    graph = chain(64, 64)
    importance = np.ones(len(graph.group))
    importance[graph.group == 0] = 1e-6
    open_end = choose(graph, importance, 0.4, multiple=4, minimum=4)
    assert left(graph, open_end)[0] < fewest
    least = floors(graph, graph.widths, floor)
    kept = choose(graph, importance, 0.4, multiple=4, minimum=4, floors=least)
    assert left(graph, kept)[0] == fewest
    assert left(graph, kept)[1] >= fewest


def test_a_floor_counts_what_there_was_before_an_earlier_cut() -> None:
    graph = chain(32, 64)
    before = graph.widths
    first = graph.group[next(iter(graph.ports.values())).makes][0]
    name = next(iter(graph.ports))
    assert floors(graph, before, 0.4)[first] == pytest.approx(12.8)
    assert floors(graph, before | {name: 64}, 0.4)[first] == pytest.approx(25.6)


def test_a_floor_that_leaves_no_room_is_named() -> None:
    graph = chain(16)
    least = floors(graph, graph.widths, 1.0)
    with pytest.raises(ModelRefused, match=r"none, as .* floor"):
        choose(graph, np.ones(len(graph.group)), 0.9, multiple=1, minimum=1, floors=least)
