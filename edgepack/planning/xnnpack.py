"""What XNNPACK keeps besides the arena: activations, repacked weights, tables of pointers.

Sources are files of XNNPACK; sizes were compared with what tflite-runtime 2.14 and LiteRT
1.4 allocate (benchmarks/planned_ram.py prints the sums). Tiles are those of the widest
kernels, AVX-512's, so that the plan holds in the stand-in too; NEON pads less.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgepack.planning.arena import Buffer, align, place_as_xnnpack
from edgepack.planning.tflite import execution_plan
from edgepack.tflite.facts import Facts, Op
from edgepack.tflite.tensors import Tensor

#: Bytes behind each tensor that kernels may read (include/xnnpack.h, XNN_EXTRA_BYTES).
EXTRA = 16
#: struct xnn_dynamic_quantization_params, and how many more rows of them kernels may read
#: (XNN_EXTRA_QUANTIZATION_PARAMS, at most 15).
PARAMETERS, EXTRA_ROWS = 8, 16
#: Output channels of one block: src/configs/gemm-config.c, f32 up to 32, 8 bit 16.
FLOAT_TILE, CODE_TILE = 32, 16
#: Inputs that 8-bit kernels multiply at once, each tap padded to it (same file, kr).
CODE_DEPTH = 8
#: One operator object and its node: measured 2,240 bytes in TensorFlow Lite 2.14, under
#: 1,024 in LiteRT 1.4.
OLDER_OPERATOR, OPERATOR = 2_300, 1_024
#: Graph and runtime of a partition, its first nodes included: measured 14.8 KB. The first
#: one's are among the interpreter's.
PARTITION = 16_000
#: Operators whose output may take the place of an input that nobody else reads
#: (src/runtime.c, optimize_tensor_allocation_for_in_place_operations).
IN_PLACE = frozenset({
    "ABS", "ADD", "CEIL", "COPY", "DIV", "ELU", "FLOOR", "HARD_SWISH", "LEAKY_RELU",
    "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "NEG", "PRELU", "RELU", "RELU6",
    "RELU_N1_TO_1", "RESHAPE", "ROUND", "SOFTMAX", "SQRT", "SQUARE", "SQUARED_DIFFERENCE",
    "SUB", "TANH",
})  # fmt: skip

#: Arithmetic with a fused activation.
CLAMPED = frozenset({"ADD", "SUB", "MUL", "DIV"})


def workspace_bytes(facts: Facts, taken: frozenset[int], *, clamps_apart: bool) -> int:
    """Return the activations that partitions keep to themselves.

    Partitions run one after the other in one workspace, as long as the longest asks for
    (tensorflow/lite/delegates/xnnpack/xnnpack_delegate.cc, Delegate::workspace).

    Args:
        clamps_apart: whether an activation that is fused with arithmetic becomes a node of
            its own, with a value between the two (src/subgraph.c of 2025,
            xnn_insert_clamp_node); 2.14 clamps in the same node.
    """
    steps = execution_plan(facts.main, taken)
    return max(
        (_workspace(ops, facts, clamps_apart) for ops, together in steps if together), default=0
    )


@dataclass(slots=True)
class _Node:
    """One node of a partition: the values that it reads and makes."""

    reads: list[int]
    makes: list[int]
    in_place: bool


def _workspace(ops: tuple[Op, ...], facts: Facts, clamps_apart: bool) -> int:
    """Return the workspace of one partition (src/runtime.c, xnn_plan_memory)."""
    nodes, sizes = _nodes(ops, facts, clamps_apart)
    inside = {op.index for op in ops}
    outer = set(facts.main.outputs) | {
        index for op in facts.main.ops if op.index not in inside for index in op.inputs
    }
    made = {v: turn for turn, node in enumerate(nodes) for v in node.makes if v not in outer}
    read: dict[int, list[int]] = {}
    for turn, node in enumerate(nodes):
        for value in node.reads:
            read.setdefault(value, []).append(turn)
    last = {value: max(read.get(value, [made[value]])) for value in made}
    root: dict[int, int] = {}
    for node in nodes:
        output = node.makes[0] if node.makes else -1
        if not node.in_place or output not in made or len(read.get(output, ())) != 1:
            continue
        for value in node.reads:
            if value in made and sizes[value] == sizes[output] and len(read[value]) == 1:
                root[output] = origin = root.get(value, value)
                last[origin] = max(last[origin], last[output])
                break
    buffers = [  # in the order of their numbers: the tensors of the file, then the others
        Buffer(align(sizes[value] + EXTRA, EXTRA), made[value], last[value])
        for value in sorted(made)
        if value not in root and sizes[value]
    ]
    return place_as_xnnpack(buffers).total_bytes


def _nodes(
    ops: tuple[Op, ...], facts: Facts, clamps_apart: bool
) -> tuple[list[_Node], dict[int, int]]:
    """Return what XNNPACK runs for the operators, and the bytes of each value."""
    sizes = {tensor.index: tensor.nbytes for tensor in facts.main.tensors}
    nodes: list[_Node] = []
    for op in ops:
        reads, makes = list(op.inputs), list(op.outputs)
        data = facts.feed(op, 0)
        weights = facts.feed(op, 1)
        if data and weights and _hybrid(op, data, weights):
            codes = len(sizes)  # one byte a value, and the scale and zero point of each row
            rows = data.elements // max(1, data.shape[-1])
            sizes[codes] = data.elements + PARAMETERS * (rows + EXTRA_ROWS) + EXTRA
            nodes.append(_Node([reads[0]], [codes], in_place=False))
            reads.append(codes)  # the floats live on to the product: measured in LiteRT 1.4
        if clamps_apart and op.name in CLAMPED and op.options.get("activation", 0) and makes:
            whole = len(sizes)
            sizes[whole] = sizes[makes[0]]
            nodes.append(_Node(reads, [whole], in_place=True))
            reads = [whole]
        nodes.append(_Node(reads, makes, op.name in IN_PLACE))
    return nodes, sizes


def _hybrid(op: Op, data: Tensor, weights: Tensor) -> bool:
    return (
        op.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
        and data.dtype == "float32"
        and weights.dtype in ("int8", "int4")
    )


def kept_bytes(facts: Facts, taken: frozenset[int], pointer: int, *, older: bool) -> int:
    """Return what XNNPACK allocates for the operators that it takes, for good.

    Args:
        pointer: bytes of an address.
        older: whether the runtime is TensorFlow Lite and not LiteRT.
    """
    operator = OLDER_OPERATOR if older else OPERATOR
    partitions = sum(together for _, together in execution_plan(facts.main, taken))
    return PARTITION * max(0, partitions - 1) + sum(
        operator + _of(op, facts, pointer) for op in facts.main.ops if op.index in taken
    )


def _of(op: Op, facts: Facts, pointer: int) -> int:
    inputs, outputs = facts.feeds(op), facts.yields(op)
    if not outputs:
        return 0
    out = outputs[0]
    weights = inputs[1] if len(inputs) > 1 else None
    if op.name in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "RESIZE_BILINEAR"):
        return _window(op, out, pointer) if len(out.shape) == 4 else 0
    if weights is None or not weights.shape:
        return 0
    if op.name in ("FULLY_CONNECTED", "BATCH_MATMUL"):
        channels = weights.shape[0] if op.name == "FULLY_CONNECTED" else weights.shape[-1]
        return _packed(channels, 1, weights)
    return _convolution(op, weights, out, pointer) if len(out.shape) == 4 else 0


def _window(op: Op, out: Tensor, pointer: int) -> int:
    """Return the table of a pooling or resizing operator."""
    if op.name == "RESIZE_BILINEAR":
        # src/operators/resize-bilinear-nhwc.c: four pointers and two weights a pixel
        return out.shape[1] * out.shape[2] * (4 * pointer + 8)
    window = (op.options["filter_h"], op.options["filter_w"])
    return _stepped(out, *window, op.options["stride_w"], pointer)


def _convolution(op: Op, weights: Tensor, out: Tensor, pointer: int) -> int:
    if len(weights.shape) != 4:
        return 0
    depthwise = op.name == "DEPTHWISE_CONV_2D"
    if depthwise and weights.shape[3] != op.options.get("depth_multiplier", 1):
        return _depthwise(op, weights, out, pointer)
    if depthwise or op.name in ("CONV_2D", "TRANSPOSE_CONV"):  # one group: a convolution
        taps = weights.shape[1] * weights.shape[2]
        packed = _packed(weights.shape[3 if depthwise else 0], taps, weights)
        return packed + _pointers(op, weights, out, pointer)
    return 0


def _packed(channels: int, taps: int, weights: Tensor) -> int:
    """Return the weights of a matrix product or convolution, repacked (src/packing.cc).

    A bias a channel; a scale and a sum besides for 8-bit weights.
    """
    depth = weights.elements // max(1, channels * taps)
    if weights.dtype in ("float32", "float16"):
        wide = FLOAT_TILE if channels > CODE_TILE or taps > 1 else CODE_TILE
        return align(channels, wide) * (taps * depth + 1) * 4 + 64
    row = taps * align(depth, CODE_DEPTH) + 12
    return align(channels, CODE_TILE) * row + 64


def _pointers(op: Op, weights: Tensor, out: Tensor, pointer: int) -> int:
    """Return a convolution's table: one pointer a tap and output pixel (src/indirection.c).

    Pixels are rounded up to the rows of a block, at most 16.
    """
    _, height, width, _ = weights.shape
    strided = op.options.get("stride_w", 1) > 1 or op.options.get("stride_h", 1) > 1
    if height == width == 1 and not strided and op.name == "CONV_2D":
        return 0
    return pointer * height * width * (out.shape[1] * out.shape[2] + 16)


def _depthwise(op: Op, weights: Tensor, out: Tensor, pointer: int) -> int:
    _, height, width, channels = weights.shape
    unit = 4 if weights.dtype in ("float32", "float16") else 1
    packed = align(channels, 32) * (align(height * width, 9) * unit + 8) + 64
    step = width if op.options.get("dilation_w", 1) > 1 else op.options["stride_w"]
    return packed + _stepped(out, height, width, step, pointer)


def _stepped(out: Tensor, height: int, width: int, stride: int, pointer: int) -> int:
    """Return a window's table: neighbours in a row share columns (src/indirection.c,
    xnn_indirection_init_dwconv2d: step_width, step_height)."""
    step = min(width, max(1, stride))
    taps = height * width + (out.shape[2] - 1) * height * step
    return pointer * out.shape[1] * taps
