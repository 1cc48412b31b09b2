"""A Keras model from anywhere, as the tf_keras model every stage works on.

Order matters: copy and hash, look at the bytes, read the container in a process of its own,
check the config as data, and only then let Keras build it, from a cleaned copy that holds
nothing unchecked: the checked config and the weights. TensorFlow is imported last, so a file
that is no model costs no seconds.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.errors import ConversionError, quote, refusal
from converters.reading import compiled, hdf5_check
from converters.reading.config import check_config, check_wiring, prepare, without_compile
from converters.reading.container_checks import open_keras_zip, parse_json, sniff
from converters.reading.hdf5_check import Hdf5Facts
from converters.reading.snapshot import Snapshot, take

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
        bare = without_compile(config)
        safe = check_config(bare, source, allow_code=allow_code)
        ready = prepare(safe, source)
        if not kind.startswith("keras-v3"):
            check_wiring(ready.config, source)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One model, ready for the first stage.

    Attributes:
        model: tf_keras functional model, one float32 output, one input of fixed size;
            compiled with the file's loss and metrics where those are Keras' own.
        kind: ``tf_keras-zip``, ``keras-v3-zip``, ``h5``, ``keras-v3-h5`` or ``savedmodel``.
        bridge_max_abs_diff: for Keras 3, the largest absolute difference between the
            outputs of the file's model and of ``model``, measured in float32 on random
            input; None where nothing was rebuilt.
        digest: sha256 of the file; of a folder, over its sorted files.
        notes: what differs from the file and why, in words for the report.
    """

    model: Any
    kind: str
    bridge_max_abs_diff: float | None
    digest: str
    notes: tuple[str, ...] = ()


def load(path: Path, *, allow_code: bool = False) -> Loaded:
    """Return the model at ``path``, a .keras or .h5 file or a SavedModel folder.

    ``allow_code`` lets Lambda layers and classes that are not Keras' own run; everything
    else stays checked. A flipped bit that leaves a valid weight behind cannot be seen.

    Raises:
        ModelRefused: missing, damaged, hostile, not a model, or a model that no stage can
            take; one line naming the file, what was wanted, what was got and the remedy.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="edgepack-load-") as room:
            return _load(take(Path(path), Path(room)), Path(room), allow_code)
    except OSError as fault:  # the disk of the working copy: no space, no TMPDIR
        raise refusal(
            path,
            wanted="room for a working copy of the model",
            got=quote(fault),
            do="free space there, or set TMPDIR to another folder",
        ) from fault


def _load(snapshot: Snapshot, room: Path, allow_code: bool) -> Loaded:
    if snapshot.is_folder:
        return _load_saved_model(snapshot, allow_code)
    if sniff(snapshot.path, snapshot.source) == "zip":
        checked, clean = open_zip(snapshot, room, allow_code)
    else:
        checked, clean = open_hdf5(snapshot, room, allow_code)
    if checked.kind.startswith("keras-v3"):
        return _load_keras3(checked, clean)
    return _load_keras2(checked, clean)


def _load_keras2(checked: Checked, clean: Path) -> Loaded:
    from converters import keras2

    return _finish(checked, _restored(keras2.keras, checked, clean))


def _load_keras3(checked: Checked, clean: Path) -> Loaded:
    from converters.reading import keras3

    source = checked.snapshot.source
    original = _restored(keras3.import_keras3(), checked, clean)
    with one_line(source):
        bridged = keras3.bridge(original, source)
    notes = (*checked.notes, *bridged.notes)
    done = _finish(replace(checked, notes=notes), bridged.model)
    return replace(done, bridge_max_abs_diff=bridged.max_abs_diff)


def _restored(keras: Any, checked: Checked, clean: Path) -> Any:
    """Return what either Keras makes of a cleaned copy, each weight of it from the file."""
    from converters.reading import admission, normalization

    source = checked.snapshot.source
    budget = admission.weight_budget(keras.layers.Layer, checked.facts.weight_bytes, source)
    with one_line(source), budget:
        model = keras.models.load_model(clean, compile=False, safe_mode=not checked.allow_code)
        admission.check_built(model, source)
        admission.check_held(model, checked.facts, source)
        normalization.finish(model)
    return model


def _load_saved_model(snapshot: Snapshot, allow_code: bool) -> Loaded:
    from converters.reading import saved_model

    source = snapshot.source
    saved = saved_model.read(snapshot)
    facts = Hdf5Facts({}, (), frozenset(), saved.weight_bytes)
    checked = check(
        snapshot,
        facts,
        kind="savedmodel",
        config=saved.config,
        settings=saved.training,
        allow_code=allow_code,
    )
    with one_line(source):
        model = saved_model.build(checked.config, saved, source, allow_code=allow_code)
    return _finish(checked, model)


def _finish(checked: Checked, model: Any) -> Loaded:
    from converters.reading import admission, normalization

    source = checked.snapshot.source
    with one_line(source):
        model = admission.functional(model, source)
        admission.check_finite(model, source)
        model, frozen = normalization.freeze(model, source)
        unknown = compiled.apply(checked.training, model)
    return Loaded(
        model=model,
        kind=checked.kind,
        bridge_max_abs_diff=None,
        digest=checked.snapshot.digest,
        notes=(*checked.notes, *frozen, *unknown),
    )
