"""Where a compiled program's values lie: nobody overwrites what somebody still reads."""

from __future__ import annotations

from edgepack.firmware.compiler import c99
from tests.edgepack.firmware import nets
from tests.edgepack.tinymodels import Net


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
    tensors = program.facts.main.tensors
    for index, offset in program.offsets.items():
        assert 0 <= offset <= program.arena_bytes - tensors[index].nbytes
