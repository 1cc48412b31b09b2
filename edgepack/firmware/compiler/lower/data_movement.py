"""What only moves bytes: slices, transposition, reversal, repetition, padding, joining.

Slices, transposition, reversal and repetition are one kernel that copies a strided view.
"""

from __future__ import annotations

import math

from edgepack.firmware.compiler.lower.kernel_call import (
    KernelCall,
    call_name,
    quantized,
    same_quantization,
    short,
)
from edgepack.firmware.compiler.model import Node

_DIMENSIONS = 6
Axis = tuple[int, int]  # size in the output, and bytes to move in the input for each step


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Return how far one step along each dimension is."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return strides[::-1][: len(shape)]


def _view(op: Node, axes: list[Axis], offset: int) -> KernelCall:
    """Return the copy of a view; neighbouring dimensions that lie together are joined."""
    if quantized(op, op.output) != quantized(op, op.input(0)):
        op.refuse("wanted the scale and zero point of the input", op.output)
    joined: list[Axis] = [(1, 1)]
    for size, step in reversed(axes):
        inner_size, inner_step = joined[-1]
        if size == 1:
            continue
        if step == inner_size * inner_step and inner_step != 0:
            joined[-1] = (inner_size * size, inner_step)
        elif inner_size == 1:
            joined[-1] = (size, step)
        else:
            joined.append((size, step))
    run = 1
    if joined[0][1] == 1:
        run, joined = joined[0][0], joined[1:]
    if len(joined) > _DIMENSIONS:
        op.refuse(f"{len(joined)} dimensions to move; the limit is {_DIMENSIONS}", op.output)
    whole = [(1, 0)] * (_DIMENSIONS - len(joined)) + joined[::-1]
    sizes = [short(op, "dimension", size, op.output) for size, _ in whole]
    fields = (
        ("size", "{" + ", ".join(sizes) + "}"),
        ("step", "{" + ", ".join(str(step) for _, step in whole) + "}"),
        ("offset", str(offset)),
        ("run", str(run)),
    )
    call = f"ep_copy_view(&{call_name(op)}, {{in0}}, {{out0}});"
    return KernelCall(op, "move", call, "ep_view", fields)


def strided_slice(op: Node) -> KernelCall:
    """STRIDED_SLICE with begin, end and shrink masks."""
    shape = op.input(0).shape
    begins, ends, steps = (op.constant(i).reshape(-1).tolist() for i in (1, 2, 3))
    masks = {
        k: int(op.options.get(k, 0)) for k in ("begin_mask", "end_mask", "shrink_axis_mask")
    }
    for odd in ("ellipsis_mask", "new_axis_mask", "offset"):
        if op.options.get(odd):
            op.refuse(f"{odd} has no C kernel", op.input(0))
    if not len(begins) == len(ends) == len(steps) <= len(shape) or 0 in steps:
        op.refuse(f"slice {begins} to {ends} by {steps} of {list(shape)}", op.input(0))
    axes, offset = [], 0
    for axis, (size, stride) in enumerate(zip(shape, _strides(shape), strict=True)):
        if axis >= len(begins):
            axes.append((size, stride))
            continue
        bit = 1 << axis
        begin = None if masks["begin_mask"] & bit else begins[axis]
        end = None if masks["end_mask"] & bit else ends[axis]
        if masks["shrink_axis_mask"] & bit:
            chosen = begins[axis] + (size if begins[axis] < 0 else 0)
            taken = range(chosen, chosen + 1)
        else:
            taken = range(*slice(begin, end, steps[axis]).indices(size))
        if not taken or not 0 <= taken[0] < size:
            op.refuse(f"an empty slice along dimension {axis}", op.output)
        offset += taken[0] * stride
        axes.append((len(taken), taken.step * stride))
    return _checked(op, axes, offset)


def slice_(op: Node) -> KernelCall:
    """SLICE from a corner, of a size; -1 takes the rest."""
    shape = op.input(0).shape
    begins, sizes = (op.constant(i).reshape(-1).tolist() for i in (1, 2))
    if not len(begins) == len(sizes) == len(shape):
        op.refuse(f"slice at {begins} of {sizes} from {list(shape)}", op.input(0))
    axes, offset = [], 0
    for size, begin, wanted, stride in zip(shape, begins, sizes, _strides(shape), strict=True):
        length = size - begin if wanted == -1 else wanted
        if begin < 0 or length < 1 or begin + length > size:
            op.refuse(f"slice at {begins} of {sizes} from {list(shape)}", op.input(0))
        offset += begin * stride
        axes.append((length, stride))
    return _checked(op, axes, offset)


