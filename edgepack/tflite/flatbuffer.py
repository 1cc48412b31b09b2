"""A .tflite file, read without TensorFlow and without trusting it, as Facts.

Slot numbers and defaults are those of the TensorFlow Lite schema 3
(tensorflow/compiler/mlir/lite/schema/schema.fbs); a test compares every value with the
accessors that flatc generated from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from ai_edge_litert import schema_py_generated as schema

from edgepack.errors import InputError
from edgepack.tflite.facts import Facts, Op, Signature, Subgraph
from edgepack.tflite.flattable import MOST_PARTS, Table, root
from edgepack.tflite.macs import macs
from edgepack.tflite.operators import CUSTOM, operator_name
from edgepack.tflite.options import read_options
from edgepack.tflite.tensors import BITS, Quantization, Tensor

#: Ceilings far above any model for these devices; what exceeds them is an attack.
MOST_BYTES = 2**31 - 1
MOST_DIMENSIONS = 64
MOST_ELEMENTS = 2**40

_TYPES: dict[int, str] = {
    v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)
}
_DETAILS = {1: "custom", 2: "blockwise", 3: "multi-axis"}


def read(data: bytes) -> Facts:
    """Return what the file holds.

    Raises:
        InputError: not a .tflite, truncated, damaged, or beyond the ceilings; one line.
    """
    if len(data) > MOST_BYTES:
        raise InputError(f".tflite too large: wanted at most 2 GiB, got {len(data):,} bytes")
    model = root(data, b"TFL3")
    if model.number(0, "I") != 3:
        raise InputError(f".tflite schema: wanted version 3, got {model.number(0, 'I')}")
    spans = tuple(_spans(model, len(data)))
    opcodes = tuple(_opcodes(model))
    subgraphs = tuple(
        _subgraph(table, index, opcodes, spans)
        for index, table in enumerate(model.tables(2, "subgraph", 1000))
    )
    if not subgraphs:
        raise InputError(".tflite is empty: wanted at least one subgraph, got none")
    for graph in subgraphs:
        _check_callees(graph, len(subgraphs))
    metadata, plan = _metadata(model, spans, memoryview(data))
    return Facts(
        subgraphs=subgraphs,
        opcodes=opcodes,
        signatures=tuple(_signatures(model, subgraphs)),
        description=model.text(3, "description"),
        metadata=metadata,
        offline_plan=plan,
        flatbuffer_bytes=len(data),
        data=bytes(data),
        spans=spans,
    )


def _spans(model: Table, size: int) -> Iterable[tuple[int, int]]:
    for table in model.tables(4, "buffer", MOST_PARTS):
        first, last = table.span(0, f"{table.what} data")
        offset, length = table.number(1, "Q"), table.number(2, "Q")
        if offset > 1:  # 0 and 1 say "inside the flatbuffer" (schema.fbs, table Buffer)
            first, last = offset, offset + length
            if last > size:
                raise InputError(
                    f".tflite truncated: {table.what} wants bytes {first:,} to {last:,}, "
                    f"the file ends at {size:,}; fetch it again"
                )
        yield first, last


def _opcodes(model: Table) -> Iterable[tuple[int, str, int]]:
    for table in model.tables(1, "operator code", MOST_PARTS):
        # the byte held the code until there were more than 127 (schema.fbs, OperatorCode)
        code = max(table.number(0, "b"), table.number(3, "i"))
        custom = table.text(1, f"{table.what} name") if code == CUSTOM else ""
        yield code, custom, table.number(2, "i", 1)


def _subgraph(
    table: Table,
    index: int,
    opcodes: tuple[tuple[int, str, int], ...],
    spans: tuple[tuple[int, int], ...],
) -> Subgraph:
    tensors = tuple(
        _tensor(item, number, spans)
        for number, item in enumerate(table.tables(0, "tensor", MOST_PARTS))
    )
    inputs = _indices(table, 1, "subgraph inputs", len(tensors))
    outputs = _indices(table, 2, "subgraph outputs", len(tensors))
    ops = tuple(
        _op(item, number, index, opcodes, tensors)
        for number, item in enumerate(table.tables(3, "operator", MOST_PARTS))
    )
    name = table.text(4, "subgraph name")
    return Subgraph(
        index=index, name=name, tensors=tensors, ops=ops, inputs=inputs, outputs=outputs
    )


def _indices(
    table: Table, slot: int, what: str, count: int, *, optional: bool = False
) -> tuple[int, ...]:
    found = table.numbers(slot, "i", what, MOST_PARTS)
    for item in found:
        if not (-1 if optional else 0) <= item < count:
            raise InputError(
                f".tflite damaged at {table.what}: {what} names tensor {item}, "
                f"the subgraph has {count}"
            )
    return found


def _tensor(table: Table, index: int, spans: tuple[tuple[int, int], ...]) -> Tensor:
    name = table.text(3, f"{table.what} name")
    where = f"tensor {index} ({name[:60]!r})"
    shape = table.numbers(0, "i", f"{where} shape", MOST_DIMENSIONS)
    signature = table.numbers(7, "i", f"{where} shape signature", MOST_DIMENSIONS)
    code, buffer = table.number(1, "b"), table.number(2, "I")
    if code not in _TYPES:
        raise InputError(f".tflite {where}: no known dtype has the number {code}")
    if min(shape, default=0) < 0 or prod(shape) > MOST_ELEMENTS:
        raise InputError(f".tflite {where}: wanted a shape of whole sizes, got {_short(shape)}")
    if len(signature) != len(shape):
        signature = ()  # of another rank: no runtime looks at it
    if buffer >= max(len(spans), 1):
        raise InputError(f".tflite {where}: wants buffer {buffer}, the file has {len(spans)}")
    if table.number(10, "I"):
        raise InputError(
            f".tflite {where}: its values are in another file; convert to a single file"
        )
    first, last = spans[buffer] if spans else (0, 0)
    tensor = Tensor(
        index=index,
        name=name,
        dtype=_TYPES[code],
        shape=shape,
        signature=signature or shape,
        ranked=table.has(0) or bool(table.number(8, "B")),
        quantization=_quantization(table.table(4, f"{where} quantization"), shape, where),
        constant=last > first,
        variable=bool(table.number(5, "B")),
        sparse=table.has(6),
        buffer=buffer,
    )
    held, wanted = last - first, tensor.nbytes
    # what a buffer holds behind the values is read by nobody
    if tensor.constant and tensor.dtype in BITS and not tensor.sparse and held < wanted:
        raise InputError(
            f".tflite {where}: {tensor.dtype} of {_short(shape)} wants {wanted:,} bytes, "
            f"buffer {buffer} holds {held:,}"
        )
    return tensor


def _short(shape: tuple[int, ...]) -> str:
    """Return a shape for a message, the first eight sizes at most."""
    return str(list(shape)) if len(shape) <= 8 else f"{str(list(shape[:8]))[:-1]}, …]"


def _quantization(
    table: Table | None, shape: tuple[int, ...], where: str
) -> Quantization | None:
    if table is None:
        return None
    scales = table.reals(2, "f", f"{where} scales", MOST_PARTS)
    points = table.numbers(3, "q", f"{where} zero points", MOST_PARTS)
    axis, details = table.number(6, "i"), _DETAILS.get(table.number(4, "B"), "")
    if not scales and not details:
        return None  # only min and max, from fake quantization
    return Quantization(scales, points, axis, details, _misfit(scales, points, axis, shape))


def _misfit(
    scales: tuple[float, ...], points: tuple[int, ...], axis: int, shape: tuple[int, ...]
) -> str:
    """Return why TensorFlow Lite does not take the numbers, as its own loader asks.

    Source: InterpreterBuilder::ParseQuantization (tensorflow/lite/core/interpreter_builder.cc).
    """
    if not scales:
        return ""
    if len(points) != len(scales):
        return f"{len(scales)} scales and {len(points)} zero points"
    if shape and not 0 <= axis < len(shape):
        return f"quantized dimension {axis} of {_short(shape)}"
    if shape and len(scales) not in (1, shape[axis]):
        return f"{len(scales)} scales along dimension {axis} of {_short(shape)}"
    return ""


def _op(
    table: Table,
    index: int,
    subgraph: int,
    opcodes: tuple[tuple[int, str, int], ...],
    tensors: tuple[Tensor, ...],
) -> Op:
    number = table.number(0, "I")
    if number >= len(opcodes):
        raise InputError(
            f".tflite {table.what}: wants operator code {number}, the file has {len(opcodes)}"
        )
    code, custom, version = opcodes[number]
    name = custom or "CUSTOM" if code == CUSTOM else operator_name(code)
    count = len(tensors)
    inputs = _indices(table, 1, "inputs", count, optional=True)
    outputs = _indices(table, 2, "outputs", count)
    options = read_options(table, name)
    return Op(
        index=index,
        subgraph=subgraph,
        name=name,
        code=code,
        version=version,
        inputs=inputs,
        outputs=outputs,
        intermediates=_indices(table, 8, "intermediates", count, optional=True),
        options=options,
        macs=macs(
            name,
            [tensors[i] if i >= 0 else None for i in inputs],
            [tensors[i] for i in outputs],
            options,
        ),
    )


def _check_callees(graph: Subgraph, count: int) -> None:
    for op in graph.ops:
        for key, callee in op.options.items():
            if key.endswith("subgraph_index") and not 0 <= callee < count:
                raise InputError(
                    f".tflite {op.name} (operator {op.index}): {key} is {callee}, "
                    f"the file has {count} subgraphs"
                )


def _signatures(model: Table, subgraphs: tuple[Subgraph, ...]) -> Iterable[Signature]:
    """Yield the named entries, each naming tensors that exist."""
    for table in model.tables(7, "signature", MOST_PARTS):
        number = table.number(4, "I")
        if number >= len(subgraphs):
            raise InputError(
                f".tflite {table.what}: names subgraph {number}, the file has {len(subgraphs)}"
            )
        count = len(subgraphs[number].tensors)
        ends = []
        for slot in (0, 1):
            pairs = []
            for item in table.tables(slot, f"{table.what} tensor", MOST_PARTS):
                tensor = item.number(1, "I")
                if tensor >= count:
                    raise InputError(
                        f".tflite {item.what}: names tensor {tensor}, there are {count}"
                    )
                pairs.append((item.text(0, f"{item.what} name"), tensor))
            ends.append(tuple(pairs))
        key = table.text(2, f"{table.what} key")
        yield Signature(key=key, subgraph=number, inputs=ends[0], outputs=ends[1])


def _metadata(
    model: Table, spans: tuple[tuple[int, int], ...], data: memoryview
) -> tuple[Mapping[str, str], tuple[int, ...]]:
    """Return metadata as text, and the offline memory plan's offsets (-1: not planned)."""
    found: dict[str, str] = {}
    plan: tuple[int, ...] = ()
    for table in model.tables(6, "metadata", MOST_PARTS):
        name, buffer = table.text(0, f"{table.what} name"), table.number(1, "I")
        if buffer >= len(spans):  # a runtime reads only the metadata that it knows
            found[name] = f"no buffer {buffer}"
            continue
        raw = bytes(data[slice(*spans[buffer])])
        text = raw[:4096].rstrip(b"\0").decode("ascii", "replace")
        found[name] = text if text.isprintable() else f"{len(raw)} bytes"
        if name == "OfflineMemoryAllocation":
            words = memoryview(raw[: len(raw) // 4 * 4]).cast("i")
            plan = tuple(words[3:])  # version, subgraph, count, then one offset a tensor
    return found, plan
