"""Attention in layers that train quantized: one Dense a head, Dot, Softmax, Dot.

A product of two series per head is what a Dot layer and the int8 BATCH_MATMUL compute; the
factor ``1 / sqrt(d)`` goes into the query's kernel.
"""

from __future__ import annotations

import math
from typing import Any

from converters.graph.walk import Rule, Site, is_tensor


def _multi_head(site: Site) -> Any:
    """Return a MultiHeadAttention without masks, head by head, None where it has more."""
    layer, parts = site.layer, _inputs(site)
    config = layer.get_config()
    if parts is None or config["attention_axes"] not in (None, (1,), [1]):
        return None
    if any(len(part.shape) != 3 or None in part.shape[1:] for part in parts):
        return None
    query, value, key = parts
    heads, wide = layer.get_weights(), config["use_bias"]
    named = dict(zip(("query", "key", "value", "output"), _grouped(heads, wide), strict=True))
    outputs = named["output"][0].shape[2:]
    if len(outputs) != 1:
        return None
    scale = 1 / math.sqrt(config["key_dim"])
    read = []
    for head in range(config["num_heads"]):
        q = _project(site, f"query_{head}", named["query"], head, scale)(query)
        k = _project(site, f"key_{head}", named["key"], head, 1.0)(key)
        v = _project(site, f"value_{head}", named["value"], head, 1.0)(value)
        scores = site.make("Dot", f"scores_{head}", axes=2)([q, k])
        shares = site.make("Softmax", f"shares_{head}")(scores)
        if config["dropout"]:
            shares = site.make("Dropout", f"drop_{head}", rate=config["dropout"])(shares)
        read.append(site.make("Dot", f"read_{head}", axes=(2, 1))([shares, v]))
    joined = site.make("Concatenate", "heads")(read) if len(read) > 1 else read[0]
    kernel, *bias = named["output"]
    kernel = kernel.reshape(-1, kernel.shape[-1])
    dense = site.make(
        "Dense", "output", [kernel, *bias], units=kernel.shape[-1], use_bias=bool(bias)
    )
    return dense(joined)


def _inputs(site: Site) -> tuple[Any, Any, Any] | None:
    """Return (query, value, key) of a call with nothing else."""
    order = dict(zip(("query", "value", "key"), site.args, strict=False)) | dict(site.kwargs)
    more = order.keys() - {"query", "value", "key", "training"}
    if len(site.args) > 3 or any(order[name] not in (None, False) for name in more):
        return None
    query, value = order.get("query"), order.get("value")
    key = order.get("key")
    key = value if key is None else key
    return (query, value, key) if all(map(is_tensor, (query, value, key))) else None


def _grouped(values: list[Any], biased: bool) -> list[list[Any]]:
    size = 2 if biased else 1
    return [values[at : at + size] for at in range(0, len(values), size)]


def _project(site: Site, suffix: str, values: list[Any], head: int, scale: float) -> Any:
    weights = [part[..., head, :] * scale for part in values]
    return site.make(
        "Dense", suffix, weights, units=weights[0].shape[-1], use_bias=len(weights) > 1
    )


def _attention(site: Site) -> Any:
    """Return a dot-product Attention without masks or scale as Dot, Softmax, Dot."""
    layer, parts = site.layer, site.args[0]
    config = layer.get_config()
    plain = not config["use_scale"] and config["score_mode"] == "dot"
    if not plain or not isinstance(parts, list) or len(site.args) > 1:
        return None
    if any(value not in (None, False) for value in site.kwargs.values()):
        return None
    if any(len(part.shape) != 3 or None in part.shape[1:] for part in parts):
        return None
    query, value = parts[:2]
    key = parts[2] if len(parts) > 2 else value
    shares = site.make("Softmax", "shares")(site.make("Dot", "scores", axes=2)([query, key]))
    if config["dropout"]:
        shares = site.make("Dropout", "drop", rate=config["dropout"])(shares)
    return site.make("Dot", "read", axes=(2, 1))([shares, value])


RULES: dict[str, Rule] = {"Attention": _attention, "MultiHeadAttention": _multi_head}