def reverse(op: Node) -> KernelCall:
    """REVERSE_V2 along any dimensions."""
    shape = op.input(0).shape
    turned = {int(a) + (len(shape) if a < 0 else 0) for a in op.constant(1).reshape(-1)}
    if not turned <= set(range(len(shape))):
        op.refuse(f"reversal of dimensions {sorted(turned)} of {list(shape)}", op.input(0))
    axes, offset = [], 0
    for axis, (size, stride) in enumerate(zip(shape, _strides(shape), strict=True)):
        if axis in turned:
            offset += (size - 1) * stride
        axes.append((size, -stride if axis in turned else stride))
    return _checked(op, axes, offset)


def transpose(op: Node) -> KernelCall:
    """TRANSPOSE of any order."""
    shape = op.input(0).shape
    order = [int(a) for a in op.constant(1).reshape(-1)]
    if sorted(order) != list(range(len(shape))):
        op.refuse(f"order {order} of {list(shape)}", op.input(0))
    strides = _strides(shape)
    return _checked(op, [(shape[a], strides[a]) for a in order], 0)


def enlarge(op: Node) -> KernelCall:
    """RESIZE_NEAREST_NEIGHBOR by whole factors."""
    shape, out = op.input(0).shape, op.output.shape
    if len(shape) != 4 or len(out) != 4 or op.options.get("align_corners"):
        op.refuse("wanted four dimensions and no aligned corners", op.input(0))
    axes: list[Axis] = []
    for axis, (size, wanted, stride) in enumerate(
        zip(shape, out, _strides(shape), strict=True)
    ):
        times, rest = divmod(wanted, size)
        if rest or not times or (times > 1 and axis not in {1, 2}):
            op.refuse(
                f"from {list(shape)}: wanted height and width times whole numbers", op.output
            )
        axes += [(size, stride), (times, 0)]
    return _view(op, axes, 0)


def _checked(op: Node, axes: list[Axis], offset: int) -> KernelCall:
    """Return the copy after the output's shape was compared, ones aside."""
    found = [size for size, _ in axes if size != 1]
    if found != [size for size in op.output.shape if size != 1]:
        op.refuse(f"wanted the shape {[size for size, _ in axes]}", op.output)
    return _view(op, axes, offset)


def pad(op: Node) -> KernelCall:
    """PAD or PADV2 of up to four dimensions."""
    _, zero = same_quantization(op)
    value = int(op.constant(2).reshape(-1)[0]) if op.name == "PADV2" else zero
    shape = op.input(0).shape
    amounts = op.constant(1).reshape(-1, 2)
    if len(shape) > 4 or len(amounts) != len(shape) or (amounts < 0).any():
        op.refuse(f"padding {amounts.tolist()} of {list(shape)}; the limit is 4 dimensions")
    grown = tuple(int(n + a + b) for n, (a, b) in zip(shape, amounts, strict=True))
    if grown != op.output.shape:
        op.refuse(f"wanted the shape {list(grown)}", op.output)
    missing = 4 - len(shape)
    name = call_name(op)
    fields = (
        ("in", _dims(op, (1,) * missing + shape)),
        ("before", _dims(op, (0,) * missing + tuple(int(a) for a, _ in amounts))),
        ("out", _dims(op, (1,) * missing + grown)),
        ("value", str(value)),
    )
    return KernelCall(op, "move", f"ep_pad(&{name}, {{in0}}, {{out0}});", "ep_padding", fields)


def _dims(op: Node, values: tuple[int, ...]) -> str:
    return "{" + ", ".join(short(op, "dimension", v, op.input(0)) for v in values) + "}"


def concatenate(op: Node) -> KernelCall:
    """CONCATENATION of tensors of one scale."""
    target = quantized(op, op.output)
    rank = len(op.output.shape)
    axis = int(op.options["axis"])
    axis += rank if axis < 0 else 0
    if not 0 <= axis < rank or int(op.options.get("activation", 0)):
        op.refuse(f"axis {axis} or a fused activation; wanted neither odd", op.output)
    blocks = math.prod(op.output.shape[:axis])
    stride = math.prod(op.output.shape[axis:])
    offset, lines = 0, []
    for position in range(len(op.inputs)):
        tensor = op.input(position)
        if quantized(op, tensor) != target:
            op.refuse("wanted the scale and zero point of the output", tensor)
        run, rest = divmod(tensor.elements, blocks)
        if rest or len(tensor.shape) != rank:
            op.refuse(f"does not fit {op.output} along axis {axis}", tensor)
        lines.append(
            f"ep_scatter({{in{position}}}, {{out0}} + {offset}, {blocks}, {run}, {stride});"
        )
        offset += run
    if offset != stride:
        op.refuse(f"the inputs fill {offset} of {stride} bytes", op.output)
    return KernelCall(op, "move", "\n".join(lines))


def reshape(op: Node) -> KernelCall:
    """RESHAPE, EXPAND_DIMS or SQUEEZE: the same bytes under another shape."""
    if op.input(0).elements != op.output.elements or op.input(0).dtype != op.output.dtype:
        op.refuse(f"wanted {op.input(0).elements} elements of {op.input(0).dtype}", op.output)
    return KernelCall(op, "", "", alias=True)
