"""Static memory planning: nobody overwrites what somebody still reads."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepack.firmware.compiler import c99
from edgepack.firmware.compiler.plan import ALIGNMENT_BYTES, Block, floor_bytes, place
from tests.edgepack.firmware import nets
from tests.edgepack.tinymodels import Net

BLOCKS = st.lists(
    st.tuples(st.integers(1, 5000), st.integers(0, 12), st.integers(0, 6)).map(
        lambda t: Block(t[0], t[1], t[1] + t[2])
    ),
    max_size=14,
)


@given(BLOCKS)
def test_blocks_that_meet_never_overlap(blocks: list[Block]) -> None:
    placed = place(blocks)
    ends = [o + b.bytes for o, b in zip(placed.offsets, blocks, strict=True)]
    assert all(end <= placed.total_bytes for end in ends)
    assert all(offset % ALIGNMENT_BYTES == 0 for offset in placed.offsets)
    for i, j in combinations(range(len(blocks)), 2):
        if blocks[i].meets(blocks[j]):
            assert ends[i] <= placed.offsets[j] or ends[j] <= placed.offsets[i]


@given(BLOCKS)
def test_no_placement_is_below_its_floor(blocks: list[Block]) -> None:
    placed = place(blocks)
    assert placed.floor_bytes == floor_bytes(blocks) <= placed.total_bytes
    assert placed.total_bytes <= sum(-(-b.bytes // 4) * 4 for b in blocks)


def test_a_chain_reuses_the_bytes_of_its_grandparent() -> None:
    chain = [Block(100, 0, 1), Block(100, 1, 2), Block(100, 2, 3), Block(100, 3, 4)]
    assert place(chain).total_bytes == 200


@pytest.mark.parametrize(("first", "last", "shared"), [(2, 3, True), (1, 3, False)])
def test_the_last_step_of_a_block_is_inclusive(first: int, last: int, shared: bool) -> None:
    placed = place([Block(8, 0, 1), Block(8, first, last)])
    assert (placed.total_bytes == 8) is shared


def test_a_sum_takes_the_place_of_its_input() -> None:
    net = Net()
    x = net.tensor((1, 16, 16, 4))
    y = net.add(x, net.conv(x, 4, 1))
    program = c99.compile_model(net.done([x], [y]))
    assert program.offsets[y] == program.offsets[x]


def test_an_input_read_later_is_not_overwritten() -> None:
    net = Net()
    x = net.tensor((1, 8, 8, 4))
    early = net.add(x, net.conv(x, 4, 1))
    late = net.add(early, x)
    program = c99.compile_model(net.done([x], [late]))
    assert program.offsets[early] != program.offsets[x]


def test_every_value_lies_inside_the_arena() -> None:
    program = c99.compile_model(nets.residual(3))
    tensors = {t.index: t for op in program.graph.ops for t in (*op.inputs, *op.outputs) if t}
    for index, offset in program.offsets.items():
        assert 0 <= offset <= program.arena_bytes - tensors[index].bytes
