"""Commands run in this process, and small whole files for them to read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from edgepack.bundle import archive
from edgepack.cli.main import main
from edgepack.profiles import catalogue
from tests.edgepack.manifests import manifest
from tests.edgepack.tinymodels import Net


class Ended(NamedTuple):
    """How a command ended: its exit code and what it said."""

    code: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *words: object) -> Ended:
    """Return how ``edgepack WORDS`` ended."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return Ended(int(end.value.code or 0), out, err)


def one_line(ended: Ended, code: int) -> str:
    """Return the single line on stderr of a command that refused, having said nothing else."""
    assert (ended.code, ended.out) == (code, ""), ended
    assert ended.err.count("\n") == 1, ended.err
    assert "a defect" not in ended.err
    return ended.err


def tiny_tflite(batch: int = 1) -> bytes:
    """Return an int8 .tflite of one dense layer; ``batch=-1`` leaves the batch open."""
    net = Net()
    x = net.tensor((1, 8), signature=(batch, 8))
    return net.done([x], [net.dense(x, 2)])


def write_bundle(path: Path, profile: str = "pixel-3", **changes: object) -> Path:
    """Write a bundle of ``tiny_tflite`` with two golden rows of zeros; return its path."""
    files = {
        archive.MODEL: tiny_tflite(),
        archive.PROFILE: catalogue.load(profile).model_dump_json(by_alias=True).encode(),
        "golden/inputs.npy": archive.npy(np.zeros((2, 8), np.int8)),
        "golden/outputs.npy": archive.npy(np.zeros((2, 2), np.int8)),
    }
    path.write_bytes(archive.pack(manifest(files, profile=profile, **changes), files, None))
    return path
