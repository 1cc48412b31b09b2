"""One container opened: what it says, all of it checked, and a cleaned copy for Keras.

The copy holds the checked config and the weights, nothing else. Neither Keras is imported.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import ConversionError
from converters.reading import compiled, config_check, config_graph, config_prepare, hdf5_check
from converters.reading.container_checks import open_keras_zip, parse_json
from converters.reading.hdf5_check import Hdf5Facts
from converters.reading.snapshot import Snapshot
from converters.refusals import quote, refusal

_SAVE_AGAIN = "save it again with model.save('model.keras')"


@dataclass(frozen=True, slots=True)
class Checked:
    """What one container said, all of it checked."""

    snapshot: Snapshot
    kind: str
    config: dict[str, Any]
    training: compiled.Compiled
    facts: Hdf5Facts
    notes: tuple[str, ...]
    allow_code: bool


def open_zip(snapshot: Snapshot, room: Path, allow_code: bool) -> tuple[Checked, Path]:
    """Return what a ``.keras`` file says and the path of its cleaned copy in ``room``.

    Raises:
        ModelRefused: damaged, hostile, or a model no stage can take.
    """
    parts = open_keras_zip(snapshot.path, snapshot.source, room)
    facts = hdf5_check.examine(parts.weights, snapshot.source)
    kind = _of_version("zip", parts.version, snapshot.source)
    settings = parts.config.get("compile_config") if isinstance(parts.config, dict) else None
    checked = check(
        snapshot,
        facts,
        kind=kind,
        config=parts.config,
        settings=settings,
        allow_code=allow_code,
    )
    clean = room / "clean.keras"
    with zipfile.ZipFile(clean, "x") as archive:
        archive.writestr("config.json", json.dumps(checked.config))
        archive.writestr("metadata.json", json.dumps({"keras_version": parts.version}))
        archive.write(parts.weights, "model.weights.h5")
    return checked, clean


def open_hdf5(snapshot: Snapshot, room: Path, allow_code: bool) -> tuple[Checked, Path]:
    """Return what an HDF5 file says and the path of its cleaned copy in ``room``.

    Raises:
        ModelRefused: damaged, hostile, weights alone, or a model no stage can take.
    """
    import h5py

    source = snapshot.source
    facts = hdf5_check.examine(snapshot.path, source)
    if "model_config" not in facts.texts:
        has_weights = {"layers", "_layer_checkpoint_dependencies", "vars"} & set(facts.names)
        weights = has_weights or "backend" in facts.texts
        raise refusal(
            source,
            wanted="a whole Keras model",
            got="weights without their architecture" if weights else "HDF5 without a model",
            do="save the whole model with model.save('model.keras')",
        )
    config = parse_json(facts.texts["model_config"], "model_config", source)
    settings = None
    if "training_config" in facts.texts:
        settings = parse_json(facts.texts["training_config"], "training_config", source)
    kind = _of_version("h5", facts.texts.get("keras_version", "1"), source)
    checked = check(
        snapshot, facts, kind=kind, config=config, settings=settings, allow_code=allow_code
    )
    clean = snapshot.path.rename(room / "clean.h5")
    with h5py.File(clean, "r+") as file:
        file.attrs["model_config"] = json.dumps(checked.config)
        file.attrs.pop("training_config", None)
    return checked, clean


def _of_version(form: str, version: str, source: Path) -> str:
    """Return the kind of a container that this version of Keras wrote."""
    major = version.partition(".")[0]
    if major == "3":
        return f"keras-v3-{form}"
    if major == "2":
        return "tf_keras-zip" if form == "zip" else "h5"
    raise refusal(
        source,
        wanted="a model of Keras 2 or 3",
        got=f"one of Keras {quote(version)}",
        do=f"load it where it was made and {_SAVE_AGAIN}",
    )


def check(
    snapshot: Snapshot,
    facts: Hdf5Facts,
    *,
    kind: str,
    config: object,
    settings: object,
    allow_code: bool,
) -> Checked:
    """Return a config and its compile settings, checked and made ready to build."""
    source = snapshot.source
    with one_line(source):
        bare = config_prepare.without_compile(config)
        safe = config_check.check(bare, source, allow_code=allow_code)
        ready = config_prepare.prepare(safe, source)
        if not kind.startswith("keras-v3"):
            config_graph.check(ready.config, source)
        training = compiled.read(settings)
    return Checked(snapshot, kind, ready.config, training, facts, ready.notes, allow_code)


@contextmanager
def one_line(source: Path) -> Iterator[None]:
    """Turn whatever Keras says about a model it cannot build into one line."""
    try:
        yield
    except ConversionError:
        raise
    except Exception as fault:
        cause = str(fault).rpartition("Exception encountered:")[2]  # Keras nests its reports
        cause = re.sub(r"\S*edgepack-load-\S*", "it", " ".join(cause.split()))
        text = f"{type(fault).__name__}: {cause}"
        raise refusal(
            source,
            wanted="a model that Keras can rebuild from its own config",
            got=quote(text),
            do=f"check it where it was made and {_SAVE_AGAIN}",
        ) from fault
