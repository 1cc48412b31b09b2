"""Real data sets as ``edgepack build --data benchmarks/real_data.py:NAME`` takes them.

Read from the folder that the environment variable EDGEPACK_DATA names, else from
``../shared/data`` beside the checkout; nothing is fetched. Each function returns the arrays
of an .npz. What a set is and where it comes from stands in its own SOURCE.txt.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, signal

Arrays = dict[str, NDArray[Any]]
ROOT = Path(
    os.environ.get(
        "EDGEPACK_DATA", Path(__file__).resolve().parents[1].parent / "shared" / "data"
    )
)


def _pictures(name: str, *, bgr: bool = False) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    with np.load(ROOT / name, allow_pickle=False) as packed:
        raw, at, y = packed["jpeg"].tobytes(), packed["offsets"], packed["y"]
    x = np.stack(
        [
            np.asarray(Image.open(io.BytesIO(raw[at[i] : at[i + 1]])).convert("RGB"))
            for i in range(len(y))
        ]
    )
    return (x[..., ::-1].copy() if bgr else x), y.astype(np.int64)


def cifar10() -> Arrays:
    """Train and validate on JPEG-compressed CIFAR-10, judge on 247 lossless test images."""
    x, y = _pictures("cifar10_jpeg/train8k_jpeg_q75.npz")
    with np.load(ROOT / "mlperf_tiny/eval/cifar10_test_lossless.npz") as test:
        return {
            "x_train": x[:6800],
            "y_train": y[:6800],
            "x_val": x[6800:],
            "y_val": y[6800:],
            "x_test": test["x"],
            "y_test": test["y"],
        }


def keywords() -> Arrays:
    """The 498 MFCC windows of the MLPerf Tiny list; 318 of them judge."""
    with np.load(ROOT / "mlperf_tiny/eval/kws01_mfcc.npz") as packed:
        x = (packed["q"].astype(np.float32) - packed["zero"]) * packed["scale"]
        y = packed["y"].astype(np.int64)
    return _parts(x, y, 120, 60)


def wake_words() -> Arrays:
    """The 500 images of the MLPerf Tiny list; 320 of them judge."""
    x, y = _pictures("mlperf_tiny/eval/vww01_96px_jpeg.npz", bgr=True)
    return _parts((x / np.float32(255)).astype(np.float32), y, 120, 60)


def _parts(x: NDArray[Any], y: NDArray[Any], train: int, val: int) -> Arrays:
    order = np.random.default_rng(0).permutation(len(x))
    rows = dict(
        zip(("train", "val", "test"), np.split(order, [train, train + val]), strict=True)
    )
    return {f"{k}_{n}": v[r] for n, r in rows.items() for k, v in (("x", x), ("y", y))}


def log_mels() -> Arrays:
    """Windows of 5 frames x 128 log-mels, as the anomaly detector takes them, of spoken digits.

    ToyADMOS itself is not at hand, so this is real audio of another kind: good for comparing
    the float and int8 autoencoder, not for its AUC.
    """
    parts = {}
    for split, name in (
        ("train", "fsdd/fsdd_train.npz"),
        ("test", "fsdd/fsdd_test_seen_speakers.npz"),
    ):
        with np.load(ROOT / name, allow_pickle=False) as packed:
            audio = packed["audio"].astype(np.float32) / 32768
        wide = signal.resample_poly(audio[: 8000 * 60], 2, 1)
        parts[f"x_{split}"] = _windows(wide)
    parts["x_val"], parts["x_train"] = parts["x_train"][1500:1800], parts["x_train"][:1500]
    parts["x_test"] = parts["x_test"][:1500]
    return parts


def _windows(audio: NDArray[Any], rate: int = 16000, size: int = 1024) -> NDArray[np.float32]:
    """Return ``(N, 640) float32`` log-mel windows: hop 512, 128 mel bands, 20/power*log10."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, size)[:: size // 2]
    power = np.abs(fft.rfft(frames * signal.get_window("hann", size), axis=1)) ** 2
    mels = 2595 * np.log10(1 + np.asarray([0, rate / 2]) / 700)
    edges = 700 * (10 ** (np.linspace(*mels, 130) / 2595) - 1) * size / rate
    bins = np.arange(power.shape[1])
    up = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    bank = np.maximum(0, np.minimum(up, down))
    logs = 10 * np.log10(power @ bank.T + np.finfo(np.float32).eps)
    rows = np.lib.stride_tricks.sliding_window_view(logs, 5, axis=0)
    return np.ascontiguousarray(rows.transpose(0, 2, 1).reshape(len(rows), 640), np.float32)


def malaria() -> Arrays:
    """Thin-smear cells, grey 50x50, split by patient; class 0 parasitized, 1 uninfected."""
    found = {}
    for split in ("train", "val", "test"):
        with np.load(ROOT / f"malaria_cells/{split}64.npz", allow_pickle=False) as packed:
            x, y = packed["x"], packed["y"]
        grey = [
            np.asarray(
                Image.fromarray(cell).convert("L").resize((50, 50), Image.Resampling.BILINEAR)
            )
            for cell in x
        ]
        found[f"x_{split}"] = np.stack(grey)[..., None]
        found[f"y_{split}"] = 1 - y.astype(np.int64)
    return found | {"labels": np.asarray(["parasitized", "uninfected"])}


def cells() -> Arrays:
    """Thin-smear cells, 64x64 RGB in [0, 1], split by patient; class 1 parasitized."""
    found = {}
    for split in ("train", "val", "test"):
        with np.load(ROOT / f"malaria_cells/{split}64.npz", allow_pickle=False) as packed:
            found[f"x_{split}"] = packed["x"].astype(np.float32) / 255
            found[f"y_{split}"] = packed["y"].astype(np.int64)
    return found
