"""Which operators XNNPACK takes from TensorFlow Lite and LiteRT, as measured.

Per release and dtype from tables/delegation.json: each operator was given to each release
as a model of its own, and the execution plan was read. What an operator must look like
besides was found the same way, by varying it (tests/edgepack/delegatezoo.py), and agrees
with tensorflow/lite/delegates/xnnpack/README.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from edgepack.compat.measured_support import (
    measured_release,
    measured_use,
    release_key,
    table,
    value_at,
)
from edgepack.compat.operators import kernel_signatures
from edgepack.tflite.facts import Facts, Op
from edgepack.tflite.per_facts import per_facts
from edgepack.tflite.tensors import Tensor

#: Fused activations it clamps with: none, relu, relu in -1..1, relu6.
CLAMPS = frozenset({0, 1, 2, 3})
MOST_DIMENSIONS = 6


def refusal(op: Op, facts: Facts, line: str, version: str) -> str | None:
    """Return why XNNPACK leaves an operator to the builtin kernels; None if it takes it.

    Args:
        op: of the main graph.
        line: ``tflite`` or ``litert``; ``version`` is its release.
    """
    release = measured_release(line, version)
    if release is None:
        return f"no release as old as {version} was measured"
    signature = kernel_signatures(facts)[op.subgraph, op.index]
    if not _has_kernel(op.name, signature, op.version, line, release):
        return f"not XNNPACK's in {signature or 'this dtype'}"
    unsuitable = _unsuitable_tensors(facts).get(op.index)
    if unsuitable:
        return unsuitable
    rule = _RULES.get(op.name)
    return rule(op, facts, release_key(release), line) if rule else None


@cache
def _has_kernel(name: str, signature: str, version: int, line: str, release: str) -> bool:
    known = table("delegation")["ops"].get(name, {})
    use = measured_use(known, signature, version) or {}
    return bool(value_at(use.get(line, []), release, False))


@per_facts
def _unsuitable_tensors(facts: Facts) -> dict[int, str]:
    """Return, by operator of the main graph, what no release takes of its tensors."""
    found = {op.index: _unsuitable(op, facts) for op in facts.main.ops}
    return {index: why for index, why in found.items() if why}


def _unsuitable(op: Op, facts: Facts) -> str | None:
    if facts.feed(op, 0 if op.name not in ("SPLIT", "TRANSPOSE_CONV") else 1) is None:
        return "it reads nothing"
    if not op.outputs:
        return "it yields nothing"
    tensors = [t for t in (*facts.feeds(op), *facts.yields(op)) if t is not None]
    if any(tensor.sparse for tensor in tensors):
        return "its weights are stored sparse"
    if max(len(tensor.shape) for tensor in tensors) > MOST_DIMENSIONS:
        return f"it has more than {MOST_DIMENSIONS} dimensions"
    if op.options.get("activation", 0) not in CLAMPS:
        return "its fused activation is none of relu, relu6, relu_n1_to_1"
    return None


KernelCheck = Callable[[Op, Facts, tuple[int, ...], str], str | None]


def _constant(slots: tuple[int, ...], what: str) -> KernelCheck:
    def rule(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
        inputs = facts.feeds(op)
        for slot in slots:
            tensor = inputs[slot] if slot < len(inputs) else None
            if tensor is not None and tensor.elements and not is_stored(tensor, facts):
                return f"its {what} are computed, not stored"
        return None

    return rule


def is_stored(tensor: Tensor, facts: Facts) -> bool:
    """Return whether a tensor's values are in the file, if only in half precision."""
    if tensor.constant:
        return True
    maker = facts.makers.get(tensor.index)
    if maker is None or maker.name != "DEQUANTIZE":
        return False
    source = facts.feed(maker, 0)
    return source is not None and source.constant


