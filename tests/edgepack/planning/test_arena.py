"""The one planner, its three ways of placing held against each other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepack.planning import arena
from edgepack.planning.arena import (
    Buffer,
    Placement,
    align,
    floor_bytes,
    place_as_tflite,
    place_as_tflm,
    place_smallest,
)

WAYS: dict[str, Callable[[list[Buffer], int], Placement]] = {
    "tflm": lambda buffers, _: place_as_tflm(buffers),
    "tflite": place_as_tflite,
    "smallest": place_smallest,
}
#: Sizes are multiples of 16: where each way is at home, none of them pads anything.
BUFFERS = st.lists(
    st.tuples(st.integers(1, 300), st.integers(0, 15), st.integers(0, 7)).map(
        lambda t: Buffer(16 * t[0], t[1], t[1] + t[2])
    ),
    max_size=20,
)
RAGGED = st.lists(
    st.tuples(st.integers(1, 5000), st.integers(0, 12), st.integers(0, 6)).map(
        lambda t: Buffer(t[0], t[1], t[1] + t[2])
    ),
    max_size=14,
)


def assert_apart(buffers: list[Buffer], placed: Placement) -> None:
    ends = [o + b.nbytes for o, b in zip(placed.offsets, buffers, strict=True)]
    assert all(end <= placed.total_bytes for end in ends)
    for i, j in combinations(range(len(buffers)), 2):
        if buffers[i].meets(buffers[j]):
            assert ends[i] <= placed.offsets[j] or ends[j] <= placed.offsets[i]


@pytest.mark.parametrize("way", WAYS)
@given(buffers=BUFFERS)
def test_buffers_that_live_at_once_never_overlap(way: str, buffers: list[Buffer]) -> None:
    placed = WAYS[way](buffers, 16)
    assert_apart(buffers, placed)
    assert placed.floor_bytes <= placed.total_bytes <= sum(b.nbytes for b in buffers)
    assert all(offset % 16 == 0 for offset in placed.offsets)


@given(buffers=BUFFERS)
def test_every_way_has_the_same_floor_and_the_smallest_is_never_above_tflms(
    buffers: list[Buffer],
) -> None:
    found = {name: way(buffers, 16) for name, way in WAYS.items()}
    assert len({placed.floor_bytes for placed in found.values()}) == 1
    by_steps = (
        sum(b.nbytes for b in buffers if b.first <= step <= b.last) for step in range(30)
    )
    assert found["tflm"].floor_bytes == max(by_steps, default=0)


@pytest.mark.parametrize("way", ["tflite", "smallest"])
@given(buffers=RAGGED)
def test_sizes_of_any_kind_are_aligned(way: str, buffers: list[Buffer]) -> None:
    placed = WAYS[way](buffers, 4)
    assert_apart(buffers, placed)
    assert all(offset % 4 == 0 for offset in placed.offsets)
    assert floor_bytes(buffers) <= placed.total_bytes
    assert placed.total_bytes <= sum(align(b.nbytes, 4) for b in buffers)


@pytest.mark.parametrize("way", WAYS)
def test_a_chain_reuses_the_bytes_of_its_grandparent(way: str) -> None:
    chain = [Buffer(size, step, step + 1) for step, size in enumerate((64, 128, 64, 128))]
    placed = WAYS[way](chain, 16)
    assert placed.total_bytes == placed.floor_bytes == 192


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("first", "last", "shared"), [(2, 3, True), (1, 3, False)])
def test_the_last_step_of_a_buffer_is_inclusive(
    way: str, first: int, last: int, shared: bool
) -> None:
    placed = WAYS[way]([Buffer(16, 0, 1), Buffer(16, first, last)], 16)
    assert (placed.total_bytes == 16) is shared


def test_an_offline_plan_is_kept_as_it_is() -> None:
    placed = place_as_tflm([Buffer(64, 0, 1, offset=128), Buffer(64, 0, 1)])
    assert placed.offsets == (128, 0)


@pytest.mark.parametrize("way", WAYS)
def test_beyond_what_can_be_placed_in_time_each_has_its_own_bytes(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena, "MOST_PLACED", 3)
    chain = [Buffer(40, step, step) for step in range(4)]
    placed = WAYS[way](chain, 16)
    assert_apart([Buffer(b.nbytes, 0, 9) for b in chain], placed)
    assert placed.floor_bytes <= placed.total_bytes
