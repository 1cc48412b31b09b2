"""The four forms in which data come, each as named arrays; nothing is judged here."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepack import npy
from edgepack.errors import EnvironmentMissing, InputError

CEILING_BYTES = 8 * 1024**3
PIXELS = {"raw": (1.0, 0.0), "unit": (1 / 255, 0.0), "signed": (2 / 255, -1.0)}
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif"}


def from_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz; pickled objects in it never run.

    Raises:
        InputError: missing, no .npz, damaged, pickled, or larger unpacked than the ceiling.
    """
    if not path.exists():
        raise InputError(
            f"{path}: no such data; wanted an .npz, a folder, tfds:NAME or file.py:function"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path}: wanted an .npz, got an empty file")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > CEILING_BYTES:
            raise InputError(
                f"{path}: {unpacked:,} B unpacked; more than {CEILING_BYTES:,} B is refused"
            )
        return npy.read_npz(path)
    except InputError:
        raise
    except npy.NotPlainError as error:
        raise InputError(f"{path}: {error}") from error
    except zipfile.BadZipFile as error:
        if path.suffix == ".py":
            raise InputError(
                f"{path}: wanted the function that returns the data, as {path}:NAME"
            ) from error
        raise InputError(f"{path}: not an .npz, or truncated or damaged ({error})") from error
    except (
        OSError,
        EOFError,
        KeyError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise InputError(f"{path}: cannot read: {error}") from error
    except MemoryError as error:
        raise InputError(
            f"{path}: its arrays are more than this process may hold (ulimit, container); give"
            " fewer rows, or a smaller dtype"
        ) from error
    except Exception as error:
        # zlib.error has no public base of its own, and a broken header can raise anything
        # that a literal parser raises; whatever it is, the file is at fault.
        raise InputError(f"{path}: damaged ({type(error).__name__}: {error})") from error


def from_folder(
    root: Path,
    shape: tuple[int, ...],
    pixels: str,
    needed: tuple[str, ...] = ("train", "test"),
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Return image arrays from ``train|val|test/<class>/<image>``; classes in name order.

    Images are resized (bilinear) to the model's height and width and to its channels.

    Args:
        needed: splits that must be there; where it is the test part alone, no other is read.

    Raises:
        InputError: no such split or class, an image that cannot be read, classes that differ.
    """
    if len(shape) != 3 or shape[2] not in {1, 3}:
        raise InputError(
            f"{root}: a folder of images needs a model that takes (H, W, 1 or 3), got {shape}"
        )
    read = ("test",) if needed == ("test",) else ("train", "val", "test")
    splits = [s for s in read if (root / s).is_dir()]
    if not set(needed) <= set(splits):
        also = " (and val)" if len(read) > 1 else ""
        raise InputError(
            f"{root}: wanted folders {' and '.join(needed)}{also} of <class>/<image>"
        )
    labels = _classes_of(root / splits[0])
    arrays: dict[str, NDArray[Any]] = {}
    for split in splits:
        if _classes_of(root / split) != labels:
            raise InputError(
                f"{root / split}: wanted the classes {', '.join(labels)} of train."
                f" Received: {', '.join(_classes_of(root / split)) or 'none'}"
            )
        rows, targets = [], []
        for number, label in enumerate(labels):
            files = sorted(
                path
                for path in (root / split / label).iterdir()
                if path.suffix.lower() in _IMAGES and path.is_file()
            )
            if not files:
                raise InputError(
                    f"{root / split / label}: no image ({', '.join(sorted(_IMAGES))})"
                )
            rows += [_image(path, shape) for path in files]
            targets += [number] * len(files)
        arrays[f"x_{split}"] = scaled(np.stack(rows), pixels)
        arrays[f"y_{split}"] = np.asarray(targets, dtype=np.int64)
    return arrays, labels


def _classes_of(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))


def _image(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Odd metadata harm no pixel; a picture too large to be one is refused.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                grey = image.convert("L" if shape[2] == 1 else "RGB")
                small = grey.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
                return np.asarray(small, dtype=np.uint8).reshape(shape)
    except Exception as error:
        # A damaged picture can raise anything that one of a dozen decoders raises.
        raise InputError(f"{path}: not an image that can be read ({error})") from error


def scaled(x: NDArray[np.uint8], pixels: str) -> NDArray[Any]:
    """Return 0–255 pixels in the units the model was trained on; ``raw`` stays uint8."""
    if pixels not in PIXELS:
        raise InputError(f"pixels: wanted {', '.join(PIXELS)}. Received: {pixels!r}")
    factor, shift = PIXELS[pixels]
    return (
        x
        if pixels == "raw"
        else (x * np.float32(factor) + np.float32(shift)).astype(np.float32)
    )


def from_function(source: str) -> dict[str, NDArray[Any]]:
    """Return what the user's own function returns: a mapping with the keys of an .npz.

    Naming the file is the user's leave to run it.

    Raises:
        InputError: no such file or function, it raised, or it returned something else.
    """
    name, _, function = source.rpartition(":")
    path = Path(name)
    if not path.is_file():
        raise InputError(f"{path}: no such file; wanted file.py:function")
    spec = importlib.util.spec_from_file_location("edgepack_user_data", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        # What it prints is for people: stdout is for the result.
        with contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
            if not callable(getattr(module, function, None)):
                raise InputError(f"{path}: has no function {function!r}")
            made = getattr(module, function)()
        if not isinstance(made, dict):
            raise InputError(
                f"{source}: wanted a dict of arrays (x_train, y_train, …),"
                f" got {type(made).__name__}"
            )
        arrays = {str(key): np.asarray(value) for key, value in made.items()}
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        # sys.exit(0) in there is no success of ours.
        raise InputError(f"{source}: raised {type(error).__name__}: {error}") from error
    return arrays


def from_tfds(
    name: str, shape: tuple[int, ...], pixels: str
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """Return image arrays of an already prepared TensorFlow Datasets set (nothing is fetched).

    Raises:
        EnvironmentMissing: the package is not installed.
        InputError: no such prepared set, or not (image, label).
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise EnvironmentMissing(
            f"tfds:{name}: needs a package; pip install tensorflow-datasets"
        ) from error
    from PIL import Image

    def fit(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        mode = "L" if shape[2] == 1 else "RGB"
        image = Image.fromarray(picture.squeeze()).convert(mode)
        return np.asarray(image.resize((shape[1], shape[0])), dtype=np.uint8).reshape(shape)

    arrays: dict[str, NDArray[Any]] = {}
    try:
        builder = tfds.builder(name)
        labels = tuple(builder.info.features["label"].names)
        for ours, theirs in (("train", "train"), ("val", "validation"), ("test", "test")):
            if theirs in builder.info.splits:
                rows = list(tfds.as_numpy(builder.as_dataset(split=theirs, as_supervised=True)))
                arrays[f"x_{ours}"] = scaled(np.stack([fit(x) for x, _ in rows]), pixels)
                arrays[f"y_{ours}"] = np.asarray([y for _, y in rows], dtype=np.int64)
    except Exception as error:
        raise InputError(f"tfds:{name}: cannot read a prepared image set: {error}") from error
    return arrays, labels