def _convolution(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
    if op.name == "DEPTHWISE_CONV_2D" and (len(op.inputs) < 3 or op.inputs[2] < 0):
        return "it has no bias"
    weights, out = facts.feed(op, 1), facts.yields(op)[0]
    scales = weights.quantization.scales if weights and weights.quantization else ()
    if scales and out.quantization and line == "tflite" and release < _LARGE_SCALES:
        ratio = _scale(facts.feed(op, 0)) * max(scales) / (_scale(out) or 1.0)
        if ratio >= 2**8:
            return f"its scales multiply to {ratio:.3g}"
    return _constant((1, 2), "weights")(op, facts, release, line)


def _pool(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
    options = op.options
    if options["stride_w"] > options["filter_w"] or options["stride_h"] > options["filter_h"]:
        return "its stride is longer than its window"
    return None


def _scale(tensor: Tensor | None) -> float:
    quantization = tensor.quantization if tensor else None
    return quantization.scales[0] if quantization and quantization.scales else 0.0


def _ratio(low: float, high: float) -> KernelCheck:
    def rule(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
        inputs, out = facts.feeds(op), facts.yields(op)[0]
        if out.dtype not in ("int8", "uint8"):
            return None
        for tensor in inputs[:2]:
            ratio = _scale(tensor) / (_scale(out) or 1.0)
            if not low <= ratio < high:
                return f"an input's scale is {ratio:.3g} times the output's"
        return None

    return rule


def _product(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
    inputs, out = facts.feeds(op), facts.yields(op)[0]
    if out.dtype not in ("int8", "uint8") or len(inputs) < 2:
        return None
    ratio = _scale(inputs[0]) * _scale(inputs[1]) / (_scale(out) or 1.0)
    return None if 2**-16 <= ratio < 2**8 else f"its scales multiply to {ratio:.3g}"


def _concatenation(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
    most = 4 if line == "tflite" and release < _FIVE_TO_JOIN else 5
    return f"it joins {len(op.inputs)} tensors" if len(op.inputs) > most else None


def _split(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
    return f"it has {len(op.outputs)} outputs" if len(op.outputs) > 4 else None


def _slice(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
    found = _constant((1, 2), "bounds")(op, facts, release, line)
    sizes = _numbers(op, facts, 2)
    if not found and any(size < 0 for size in sizes) and release >= _NO_OPEN_SLICE[line]:
        return "a size of -1 means up to the end"
    return found


def _strided_slice(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
    options = op.options
    if any(step != 1 for step in _numbers(op, facts, 3)):
        return "it steps over values"
    if options["shrink_axis_mask"] or options["new_axis_mask"] or options["ellipsis_mask"]:
        return "it changes the number of dimensions"
    return _constant((1, 2, 3), "bounds")(op, facts, release, line)


def _softmax(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
    return None if op.options["beta"] == 1 else "its beta is not 1"


def _leaky(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
    early = line == "tflite" and release < _FLAT_SLOPE
    return None if op.options["alpha"] or early else "its slope is 0"


def _reduction(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
    found = _constant((1,), "axes")(op, facts, release, line)
    inputs, outputs = facts.feeds(op), facts.yields(op)
    plain = op.name == "MEAN" and outputs[0].dtype == "float32"
    free = (_ANY_MEAN if plain else _ANY_AXES)[line]
    if found or release >= free or op.name not in ("MEAN", "SUM") or not inputs[0]:
        return found
    axes = set(_numbers(op, facts, 1))  # negative ones are not understood either
    known: tuple[set[int], ...] = ({1, 2}, {2}) if release >= _ONE_AXIS[line] else ({1, 2},)
    rank = len(inputs[0].shape)
    return None if rank == 4 and axes in known else "it averages over other axes"


def _matmul(op: Op, facts: Facts, release: tuple[int, ...], line: str) -> str | None:
    turned = op.options["adj_x"] and release < _ANY_AXES[line]
    return "its first input is transposed" if turned else None


def _numbers(op: Op, facts: Facts, slot: int) -> list[int]:
    tensor = facts.feed(op, slot)
    if tensor is None or not tensor.constant or tensor.dtype not in ("int32", "int64"):
        return []
    return list(facts.values(tensor).cast("i" if tensor.dtype == "int32" else "q"))


#: Releases from which a rule changed, found by running every release.
_FIVE_TO_JOIN = (2, 16)
_ANY_MEAN: dict[str, tuple[int, ...]] = {"tflite": (2, 18), "litert": (1, 0)}
_ANY_AXES: dict[str, tuple[int, ...]] = {"tflite": (2, 19), "litert": (1, 1)}
_ONE_AXIS: dict[str, tuple[int, ...]] = {"tflite": (2, 10), "litert": (1, 0)}
_FLAT_SLOPE = (2, 10)
_LARGE_SCALES = (2, 17)
_NO_OPEN_SLICE: dict[str, tuple[int, ...]] = {"tflite": (2, 17), "litert": (1, 0)}

_RULES: dict[str, KernelCheck] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _constant((1, 2), "weights"),
    "TRANSPOSE_CONV": _constant((0, 1, 3), "weights"),
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "ADD": _ratio(2**-10, 2**8),
    "SUB": _ratio(2**-10, 2**8),
    "MUL": _product,
    "CONCATENATION": _concatenation,
    "SPLIT": _split,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "SOFTMAX": _softmax,
    "LEAKY_RELU": _leaky,
    "BATCH_MATMUL": _matmul,
    "MEAN": _reduction,
    "SUM": _reduction,
    "REDUCE_MAX": _reduction,
    "REDUCE_MIN": _reduction,
    "RESHAPE": _constant((1,), "dimensions"),
    "PAD": _constant((1,), "paddings"),
    "TRANSPOSE": _constant((1,), "axes"),
    "RESIZE_BILINEAR": _constant((1,), "sizes"),
    "PRELU": _constant((1,), "slopes"),
}
