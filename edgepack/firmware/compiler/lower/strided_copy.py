"""Slices, transposition, reversal and repetition: one kernel that copies a view."""

from __future__ import annotations

from edgepack.firmware.compiler.graph import Op
from edgepack.firmware.compiler.lower.kernel_call import Step, quantized, short, step_name

_DIMENSIONS = 6
Axis = tuple[int, int]  # size in the output, and bytes to move in the input for each step


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Return how far one step along each dimension is."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return strides[::-1][: len(shape)]


def _view(op: Op, axes: list[Axis], offset: int) -> Step:
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
    call = f"ep_copy_view(&{step_name(op)}, {{in0}}, {{out0}});"
    return Step(op, "move", call, "ep_view", fields)


def strided_slice(op: Op) -> Step:
    """STRIDED_SLICE with begin, end and shrink masks."""
    shape = op.input(0).shape
    begins, ends, steps = (op.constant(i).reshape(-1).tolist() for i in (1, 2, 3))
    masks = {k: int(op.options.get(k, 0)) for k in ("beginMask", "endMask", "shrinkAxisMask")}
    for odd in ("ellipsisMask", "newAxisMask", "offset"):
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
        begin = None if masks["beginMask"] & bit else begins[axis]
        end = None if masks["endMask"] & bit else ends[axis]
        if masks["shrinkAxisMask"] & bit:
            chosen = begins[axis] + (size if begins[axis] < 0 else 0)
            taken = range(chosen, chosen + 1)
        else:
            taken = range(*slice(begin, end, steps[axis]).indices(size))
        if not taken or not 0 <= taken[0] < size:
            op.refuse(f"an empty slice along dimension {axis}", op.output)
        offset += taken[0] * stride
        axes.append((len(taken), taken.step * stride))
    return _checked(op, axes, offset)


def slice_(op: Op) -> Step:
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


def reverse(op: Op) -> Step:
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


def transpose(op: Op) -> Step:
    """TRANSPOSE of any order."""
    shape = op.input(0).shape
    order = [int(a) for a in op.constant(1).reshape(-1)]
    if sorted(order) != list(range(len(shape))):
        op.refuse(f"order {order} of {list(shape)}", op.input(0))
    strides = _strides(shape)
    return _checked(op, [(shape[a], strides[a]) for a in order], 0)


def enlarge(op: Op) -> Step:
    """RESIZE_NEAREST_NEIGHBOR by whole factors."""
    shape, out = op.input(0).shape, op.output.shape
    if len(shape) != 4 or len(out) != 4 or op.options.get("alignCorners"):
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


def _checked(op: Op, axes: list[Axis], offset: int) -> Step:
    """Return the copy after the output's shape was compared, ones aside."""
    found = [size for size, _ in axes if size != 1]
    if found != [size for size in op.output.shape if size != 1]:
        op.refuse(f"wanted the shape {[size for size, _ in axes]}", op.output)
    return _view(op, axes, offset)
