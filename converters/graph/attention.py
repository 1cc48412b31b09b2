"""Attention in layers that train quantized: one Dense a head, Dot, Softmax, Dot.

A product of two series per head is what a Dot layer and the int8 BATCH_MATMUL compute; the
factor ``1 / sqrt(d)`` goes into the query's kernel.
"""

from __future__ import annotations

import math
from typing import Any

from converters.graph.walk import RewriteRule, Site, is_tensor

_CAUSAL = "use_causal_mask"


def _multi_head(site: Site) -> Any:
    """Return a MultiHeadAttention head by head, None where it has masks but the causal one."""
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
        shares = _shares(site, scores, f"shares_{head}")
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


def _shares(site: Site, scores: Any, suffix: str) -> Any:
    """Return the softmax of scores, behind the causal mask where the call asks for one."""
    causal = site.kwargs.get(_CAUSAL) or site.layer.get_config().get("causal")
    if causal:
        return site.make("Activation", suffix, activation="causal_softmax")(scores)
    return site.make("Softmax", suffix)(scores)


def _inputs(site: Site) -> tuple[Any, Any, Any] | None:
    """Return (query, value, key) of a call with nothing else."""
    order = dict(zip(("query", "value", "key"), site.args, strict=False)) | dict(site.kwargs)
    more = order.keys() - {"query", "value", "key", "training", _CAUSAL}
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
    """Return a dot-product Attention without scale as Dot, Softmax, Dot."""
    config, series = site.layer.get_config(), _series(site)
    if series is None or config["use_scale"] or config["score_mode"] != "dot":
        return None
    query, value, key = series
    return _read(site, site.make("Dot", "scores", axes=2)([query, key]), value)


def _additive(site: Site) -> Any:
    """Return the scores ``sum(scale * tanh(query + key))`` as one Dense over all pairs."""
    layer, series = site.layer, _series(site)
    if series is None or not layer.get_config()["use_scale"]:
        return None
    query, value, key = series
    (rows, wide), columns = query.shape[1:], key.shape[1]
    down = site.make("Reshape", "query", target_shape=(rows, 1, wide))(query)
    across = site.make("Reshape", "key", target_shape=(1, columns, wide))(key)
    pairs = site.make("Add", "pairs")([down, across])
    pairs = site.make("Activation", "tanh", activation="tanh")(pairs)
    scale = [layer.get_weights()[0][:, None]]
    scores = site.make("Dense", "scores", scale, units=1, use_bias=False)(pairs)
    scores = site.make("Reshape", "square", target_shape=(rows, columns))(scores)
    return _read(site, scores, value)


def _series(site: Site) -> tuple[Any, Any, Any] | None:
    """Return (query, value, key) of a call on a list of series without padding masks."""
    parts = site.args[0]
    if not isinstance(parts, list) or len(site.args) > 1:
        return None
    if any(v not in (None, False) for name, v in site.kwargs.items() if name != _CAUSAL):
        return None
    if any(len(part.shape) != 3 or None in part.shape[1:] for part in parts):
        return None
    query, value = parts[:2]
    return query, value, parts[2] if len(parts) > 2 else value


def _read(site: Site, scores: Any, value: Any) -> Any:
    shares = _shares(site, scores, "shares")
    dropout = site.layer.get_config()["dropout"]
    if dropout:
        shares = site.make("Dropout", "drop", rate=dropout)(shares)
    return site.make("Dot", "read", axes=(2, 1))([shares, value])


RULES: dict[str, RewriteRule] = {
    "AdditiveAttention": _additive,
    "Attention": _attention,
    "MultiHeadAttention": _multi_head,
}
