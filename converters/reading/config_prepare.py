"""A checked config, made ready to build: float32, free batch size, one input, one output.

What changes numbers or behaviour is said in a note; nothing here runs or imports Keras.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.reading.config_check import Found, objects
from converters.refusals import quote, refusal

_OTHER_FLOATS = frozenset({"float16", "float64", "mixed_float16", "mixed_bfloat16"})
_SHAPE_KEYS = ("batch_input_shape", "batch_shape", "build_input_shape")
_NOT_THE_MODEL = ("compile_config", "shared_object_id")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A config that is safe to build and what was changed in it.

    Attributes:
        config: the model's config; a new dict, nothing shared with the one given.
        notes: changes a reader of the report should know.
    """

    config: dict[str, Any]
    notes: tuple[str, ...]


def without_compile(config: object) -> object:
    """Return a deep copy without compile settings, at any depth.

    Keras calls ``compile_from_config`` on every object that has them, which builds losses
    and optimizers by name; ``compiled`` reads those names as text instead.
    """
    if isinstance(config, dict):
        return {k: without_compile(v) for k, v in config.items() if k not in _NOT_THE_MODEL}
    if isinstance(config, list):
        return [without_compile(item) for item in config]
    return config


def prepare(config: dict[str, Any], source: Path) -> Prepared:
    """Return ``config`` in float32 with a free batch size; changes it in place.

    Raises:
        ModelRefused: several inputs or outputs, a stateful layer, bfloat16 weights.
    """
    _check_ends(config, source)
    notes: dict[str, None] = {}
    for found in objects(config, source):
        inner = found.entry.get("config")
        if not isinstance(inner, dict):
            continue
        if inner.get("stateful") is True:
            raise refusal(
                source,
                wanted="layers that keep no state between batches",
                got=f"layer {quote(found.layer)} with stateful=True",
                do="rebuild it with stateful=False",
            )
        if (was := _set_float32(found, inner, source)) is not None:
            notes[f"the file computes in {was}; loaded in float32"] = None
        for key in _SHAPE_KEYS:
            shape = inner.get(key)
            if isinstance(shape, list) and shape and isinstance(shape[0], int):
                notes[f"the file fixes the batch size at {shape[0]}; loaded with any"] = None
                inner[key] = [None, *shape[1:]]
    return Prepared(config, tuple(notes))


def _set_float32(found: Found, inner: dict[str, Any], source: Path) -> str | None:
    """Set another float policy to float32 and return what it was."""
    dtype = inner.get("dtype")
    if isinstance(dtype, dict):
        policy = dtype.get("config")
        dtype = policy.get("name") if isinstance(policy, dict) else None
    if dtype == "bfloat16":
        raise refusal(
            source,
            wanted="weights in float32",
            got=f"layer {quote(found.layer)} in bfloat16",
            do="save it in float32: keras.config.set_dtype_policy('float32') before building",
        )
    if isinstance(dtype, str) and dtype in _OTHER_FLOATS:
        inner["dtype"] = "float32"
        return dtype
    return None


def _check_ends(config: dict[str, Any], source: Path) -> None:
    for key, word in (("input_layers", "input"), ("output_layers", "output")):
        if key not in config["config"]:
            continue  # Sequential
        ends = _ends(config["config"][key])
        if len(ends) != 1:
            listed = ", ".join(quote(end) for end in ends[:8]) or "none"
            raise refusal(
                source,
                wanted=f"a model with one {word}",
                got=f"{len(ends)} {word}s: {listed}",
                do=f"cut the model to one {word}: keras.Model(one input, one output)",
            )


def _ends(value: object) -> list[object]:
    """Return the layer names in any of the forms Keras writes them."""
    if isinstance(value, dict):
        return list(value)
    if not isinstance(value, list):
        return []
    if value and isinstance(value[0], str):
        return [value[0]]
    return [item[0] if isinstance(item, list) and item else item for item in value]
