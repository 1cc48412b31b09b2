"""What stands around the graphs of a .tflite: named signatures and metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgepack.errors import InputError
from edgepack.tflite.facts import Signature, Subgraph
from edgepack.tflite.flattable import MOST_PARTS, Table


def read_signatures(model: Table, subgraphs: tuple[Subgraph, ...]) -> Iterable[Signature]:
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


def read_metadata(
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
