"""The operators that move, pick or make values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.edgepack.opcase import DTYPES, SHAPE, Case, like
from tests.edgepack.tinymodels import Net

Ends = tuple[list[int], list[int]]
_BASIC = {"float32": 1, "int8": 2, "uint8": 1, "int32": 1}
_EVERY = dict.fromkeys(DTYPES, 1)
_AROUND = [[0, 0], [1, 1], [1, 1], [0, 0]]

#: One data input, constants behind it: operator -> (versions, options table, output shape,
#: constants, option fields).
SIMPLE: dict[str, tuple[dict[str, int], str, tuple[int, ...], list[Any], dict[str, Any]]] = {
    "RESHAPE": (_EVERY, "ReshapeOptions", (1, 128), [[1, 128]], {}),
    "TRANSPOSE": (
        {**_BASIC, "int64": 1, "bool": 3, "int16": 5},
        "TransposeOptions", (1, 8, 4, 4), [[0, 3, 1, 2]], {},
    ),
    "SQUEEZE": (_EVERY, "SqueezeOptions", (4, 4, 8), [], {"squeezeDims": [0]}),
    "EXPAND_DIMS": (_EVERY, "ExpandDimsOptions", (1, 1, 4, 4, 8), [[0]], {}),
    "PAD": (
        {**_BASIC, "int64": 1, "int16": 3}, "PadOptions", (1, 6, 6, 8), [_AROUND], {}
    ),
    "MIRROR_PAD": ({**_BASIC, "int16": 3}, "MirrorPadOptions", (1, 6, 6, 8), [_AROUND], {}),
    "TILE": (
        {"float32": 1, "int8": 3, "int32": 1, "int64": 1, "bool": 1},
        "TileOptions", (1, 8, 4, 8), [[1, 2, 1, 1]], {},
    ),
    "SPACE_TO_BATCH_ND": (
        {**_BASIC, "int16": 4},
        "SpaceToBatchNDOptions", (4, 2, 2, 8), [[2, 2], [[0, 0], [0, 0]]], {},
    ),
    "SPACE_TO_DEPTH": (_BASIC, "SpaceToDepthOptions", (1, 2, 2, 32), [], {"blockSize": 2}),
    "DEPTH_TO_SPACE": (_BASIC, "DepthToSpaceOptions", (1, 8, 8, 2), [], {"blockSize": 2}),
    "REVERSE_V2": (
        {"float32": 1, "int32": 1, "int64": 1, "uint8": 1, "int16": 1, "bool": 2, "int8": 3},
        "ReverseV2Options", SHAPE, [[1]], {},
    ),
    "BROADCAST_TO": (
        {"float32": 2, "int32": 2, "int8": 3, "int16": 3, "bool": 2},
        "BroadcastToOptions", (2, 4, 4, 8), [[2, 4, 4, 8]], {},
    ),
    "SLICE": (
        {**_BASIC, "int16": 4, "int64": 1, "bool": 1},
        "SliceOptions", (1, 2, 2, 8), [[0, 1, 1, 0], [1, 2, 2, 8]], {},
    ),
    "STRIDED_SLICE": (
        {**_BASIC, "bool": 3, "int16": 1},
        "StridedSliceOptions", (1, 2, 2, 8), [[0] * 4, [1, 4, 4, 8], [1, 2, 2, 1]], {},
    ),
    "GATHER": (
        {**_BASIC, "bool": 3, "int16": 4, "int64": 1},
        "GatherOptions", (1, 2, 4, 8), [[0, 2]], {"axis": 1},
    ),
    "GATHER_ND": (
        {"float32": 1, "int8": 1, "uint8": 1, "int16": 3, "int32": 1, "int64": 1},
        "GatherNdOptions", (2, 8), [[[0, 1, 1], [0, 2, 2]]], {},
    ),
    "RESIZE_BILINEAR": (
        {"float32": 1, "int8": 2, "uint8": 1, "int16": 4},
        "ResizeBilinearOptions", (1, 8, 8, 8), [[8, 8]], {},
    ),
    "RESIZE_NEAREST_NEIGHBOR": (
        {"float32": 1, "int8": 2, "uint8": 1, "int16": 4},
        "ResizeNearestNeighborOptions", (1, 8, 8, 8), [[8, 8]], {},
    ),
    "CUMSUM": ({"float32": 1, "int32": 1, "int64": 1}, "CumsumOptions", SHAPE, [[1]], {}),
}  # fmt: skip


def _scalar(net: Net, value: int) -> int:
    made = net.ints([value])
    net.tensors[made].shape = []
    return made


def _batch_to_space(net: Net, dtype: str, version: int) -> Ends:
    x, y = like(net, (4, 2, 2, 8), dtype), like(net, SHAPE, dtype)
    consts = [net.ints([2, 2]), net.ints([[0, 0], [0, 0]])]
    net.op("BATCH_TO_SPACE_ND", [x, *consts], [y], version, "BatchToSpaceNDOptions")
    return [x], [y]


def _padv2(net: Net, dtype: str, version: int) -> Ends:
    x, y = like(net, SHAPE, dtype), like(net, (1, 6, 6, 8), dtype)
    value = net.tensor((1,), dtype, np.zeros(1, dtype))
    net.tensors[value].quantization = net.tensors[x].quantization
    net.op("PADV2", [x, net.ints(_AROUND), value], [y], version, "PadV2Options")
    return [x], [y]


def _concat(net: Net, dtype: str, version: int) -> Ends:
    a, b, y = like(net, SHAPE, dtype), like(net, SHAPE, dtype), like(net, (1, 4, 4, 16), dtype)
    net.op("CONCATENATION", [a, b], [y], version, "ConcatenationOptions", axis=3)
    return [a, b], [y]


def _pack(net: Net, dtype: str, version: int) -> Ends:
    a, b, y = like(net, SHAPE, dtype), like(net, SHAPE, dtype), like(net, (2, *SHAPE), dtype)
    net.op("PACK", [a, b], [y], version, "PackOptions", valuesCount=2, axis=0)
    return [a, b], [y]


def _unpack(net: Net, dtype: str, version: int) -> Ends:
    x, ys = like(net, (2, 4, 8), dtype), [like(net, (4, 8), dtype) for _ in range(2)]
    net.op("UNPACK", [x], ys, version, "UnpackOptions", num=2, axis=0)
    return [x], ys


def _split(net: Net, dtype: str, version: int) -> Ends:
    x, ys = like(net, SHAPE, dtype), [like(net, (1, 4, 4, 4), dtype) for _ in range(2)]
    net.op("SPLIT", [_scalar(net, 3), x], ys, version, "SplitOptions", numSplits=2)
    return [x], ys


def _split_v(net: Net, dtype: str, version: int) -> Ends:
    x, ys = like(net, SHAPE, dtype), [like(net, (1, 4, 4, 4), dtype) for _ in range(2)]
    inputs = [x, net.ints([4, 4]), _scalar(net, 3)]
    net.op("SPLIT_V", inputs, ys, version, "SplitVOptions", numSplits=2)
    return [x], ys


def _select(net: Net, dtype: str, version: int) -> Ends:
    where = net.tensor(SHAPE, "bool")
    a, b, y = (like(net, SHAPE, dtype) for _ in range(3))
    net.op("SELECT", [where, a, b], [y], version, "SelectOptions")
    return [where, a, b], [y]


def _select_v2(net: Net, dtype: str, version: int) -> Ends:
    where = net.tensor(SHAPE, "bool")
    a, b, y = (like(net, SHAPE, dtype) for _ in range(3))
    net.op("SELECT_V2", [where, a, b], [y], version, "SelectV2Options")
    return [where, a, b], [y]


def _fill(net: Net, dtype: str, version: int) -> Ends:
    value, y = like(net, (), dtype), like(net, (2, 3), dtype)
    net.op("FILL", [net.ints([2, 3]), value], [y], version, "FillOptions")
    return [value], [y]


def _shape(net: Net, dtype: str, version: int) -> Ends:
    x, y = like(net, SHAPE, dtype), net.tensor((4,), "int32")
    net.op("SHAPE", [x], [y], version, "ShapeOptions", outType=2)
    return [x], [y]


def _arg_max(net: Net, dtype: str, version: int) -> Ends:
    x, y = like(net, SHAPE, dtype), net.tensor((1, 4, 4), "int32")
    net.op("ARG_MAX", [x, _scalar(net, 3)], [y], version, "ArgMaxOptions", outputType=2)
    return [x], [y]


def _arg_min(net: Net, dtype: str, version: int) -> Ends:
    x, y = like(net, SHAPE, dtype), net.tensor((1, 4, 4), "int32")
    net.op("ARG_MIN", [x, _scalar(net, 3)], [y], version, "ArgMinOptions", outputType=2)
    return [x], [y]


def _top(net: Net, dtype: str, version: int) -> Ends:
    x, values = like(net, (1, 16), dtype), like(net, (1, 3), dtype)
    where = net.tensor((1, 3), "int32")
    net.op("TOPK_V2", [x, _scalar(net, 3)], [values, where], version, "TopKV2Options")
    return [x], [values, where]


def _one_hot(net: Net, dtype: str, version: int) -> Ends:
    x, y = net.tensor((4,), "int32"), like(net, (4, 5), dtype)
    on, off = like(net, (), dtype), like(net, (), dtype)
    net.op("ONE_HOT", [x, _scalar(net, 5), on, off], [y], version, "OneHotOptions", axis=-1)
    return [x, on, off], [y]


def _update(net: Net, dtype: str, version: int) -> Ends:
    x, part = like(net, (1, 8, 4), dtype), like(net, (1, 2, 4), dtype)
    y, start = like(net, (1, 8, 4), dtype), net.tensor((3,), "int32")
    net.op("DYNAMIC_UPDATE_SLICE", [x, part, start], [y], version)
    return [x, part, start], [y]


def _add_n(net: Net, dtype: str, version: int) -> Ends:
    a, b, y = (like(net, SHAPE, dtype) for _ in range(3))
    net.op("ADD_N", [a, b], [y], version, "AddNOptions")
    return [a, b], [y]


def _embedding(net: Net, dtype: str, version: int) -> Ends:
    x, table = net.tensor((3,), "int32"), net.weights((10, 8), dtype)
    y = like(net, (3, 8), "float32")
    net.op("EMBEDDING_LOOKUP", [x, table], [y], version)
    return [x], [y]


_CHOSEN = {"float32": 1, "int8": 1, "int16": 1, "int32": 1, "int64": 1, "bool": 1}
WRITTEN: dict[str, tuple[dict[str, int], Callable[[Net, str, int], Ends]]] = {
    "BATCH_TO_SPACE_ND": ({**_BASIC, "int16": 4}, _batch_to_space),
    "PADV2": ({**_BASIC, "int16": 3}, _padv2),
    "CONCATENATION": ({**_BASIC, "int16": 3, "int64": 1, "bool": 1}, _concat),
    "PACK": ({**_BASIC, "int16": 3, "int64": 1}, _pack),
    "UNPACK": ({**_BASIC, "uint8": 2, "bool": 3, "int16": 4}, _unpack),
    "SPLIT": ({**_BASIC, "int16": 4, "int32": 3}, _split),
    "SPLIT_V": ({**_BASIC, "int16": 1}, _split_v),
    "SELECT": (_CHOSEN, _select),
    "SELECT_V2": (_CHOSEN, _select_v2),
    "FILL": ({"float32": 1, "int32": 1, "bool": 2, "int8": 3, "int16": 3}, _fill),
    "SHAPE": ({"float32": 1, "int8": 1}, _shape),
    "ARG_MAX": ({**_BASIC, "bool": 3}, _arg_max),
    "ARG_MIN": ({**_BASIC, "bool": 3}, _arg_min),
    "TOPK_V2": ({**_BASIC, "int16": 3}, _top),
    "ONE_HOT": ({"float32": 1, "int32": 1, "int8": 1, "bool": 1}, _one_hot),
    "DYNAMIC_UPDATE_SLICE": (
        {"float32": 1, "int8": 1, "int32": 1, "int64": 1, "bool": 1},
        _update,
    ),
    "ADD_N": ({"float32": 1, "int32": 1}, _add_n),
    "EMBEDDING_LOOKUP": ({"float32": 1, "int8": 3}, _embedding),
}


def moves() -> Iterator[Case]:
    """Yield every operator of this file in every dtype."""
    for op, (known, kind, shape, consts, fields) in SIMPLE.items():
        lowest = 2 if op == "BROADCAST_TO" else 1  # version 1 was rolled back
        for dtype in DTYPES:
            net, version = Net(), known.get(dtype, lowest)
            x, y = like(net, SHAPE, dtype), like(net, shape, dtype)
            net.op(op, [x, *(net.ints(c) for c in consts)], [y], version, kind, **fields)
            yield Case(op, dtype, version, net.done([x], [y]), honest=dtype in known)
    for op, (known, write) in WRITTEN.items():
        for dtype in DTYPES:
            net, version = Net(), known.get(dtype, 1)
            inputs, outputs = write(net, dtype, version)
            model = net.done(inputs, outputs)
            yield Case(op, dtype, version, model, honest=dtype in known)
