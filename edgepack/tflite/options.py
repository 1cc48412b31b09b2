"""Builtin options by operator, those that are read: slot, width and default."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgepack.tflite.flattable import Scalar, Table

#: Field name -> (slot, scalar code, default), as in schema.fbs.
Slots = Mapping[str, tuple[int, Scalar, float]]

_ACTIVATION: Slots = {"activation": (0, "b", 0)}
_POOL: Slots = {
    "padding": (0, "b", 0),
    "stride_w": (1, "i", 0),
    "stride_h": (2, "i", 0),
    "filter_w": (3, "i", 0),
    "filter_h": (4, "i", 0),
    "activation": (5, "b", 0),
}
_LSTM: Slots = {
    "activation": (0, "b", 0),
    "cell_clip": (1, "f", 0),
    "proj_clip": (2, "f", 0),
    "kernel_type": (3, "b", 0),
}

#: Operator -> (its options table, the fields read).
_OPTIONS: Mapping[str, tuple[str, Slots]] = {
    "CONV_2D": (
        "Conv2DOptions",
        {
            "padding": (0, "b", 0),
            "stride_w": (1, "i", 0),
            "stride_h": (2, "i", 0),
            "activation": (3, "b", 0),
            "dilation_w": (4, "i", 1),
            "dilation_h": (5, "i", 1),
        },
    ),
    "DEPTHWISE_CONV_2D": (
        "DepthwiseConv2DOptions",
        {
            "padding": (0, "b", 0),
            "stride_w": (1, "i", 0),
            "stride_h": (2, "i", 0),
            "depth_multiplier": (3, "i", 0),
            "activation": (4, "b", 0),
            "dilation_w": (5, "i", 1),
            "dilation_h": (6, "i", 1),
        },
    ),
    "TRANSPOSE_CONV": (
        "TransposeConvOptions",
        {
            "padding": (0, "b", 0),
            "stride_w": (1, "i", 0),
            "stride_h": (2, "i", 0),
            "activation": (3, "b", 0),
        },
    ),
    "FULLY_CONNECTED": (
        "FullyConnectedOptions",
        {
            "activation": (0, "b", 0),
            "weights_format": (1, "b", 0),
            "keep_num_dims": (2, "B", 0),
            "asymmetric_quantize_inputs": (3, "B", 0),
        },
    ),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
    "L2_POOL_2D": ("Pool2DOptions", _POOL),
    "ADD": ("AddOptions", _ACTIVATION),
    "SUB": ("SubOptions", _ACTIVATION),
    "MUL": ("MulOptions", _ACTIVATION),
    "DIV": ("DivOptions", _ACTIVATION),
    "CONCATENATION": (
        "ConcatenationOptions",
        {"axis": (0, "i", 0), "activation": (1, "b", 0)},
    ),
    "BATCH_MATMUL": (
        "BatchMatMulOptions",
        {
            "adj_x": (0, "B", 0),
            "adj_y": (1, "B", 0),
            "asymmetric_quantize_inputs": (2, "B", 0),
        },
    ),
    "SVDF": (
        "SVDFOptions",
        {"rank": (0, "i", 0), "activation": (1, "b", 0)},
    ),
    "LSTM": ("LSTMOptions", _LSTM),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        "UnidirectionalSequenceLSTMOptions",
        {
            "activation": (0, "b", 0),
            "cell_clip": (1, "f", 0),
            "proj_clip": (2, "f", 0),
            "time_major": (3, "B", 0),
        },
    ),
    "MEAN": ("ReducerOptions", {"keep_dims": (0, "B", 0)}),
    "SUM": ("ReducerOptions", {"keep_dims": (0, "B", 0)}),
    "REDUCE_MAX": ("ReducerOptions", {"keep_dims": (0, "B", 0)}),
    "REDUCE_MIN": ("ReducerOptions", {"keep_dims": (0, "B", 0)}),
    "RESIZE_BILINEAR": (
        "ResizeBilinearOptions",
        {"align_corners": (2, "B", 0), "half_pixel_centers": (3, "B", 0)},
    ),
    "RESIZE_NEAREST_NEIGHBOR": (
        "ResizeNearestNeighborOptions",
        {"align_corners": (0, "B", 0), "half_pixel_centers": (1, "B", 0)},
    ),
    "STRIDED_SLICE": (
        "StridedSliceOptions",
        {
            "begin_mask": (0, "i", 0),
            "end_mask": (1, "i", 0),
            "ellipsis_mask": (2, "i", 0),
            "new_axis_mask": (3, "i", 0),
            "shrink_axis_mask": (4, "i", 0),
            "offset": (5, "B", 0),
        },
    ),
    "SOFTMAX": ("SoftmaxOptions", {"beta": (0, "f", 0)}),
    "LEAKY_RELU": ("LeakyReluOptions", {"alpha": (0, "f", 0)}),
    "SPLIT": ("SplitOptions", {"num_splits": (0, "i", 0)}),
    "IF": (
        "IfOptions",
        {"then_subgraph_index": (0, "i", 0), "else_subgraph_index": (1, "i", 0)},
    ),
    "WHILE": (
        "WhileOptions",
        {"cond_subgraph_index": (0, "i", 0), "body_subgraph_index": (1, "i", 0)},
    ),
    "CALL_ONCE": ("CallOnceOptions", {"init_subgraph_index": (0, "i", 0)}),
}


def read_options(op: Table, name: str) -> Mapping[str, Any]:
    """Return the options of one operator table; the schema's defaults where it has none.

    A table of another operator's kind is not read: the runtime, too, then takes defaults.
    """
    if name not in _OPTIONS:
        return MappingProxyType({})
    kind, slots = _OPTIONS[name]
    table = op.table(4, f"{op.what} options")
    if table is None or op.number(3, "B") != getattr(schema.BuiltinOptions, kind):
        return MappingProxyType({key: default for key, (_, _, default) in slots.items()})
    return MappingProxyType({key: _read(table, *where) for key, where in slots.items()})


def _read(table: Table, slot: int, code: Scalar, default: float) -> float:
    if code == "f":
        return table.real(slot, default)
    return table.number(slot, code, int(default))
