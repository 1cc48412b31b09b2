"""One model per operator and dtype: what converters write, and what none should.

The versions are those that TensorFlow's converter assigns to that use
(tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc); a dtype without one is
written with the operator's first version, as a careless tool would, and marked dishonest.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from itertools import product
from typing import Any

from tests.edgepack.opcase import DTYPES, SHAPE, Case, like
from tests.edgepack.opzoo_moves import moves
from tests.edgepack.opzoo_weights import weighted
from tests.edgepack.tinymodels import Net

#: dtype -> version, where it is not 1.
_NARROW = {"int8": 2, "int16": 3}
UNARY: dict[str, tuple[dict[str, int], str, dict[str, Any]]] = {
    "ABS": ({"float32": 1, "int8": 2, "int16": 3, "int32": 5}, "", {}),
    "CEIL": ({"float32": 1}, "", {}),
    "COS": ({"float32": 1}, "", {}),
    "ELU": ({"float32": 1, "int8": 1}, "", {}),
    "EXP": ({"float32": 1, "int8": 2, "int16": 2}, "", {}),
    "FLOOR": ({"float32": 1}, "", {}),
    "GELU": ({"float32": 1, "int8": 2, "uint8": 2}, "GeluOptions", {}),
    "HARD_SWISH": ({"float32": 1, "int8": 1, "uint8": 1}, "", {}),
    "L2_NORMALIZATION": ({"float32": 1, "int8": 2, "uint8": 1}, "L2NormOptions", {}),
    "LEAKY_RELU": (
        {"float32": 1, "int8": 1, "uint8": 1, "int16": 2},
        "LeakyReluOptions",
        {"alpha": 0.1},
    ),
    "LOG": ({"float32": 1, "int8": 2, "int16": 2}, "", {}),
    "LOGICAL_NOT": ({"bool": 1}, "", {}),
    "LOGISTIC": ({"float32": 1, "uint8": 1, **_NARROW}, "", {}),
    "LOG_SOFTMAX": ({"float32": 1, "int8": 2, "uint8": 1}, "LogSoftmaxOptions", {}),
    "NEG": ({"float32": 1, "int32": 1, "int64": 1}, "", {}),
    "RELU": ({"float32": 1, "int8": 2, "uint8": 2, "int16": 3}, "", {}),
    "RELU6": ({"float32": 1, "uint8": 1, **_NARROW}, "", {}),
    "RELU_0_TO_1": ({"float32": 1, "int8": 1}, "", {}),
    "RELU_N1_TO_1": ({"float32": 1, "int8": 1}, "", {}),
    "ROUND": ({"float32": 1}, "", {}),
    "RSQRT": ({"float32": 1, "int8": 2, "int16": 3}, "", {}),
    "SIGN": ({"float32": 1, "int32": 2}, "", {}),
    "SIN": ({"float32": 1}, "", {}),
    "SOFTMAX": ({"float32": 1, "uint8": 1, **_NARROW}, "SoftmaxOptions", {"beta": 1.0}),
    "SQRT": ({"float32": 1, "int8": 2, "int16": 2}, "", {}),
    "SQUARE": ({"float32": 1}, "", {}),
    "TANH": ({"float32": 1, "uint8": 1, **_NARROW}, "", {}),
    "ZEROS_LIKE": ({"float32": 1, "int8": 1, "int32": 1, "int64": 1}, "", {}),
}
BINARY: dict[str, tuple[dict[str, int], str]] = {
    "ADD": ({"float32": 1, "uint8": 1, "int8": 2, "int16": 3, "int32": 1, "int64": 4},
            "AddOptions"),
    "SUB": ({"float32": 1, "uint8": 1, "int8": 2, "int16": 5, "int32": 1, "int64": 4},
            "SubOptions"),
    "MUL": ({"float32": 1, "uint8": 1, "int8": 2, "int16": 4, "int32": 1, "int64": 5},
            "MulOptions"),
    "DIV": ({"float32": 1, "uint8": 1, "int32": 1}, "DivOptions"),
    "MAXIMUM": ({"float32": 1, "uint8": 1, "int8": 2, "int16": 4, "int32": 1}, ""),
    "MINIMUM": ({"float32": 1, "uint8": 1, "int8": 2, "int16": 4, "int32": 1}, ""),
    "SQUARED_DIFFERENCE": ({"float32": 1, "int8": 2, "int32": 1}, ""),
    "PRELU": ({"float32": 1, "uint8": 1, "int8": 1}, ""),
    "POW": ({"float32": 1, "int32": 1}, ""),
    "FLOOR_DIV": ({"float32": 2, "int32": 1, "int8": 3, "int16": 3}, ""),
    "FLOOR_MOD": ({"float32": 1, "int32": 1, "int64": 1, "int8": 2, "int16": 2}, ""),
    "ATAN2": ({"float32": 1}, ""),
    "BITWISE_XOR": ({"int8": 1, "int32": 1}, ""),
    "RIGHT_SHIFT": ({"int8": 1, "int32": 1}, ""),
}  # fmt: skip
COMPARE: dict[str, dict[str, int]] = {
    "EQUAL": {"float32": 1, "int32": 1, "int64": 1, "bool": 1, "uint8": 1, "int8": 2},
    "NOT_EQUAL": {"float32": 1, "int32": 1, "int64": 1, "bool": 1, "uint8": 1, "int8": 2},
    "GREATER": {"float32": 1, "int32": 1, "int64": 1, "int8": 2},
    "GREATER_EQUAL": {"float32": 1, "int32": 1, "int64": 1, "int8": 2, "int16": 3},
    "LESS": {"float32": 1, "int32": 1, "int64": 1, "int8": 2, "int16": 3},
    "LESS_EQUAL": {"float32": 1, "int32": 1, "int64": 1, "int8": 2},
    "LOGICAL_AND": {"bool": 1},
    "LOGICAL_OR": {"bool": 1},
}
REDUCE: dict[str, dict[str, int]] = {
    "MEAN": {"float32": 1, "uint8": 1, **_NARROW, "int32": 1},
    "SUM": {"float32": 1, "int8": 2, "int32": 1},
    "REDUCE_MAX": {"float32": 1, "uint8": 1, **_NARROW, "int32": 1},
    "REDUCE_MIN": {"float32": 1, "uint8": 1, **_NARROW, "int32": 1},
    "REDUCE_PROD": {"float32": 1, "int8": 2, "int16": 2, "int32": 1},
    "REDUCE_ANY": {"bool": 1},
    "REDUCE_ALL": {"bool": 1},
}


def _unary(op: str, dtype: str, version: int, kind: str, fields: dict[str, Any]) -> bytes:
    net = Net()
    x = like(net, SHAPE, dtype)
    fixed = {
        "SOFTMAX": (1 / 256, -128), "LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0),
        "LOG_SOFTMAX": (16 / 256, 127), "L2_NORMALIZATION": (1 / 128, 0),
    }  # fmt: skip
    if op in fixed and dtype in ("int8", "uint8"):
        scale, zero = fixed[op]
        y = net.tensor(SHAPE, dtype, scale=scale, zero=zero + 128 * (dtype == "uint8"))
    elif op in fixed and dtype == "int16":
        y = net.tensor(SHAPE, dtype, scale=2**-15)
    else:
        y = like(net, SHAPE, dtype)
    net.op(op, [x], [y], version, kind, **fields)
    return net.done([x], [y])


def _binary(op: str, dtype: str, version: int, kind: str, out: str = "") -> bytes:
    net = Net()
    x = like(net, SHAPE, dtype)
    y = net.weights((1, 1, 8), dtype) if op == "PRELU" else like(net, SHAPE, dtype)
    z = like(net, SHAPE, out or dtype)
    fields = {"potScaleInt16": False} if op in ("ADD", "SUB") else {}
    net.op(op, [x, y], [z], version, kind, **fields)
    return net.done([x] if op == "PRELU" else [x, y], [z])


def _conversions() -> Iterator[Case]:
    known = {
        "QUANTIZE": {
            ("float32", "int8"): 1, ("float32", "uint8"): 1, ("float32", "int16"): 2,
            ("int8", "int8"): 1, ("int8", "uint8"): 1, ("uint8", "int8"): 1,
            ("int16", "int16"): 2, ("int8", "int16"): 2, ("int16", "int8"): 1,
        },
        "DEQUANTIZE": {
            ("int8", "float32"): 2, ("uint8", "float32"): 1, ("int16", "float32"): 3,
        },
        "CAST": {
            ("float32", "int32"): 1, ("int32", "float32"): 1, ("int64", "float32"): 1,
            ("bool", "float32"): 1, ("float32", "int8"): 3, ("int8", "float32"): 3,
            ("uint8", "float32"): 1, ("float32", "float16"): 5, ("float16", "float32"): 5,
        },
    }  # fmt: skip
    kinds = {"QUANTIZE": "QuantizeOptions", "DEQUANTIZE": "DequantizeOptions", "CAST": ""}
    for op, versions in known.items():
        for source, target in product((*DTYPES, "float16"), repeat=2):
            if op != "CAST" and "bool" in (source, target):
                continue
            net = Net()
            make = net.tensor if op == "CAST" else partial(like, net)
            more = {"scale": 0.0} if op == "CAST" else {}
            x, y = make(SHAPE, source, **more), make(SHAPE, target, **more)
            version = versions.get((source, target), 1)
            net.op(op, [x], [y], version, kinds[op])
            honest = (source, target) in versions
            yield Case(op, f"{source}>{target}", version, net.done([x], [y]), honest=honest)


def _every(versions: dict[str, int]) -> Iterator[tuple[str, int, bool]]:
    for dtype in DTYPES:
        yield dtype, versions.get(dtype, 1), dtype in versions


@cache
def cases() -> tuple[Case, ...]:
    """Return every case: each operator with each dtype."""
    return tuple(_made())


def _made() -> Iterator[Case]:
    for op, (known, kind, fields) in UNARY.items():
        for dtype, version, honest in _every(known):
            model = _unary(op, dtype, version, kind, fields)
            yield Case(op, dtype, version, model, honest=honest)
    for op, (known, kind) in BINARY.items():
        for dtype, version, honest in _every(known):
            yield Case(op, dtype, version, _binary(op, dtype, version, kind), honest=honest)
    for op, known in COMPARE.items():
        for dtype, version, honest in _every(known):
            model = _binary(op, dtype, version, "", "bool")
            yield Case(op, dtype, version, model, honest=honest)
    for op, known in REDUCE.items():
        for dtype, version, honest in _every(known):
            net = Net()
            x, y = like(net, SHAPE, dtype), like(net, (1, 1, 1, 8), dtype)
            net.op(op, [x, net.ints([1, 2])], [y], version, "ReducerOptions", keepDims=True)
            yield Case(op, dtype, version, net.done([x], [y]), honest=honest)
    yield from moves()
    yield from weighted()
    yield from _conversions()
