"""A draft as a folder of plain files, and back; the same draft gives the same bytes.

``graph.json`` is the model's config, ``weights.npz`` its variables in order, ``draft.json``
the rest. TFMOT's wrapped models fail in the .keras format and their .h5 carries times, so
neither is used. A folder is trusted: it is the cache of one's own builds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from converters.draft import Draft, Trait
from converters.errors import ModelRefused

_VERSION = 1


def save(draft: Draft, folder: Path) -> None:
    """Write ``draft`` into the existing ``folder``."""
    model = draft.model
    graph = _without_builds(json.loads(model.to_json()))
    (folder / "graph.json").write_text(json.dumps(graph, sort_keys=True), encoding="utf-8")
    values = {f"{at:05d}": value for at, value in enumerate(model.get_weights())}
    np.savez(folder / "weights.npz", **values)
    rest = {
        "version": _VERSION,
        "traits": draft.traits.value,
        "promises": {kind: dict(numbers) for kind, numbers in draft.promises.items()},
        "notes": list(draft.notes),
        "loss": _loss_words(model),
    }
    (folder / "draft.json").write_text(json.dumps(rest, sort_keys=True), encoding="utf-8")


def load(folder: Path) -> Draft:
    """Return the draft that ``save`` wrote: same outputs, promises, notes and loss.

    Raises:
        ModelRefused: another version wrote it, or a file is missing or damaged.
    """
    from converters import keras2

    try:
        rest = json.loads((folder / "draft.json").read_text(encoding="utf-8"))
        graph = (folder / "graph.json").read_text(encoding="utf-8")
        with np.load(folder / "weights.npz", allow_pickle=False) as stored:
            values = [stored[name] for name in sorted(stored.files)]
        if rest["version"] != _VERSION:
            raise ValueError(f"version {rest['version']}, wanted {_VERSION}")
        with keras2.tfmot.quantization.keras.quantize_scope():
            model = keras2.keras.models.model_from_json(graph)
        model.set_weights(values)
        loss = rest["loss"]
        if loss is not None:
            model.compile(optimizer="sgd", loss=keras2.keras.losses.get(loss))
        return Draft(model, Trait(rest["traits"]), rest["promises"], tuple(rest["notes"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelRefused(
            f"{folder}: wanted a stored draft. Received: {error}. Remove the folder; the "
            "next build makes it anew"
        ) from error


def _without_builds(words: Any) -> Any:
    """Return a config without ``build_config``, from which TFMOT's layers build twice."""
    if isinstance(words, dict):
        return {k: _without_builds(v) for k, v in words.items() if k != "build_config"}
    return [_without_builds(word) for word in words] if isinstance(words, list) else words


def _loss_words(model: Any) -> Any:
    """Return the compiled loss as JSON; None where there is none or it is not Keras' own."""
    from converters import keras2

    loss = getattr(model, "loss", None)
    if not loss or isinstance(loss, list | tuple | dict):
        return None
    if isinstance(loss, str):
        return loss
    words = keras2.keras.losses.serialize(loss)
    try:
        keras2.keras.losses.get(words)
        json.dumps(words)
    except (TypeError, ValueError):
        return None  # a loss of the user's own; Training.original still carries it
    return words
